import { Effect } from "effect"
import type { Contestant } from "../../../../scripts/bench/Contestant.js"
import { type TheirCache, theirs } from "../filled.js"
import { keys, validateSum } from "../keys.js"

const effectCache: Contestant<TheirCache, number> = {
  setup: theirs,
  ops: keys.length,
  run: (cache) =>
    Effect.runPromise(
      Effect.gen(function* () {
        let sum = 0
        for (const key of keys) sum += yield* cache.get(key)
        return sum
      })
    ),
  validate: validateSum
}
export default effectCache
