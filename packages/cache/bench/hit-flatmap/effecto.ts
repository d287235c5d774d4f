import { Effect } from "effect"
import type { Contestant } from "../../../../scripts/bench/Contestant.js"
import { type OurCache, ours } from "../filled.js"
import { keys, validateSum } from "../keys.js"

const effecto: Contestant<OurCache, number> = {
  setup: ours,
  ops: keys.length,
  run: (cache) =>
    Effect.runPromise(
      Effect.suspend(() => {
        let sum = 0
        const add = (value: number) => {
          sum += value
        }
        return Effect.map(
          Effect.forEach(keys, (key) => Effect.map(cache.fetch(key), add), { discard: true }),
          () => sum
        )
      })
    ),
  validate: validateSum
}
export default effecto
