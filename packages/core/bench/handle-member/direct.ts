import { Effect } from "effect"
import { calling, direct } from "../calls.js"

export default calling(direct, (it, n) => Effect.map(it.next, (one) => n + one))
