import { Effect } from "effect"
import type { Contestant } from "../../../../scripts/bench/Contestant.js"
import { CALLERS, everybody, makeLoad, validateCallers } from "../callers.js"

/** No cache: each caller's fiber loads for itself. */
const eachForItself: Contestant<Effect.Effect<number>, number> = {
  setup: () => makeLoad().load,
  ops: CALLERS,
  run: (load) => Effect.runPromise(everybody(load)),
  validate: validateCallers
}
export default eachForItself
