import { Effect } from "effect"
import { calling, handle } from "../calls.js"

export default calling(handle, (it, n) => Effect.map(it.next, (one) => n + one))
