import { plain, reloading } from "../restart.js"

export default reloading(plain)
