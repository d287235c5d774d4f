import { reloading, worker } from "../restart.js"

export default reloading(worker)
