import { Effect, Cache as EffectCache } from "effect"
import { drawn } from "../drawn.js"
import { IDLE } from "../keys.js"

export default drawn(
  (entries) =>
    Effect.runPromise(
      Effect.gen(function* () {
        const cache = yield* EffectCache.make<number, number>({
          capacity: entries * 2,
          timeToLive: IDLE,
          lookup: () => Effect.dieMessage("a miss, where there should be none")
        })
        for (let key = 0; key < entries; key += 1) yield* cache.set(key, key)
        return cache
      })
    ),
  (cache, keys) =>
    Effect.runPromise(
      Effect.gen(function* () {
        let sum = 0
        for (const key of keys) sum += yield* cache.get(key)
        return sum
      })
    )
)
