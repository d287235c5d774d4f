import { Cache } from "@effecto/cache"
import { Effect, Exit, Fiber, Option, Scope } from "effect"

/** @param {import("../../../../scripts/races/suite.mjs").Options} options @returns {Promise<import("../../../../scripts/races/suite.mjs").Contestant>} */
export default async ({ asksItself, capacity, load }) => {
  const scope = Effect.runSync(Scope.make())
  /** @type {Cache.Cache<string, number, unknown>} */
  const cache = Effect.runSync(
    Cache.make({
      name: "races",
      capacity,
      lookup: (/** @type {string} */ key) =>
        asksItself
          ? Effect.zipRight(
              Effect.sleep("1 millis"),
              Effect.suspend(() => cache.get(key))
            )
          : Effect.map(
              Effect.tryPromise(() => load(key)),
              Option.some
            ),
      tags: () => ["tag"]
    }).pipe(Scope.extend(scope))
  )
  return {
    get: (key) => Effect.runPromise(cache.fetch(key)),
    delete: (key) => Effect.runPromise(cache.delete(key)),
    clear: () => Effect.runPromise(cache.clear),
    set: (key, value) => Effect.runPromise(cache.put(key, value)),
    tag: () => Effect.runPromise(cache.invalidateTag("tag")),
    start: (key) => {
      const fiber = Effect.runFork(cache.fetch(key))
      return { leave: () => Effect.runPromise(Fiber.interrupt(fiber)) }
    },
    close: () => Effect.runPromise(Scope.close(scope, Exit.void))
  }
}
