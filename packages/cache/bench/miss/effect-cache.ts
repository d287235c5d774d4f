import { Cache, Effect } from "effect"
import type { Contestant } from "../../../../scripts/bench/Contestant.js"
import { MISSES, validateMisses } from "../misses.js"

const effectCache: Contestant<Cache.Cache<number, number>, number> = {
  setup: () =>
    Effect.runSync(
      Cache.make({ capacity: MISSES * 2, timeToLive: "10 minutes", lookup: (key: number) => Effect.succeed(key) })
    ),
  ops: MISSES,
  run: (cache) =>
    Effect.runPromise(
      Effect.gen(function* () {
        yield* cache.invalidateAll
        let sum = 0
        for (let key = 0; key < MISSES; key += 1) sum += yield* cache.get(key)
        return sum
      })
    ),
  validate: validateMisses
}
export default effectCache
