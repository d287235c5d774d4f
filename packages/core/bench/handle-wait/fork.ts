/** What one fork costs: the same call in a fiber of its own, which is waited for. */
import { Effect, Fiber } from "effect"
import { calling, direct } from "../calls.js"

export default calling(direct, (it, n) => Effect.flatMap(Effect.fork(it.wait(n)), Fiber.join))
