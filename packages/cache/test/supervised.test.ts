import { describe, expect, it } from "@effect/vitest"
import { Cache } from "@effecto/cache"
import * as Supervised from "@effecto/core/Supervised"
import * as SupervisionTree from "@effecto/core/SupervisionTree"
import * as TestSupervision from "@effecto/core/TestSupervision"
import { Context, Deferred, Effect, Fiber, Layer, Option } from "effect"

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

  const restart = Effect.zipRight(TestSupervision.crash("app/numbers"), TestSupervision.awaitRestart("app/numbers"))

  it.effect("evicts from the next instance what a write wrote that was under way during the restart", () => {
    let row = 1
    const told: Array<unknown> = []
    const Live = Cache.layer(Numbers, {
      name: "numbers",
      lookup: () => Effect.sync(() => Option.some(row)),
      hooks: [Cache.after((command) => Effect.sync(() => void (command.action === "delete" && told.push(command.key))))]
    }).pipe(Supervised.layer({ id: "numbers" }), SupervisionTree.layer({ name: "app" }))
    return Effect.gen(function* () {
      const first = yield* Supervised.current(Numbers)
      const gate = yield* Deferred.make<void>()
      const writer = yield* Effect.fork(
        Deferred.await(gate).pipe(
          Effect.tap(() =>
            Effect.sync(() => {
              row = 2
            })
          ),
          first.evicting("k")
        )
      )
      yield* Effect.yieldNow()
      yield* restart
      const cache = yield* Numbers
      expect(yield* cache.get("k")).toEqual(Option.some(1))
      yield* Deferred.succeed(gate, undefined)
      yield* Fiber.join(writer)
      expect(yield* cache.get("k")).toEqual(Option.some(2))
      expect(told).toEqual(["k"])
    }).pipe(SupervisionTree.provide(Live))
  })

  it.effect("evicts also when the write was made through the handle", () => {
    let row = 1
    const Live = Cache.layer(Numbers, { name: "numbers", lookup: () => Effect.sync(() => Option.some(row)) }).pipe(
      Supervised.layer({ id: "numbers" }),
      SupervisionTree.layer({ name: "app" })
    )
    return Effect.gen(function* () {
      const cache = yield* Numbers
      const gate = yield* Deferred.make<void>()
      const writer = yield* Effect.fork(
        Effect.tap(Deferred.await(gate), () =>
          Effect.sync(() => {
            row = 2
          })
        ).pipe(cache.evicting("k"))
      )
      yield* Effect.yieldNow()
      yield* restart
      expect(yield* cache.get("k")).toEqual(Option.some(1))
      yield* Deferred.succeed(gate, undefined)
      // The write is not the cache's, and goes on although that has died.
      yield* Fiber.join(writer)
      expect(yield* cache.get("k")).toEqual(Option.some(2))
    }).pipe(SupervisionTree.provide(Live))
  })
})

describe("a layer that is built several times", () => {
  it.scoped("evicts from all who live, whoever of them was asked, and whether that one still lives", () =>
    Effect.gen(function* () {
      const Live = Layer.fresh(Cache.layer(Numbers, { name: "numbers" }))
      const [one, two] = [yield* Layer.build(Live), yield* Layer.build(Live)].map((built) =>
        Context.get(built, Numbers)
      )
      if (one === undefined || two === undefined) throw new Error("built")
      const gone = yield* Effect.scoped(Effect.map(Layer.build(Live), (built) => Context.get(built, Numbers)))
      for (const writer of [one, two, gone]) {
        yield* one.put("k", 1)
        yield* two.put("k", 1)
        yield* Effect.void.pipe(writer.evicting("k"))
        expect([yield* one.has("k"), yield* two.has("k")]).toEqual([false, false])
      }
      // What is asked of one of them alone stays with that one.
      yield* one.put("k", 1)
      yield* two.delete("k")
      expect(yield* one.has("k")).toBe(true)
    })
  )
})
