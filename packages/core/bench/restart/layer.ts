import { buildAndClose, plain } from "../restart.js"

export default buildAndClose(plain)
