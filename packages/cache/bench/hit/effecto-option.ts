import { Effect, Option } from "effect"
import type { Contestant } from "../../../../scripts/bench/Contestant.js"
import { type OurCache, ours } from "../filled.js"
import { keys, validateSum } from "../keys.js"

/** `get`, whose answer is an Option, where `effecto` uses `fetch`. */
const effectoOption: Contestant<OurCache, number> = {
  setup: ours,
  ops: keys.length,
  run: (cache) =>
    Effect.runPromise(
      Effect.gen(function* () {
        let sum = 0
        for (const key of keys) sum += Option.getOrElse(yield* cache.get(key), () => Number.NaN)
        return sum
      })
    ),
  validate: validateSum
}
export default effectoOption
