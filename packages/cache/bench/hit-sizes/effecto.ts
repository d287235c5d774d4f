import { Cache } from "@effecto/cache"
import { Effect, Scope } from "effect"
import { drawn } from "../drawn.js"
import { IDLE } from "../keys.js"

export default drawn(
  (entries) =>
    Effect.runPromise(
      Effect.gen(function* () {
        const scope = yield* Scope.make()
        const cache = yield* Scope.extend(Cache.make<number, number>({ name: "bench", idle: IDLE }), scope)
        for (let key = 0; key < entries; key += 1) yield* cache.put(key, key)
        return cache
      })
    ),
  (cache, keys) =>
    Effect.runPromise(
      Effect.gen(function* () {
        let sum = 0
        for (const key of keys) sum += yield* cache.fetch(key)
        return sum
      })
    )
)
