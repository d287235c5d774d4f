import { Cache, Effect, Fiber } from "effect"

/** @param {import("../../../../scripts/races/suite.mjs").Options} options @returns {Promise<import("../../../../scripts/races/suite.mjs").Contestant>} */
export default async ({ asksItself, capacity = 100, load }) => {
  /** @type {Cache.Cache<string, number, unknown>} */
  const cache = Effect.runSync(
    Cache.make({
      capacity,
      timeToLive: "1 hour",
      lookup: (/** @type {string} */ key) =>
        asksItself
          ? Effect.zipRight(
              Effect.sleep("1 millis"),
              Effect.suspend(() => cache.get(key))
            )
          : Effect.tryPromise(() => load(key))
    })
  )
  return {
    get: (key) => Effect.runPromise(cache.get(key)),
    delete: (key) => Effect.runPromise(cache.invalidate(key)),
    clear: () => Effect.runPromise(cache.invalidateAll),
    set: (key, value) => Effect.runPromise(cache.set(key, value)),
    start: (key) => {
      const fiber = Effect.runFork(cache.get(key))
      return { leave: () => Effect.runPromise(Fiber.interrupt(fiber)) }
    }
  }
}
