import { describe, expect, it } from "@effect/vitest"
import { Cache } from "@effecto/cache"
import * as Supervised from "@effecto/core/Supervised"
import * as SupervisionTree from "@effecto/core/SupervisionTree"
import * as TestSupervision from "@effecto/core/TestSupervision"
import { Context, Effect, Option } from "effect"

class Numbers extends Context.Tag("test/Numbers")<Numbers, Cache.Cache<string, number>>() {}

describe("a supervised cache", () => {
  const tree = (asked: Array<string>) =>
    Cache.layer(Numbers, {
      name: "numbers",
      idle: "10 minutes",
      lookup: (key) => Effect.sync(() => Option.some(asked.push(key)))
    }).pipe(Supervised.layer({ id: "numbers" }), SupervisionTree.layer({ name: "app" }))

  it.effect("answers through the handle as it does without one", () => {
    const asked: Array<string> = []
    return Effect.gen(function* () {
      const cache = yield* Numbers
      expect([yield* cache.get("a"), yield* cache.get("a")]).toEqual([Option.some(1), Option.some(1)])
      expect(yield* Effect.flatMap(cache.get("a"), Effect.succeed)).toEqual(Option.some(1))
      expect(yield* Effect.as(Effect.void, 7).pipe(cache.evicting("a"))).toBe(7)
      expect([yield* cache.size, yield* cache.has("a")]).toEqual([0, false])
      expect(asked).toEqual(["a"])
    }).pipe(SupervisionTree.provide(tree(asked)))
  })

  it.effect("is empty after a crash, and the handle from before reaches the next instance", () => {
    const asked: Array<string> = []
    return Effect.gen(function* () {
      const cache = yield* Numbers
      yield* cache.get("a")
      const made = cache.get("a")
      yield* TestSupervision.crash("app/numbers")
      yield* TestSupervision.awaitRestart("app/numbers")
      expect(yield* cache.size).toBe(0)
      expect(yield* made).toEqual(Option.some(2))
      expect(yield* made).toEqual(Option.some(2))
    }).pipe(SupervisionTree.provide(tree(asked)))
  })
})
