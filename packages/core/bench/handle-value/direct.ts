import { direct, reading } from "../calls.js"

export default reading(direct, (it, n) => it.plain(n) + it.field - 1)
