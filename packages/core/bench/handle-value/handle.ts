import { handle, reading } from "../calls.js"

export default reading(handle, (it, n) => it.plain(n) + it.field - 1)
