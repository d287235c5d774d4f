import { Cache } from "@effecto/cache"
import { Effect, Scope } from "effect"
import { drawn } from "./drawn.js"
import { IDLE } from "./keys.js"

/** Ours, bounded by twice what it holds or not at all. */
export const ours = (isBounded: boolean) =>
  drawn(
    (entries) =>
      Effect.runPromise(
        Effect.gen(function* () {
          const scope = yield* Scope.make()
          const cache = yield* Scope.extend(
            Cache.make<number, number>({ name: "bench", idle: IDLE, ...(isBounded ? { capacity: entries * 2 } : {}) }),
            scope
          )
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
