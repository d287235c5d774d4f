import { Effect } from "effect"
import type { Contestant } from "../../../../scripts/bench/Contestant.js"
import { keys, validateSum } from "../keys.js"

/** No cache at all: what any effect costs that goes through the run loop. */
const effectSync: Contestant<undefined, number> = {
  setup: () => undefined,
  ops: keys.length,
  run: () =>
    Effect.runPromise(
      Effect.gen(function* () {
        let sum = 0
        for (const key of keys) sum += yield* Effect.sync(() => key)
        return sum
      })
    ),
  validate: validateSum
}
export default effectSync
