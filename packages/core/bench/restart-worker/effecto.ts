import { restarting, worker } from "../restart.js"

export default restarting(worker)
