import { Effect } from "effect"
import type { Contestant } from "../../../../scripts/bench/Contestant.js"
import { type OurCache, ours } from "../filled.js"
import { keys, validateSum } from "../keys.js"

const effecto: Contestant<OurCache, number> = {
  setup: ours,
  ops: keys.length,
  run: (cache) =>
    Effect.runPromise(
      Effect.gen(function* () {
        let sum = 0
        for (const key of keys) sum += yield* cache.fetch(key)
        return sum
      })
    ),
  validate: validateSum
}
export default effecto
