import { fibers } from "../dynamic.js"

export default fibers(1_000)
