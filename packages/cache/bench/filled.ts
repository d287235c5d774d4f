/** The caches of Effect that a bench reads, filled, and their effects under one roof. */
import { Cache } from "@effecto/cache"
import { Effect, Cache as EffectCache, Scope } from "effect"
import { entries, IDLE } from "./keys.js"

export type OurCache = Cache.Cache<number, number>
export type TheirCache = EffectCache.Cache<number, number>

export const ours = (): OurCache =>
  Effect.runSync(
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const cache = yield* Scope.extend(Cache.make<number, number>({ name: "bench", idle: IDLE }), scope)
      for (const key of entries) yield* cache.put(key, key)
      return cache
    })
  )

/** Effect's own Cache, whose entries cannot slide: they live as long as ours. */
export const theirs = (): TheirCache =>
  Effect.runSync(
    Effect.gen(function* () {
      const cache = yield* EffectCache.make<number, number>({
        capacity: entries.length * 2,
        timeToLive: IDLE,
        lookup: () => Effect.dieMessage("a miss, where there should be none")
      })
      for (const key of entries) yield* cache.set(key, key)
      return cache
    })
  )
