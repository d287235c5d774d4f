import { plain, restarting } from "../restart.js"

export default restarting(plain)
