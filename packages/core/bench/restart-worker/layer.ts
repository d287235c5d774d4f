import { buildAndClose, worker } from "../restart.js"

export default buildAndClose(worker)
