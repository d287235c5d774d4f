import { Effect } from "effect"
import type { Contestant } from "../../../../scripts/bench/Contestant.js"
import { keys, validateSum } from "../keys.js"

/** No cache at all: what `runPromise` itself costs. */
const effectSync: Contestant<undefined, number> = {
  setup: () => undefined,
  ops: keys.length,
  run: async () => {
    let sum = 0
    for (const key of keys) sum += await Effect.runPromise(Effect.sync(() => key))
    return sum
  },
  validate: validateSum
}
export default effectSync
