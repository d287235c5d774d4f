import { Effect } from "effect"
import type { Contestant } from "../../../../scripts/bench/Contestant.js"
import { type TheirCache, theirs } from "../filled.js"
import { keys, validateSum } from "../keys.js"

const effectCache: Contestant<TheirCache, number> = {
  setup: theirs,
  ops: keys.length,
  run: (cache) =>
    Effect.runPromise(
      Effect.suspend(() => {
        let sum = 0
        const add = (value: number) => {
          sum += value
        }
        return Effect.map(
          Effect.forEach(keys, (key) => Effect.map(cache.get(key), add), { discard: true }),
          () => sum
        )
      })
    ),
  validate: validateSum
}
export default effectCache
