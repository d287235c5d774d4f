import { dropped, plain, restarting } from "../restart.js"

export default restarting(plain, dropped)
