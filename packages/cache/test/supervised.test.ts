import { describe, expect, it } from "@effect/vitest"
import { Cache } from "@effecto/cache"
import * as Supervised from "@effecto/core/Supervised"
import * as SupervisionTree from "@effecto/core/SupervisionTree"
import * as TestSupervision from "@effecto/core/TestSupervision"
import { Context, Deferred, Effect, Exit, Fiber, Layer, Option } from "effect"

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

  it.effect("answers a read that was made before the end of its instance with what the next one has", () => {
    const asked: Array<string> = []
    return Effect.gen(function* () {
      const cache = yield* Numbers
      yield* cache.put("a", 1)
      const reads = [cache.fetch("a"), Effect.map(cache.get("a"), Option.getOrThrow)]
      const piped = cache.getOption("a").pipe(Effect.map(Option.isSome))
      expect(yield* Effect.all(reads)).toEqual([1, 1])
      yield* TestSupervision.crash("app/numbers")
      // Down: they wait, and do not answer from what is gone.
      expect(yield* piped).toBe(false)
      yield* cache.put("a", 2)
      expect([yield* Effect.all(reads), yield* piped]).toEqual([[2, 2], true])
      expect(asked).toEqual([])
    }).pipe(SupervisionTree.provide(tree(asked)))
  })

  it.effect("is asked again by the arguments of the service that answers with its reads, not by its own", () => {
    class People extends Context.Tag("test/People")<
      People,
      { readonly find: (id: number) => Effect.Effect<number> }
    >() {}
    let instances = 0
    const Live = Layer.scoped(
      People,
      Effect.gen(function* () {
        const instance = ++instances
        const cache = yield* Cache.make<string, number>({
          name: "people",
          lookup: (key) => Effect.succeedSome(instance * 100 + Number(key.slice(7)))
        })
        yield* cache.put("people:7", instance * 1000)
        // Sound: it is there.
        return { find: (id) => cache.fetch(`people:${id}`) as Effect.Effect<number> }
      })
    ).pipe(Supervised.layer({ id: "numbers" }), SupervisionTree.layer({ name: "app" }))
    const program = Effect.gen(function* () {
      const people = yield* People
      const [seven, eight] = [people.find(7), people.find(8)]
      const before = [yield* seven, yield* eight]
      yield* restart
      return [...before, yield* seven, yield* eight]
    })
    return Effect.gen(function* () {
      expect(yield* program.pipe(SupervisionTree.provide(Live))).toEqual([1000, 108, 2000, 208])
    })
  })

  const restart = Effect.zipRight(TestSupervision.crash("app/numbers"), TestSupervision.awaitRestart("app/numbers"))

  it.effect(
    "is read by a supervised service as by anybody else: in what it answers at once, in its members, and when it misses",
    () => {
      interface Reader {
        readonly twice: (key: string) => Effect.Effect<ReadonlyArray<number>, unknown>
        readonly first: Effect.Effect<number, unknown>
        readonly both: Effect.Effect<ReadonlyArray<number>, unknown>
      }
      const Readers = Context.GenericTag<Reader>("test/Readers")
      const asked: Array<string> = []
      const readers = Layer.scoped(
        Readers,
        Effect.map(
          Cache.make<string, number>({
            name: "own",
            idle: "10 minutes",
            lookup: (key) => Effect.sync(() => Option.some(asked.push(key)))
          }),
          (cache): Reader => ({
            twice: (key) =>
              Effect.flatMap(cache.fetch(key), (one) => Effect.map(cache.fetch(key), (other) => [one, other])),
            first: cache.fetch("first"),
            both: Effect.all([cache.fetch("first"), cache.fetch("second")])
          })
        )
      ).pipe(Supervised.layer({ id: "readers" }), SupervisionTree.layer({ name: "app" }))
      return Effect.gen(function* () {
        const reader = yield* Readers
        expect(yield* reader.twice("a")).toEqual([1, 1])
        expect(yield* Effect.map(reader.first, (value) => value)).toBe(2)
        expect([yield* reader.first, yield* reader.both, yield* reader.both]).toEqual([2, [2, 3], [2, 3]])
        expect(yield* Effect.uninterruptible(Effect.exit(reader.twice("b")))).toEqual(Exit.succeed([4, 4]))
        yield* TestSupervision.crash("app/readers")
        // Both wait for the next instance, and its cache is empty.
        const answers = yield* Effect.all([reader.first, reader.twice("a")], { concurrency: "unbounded" })
        expect(new Set(answers.flat())).toEqual(new Set([5, 6]))
      }).pipe(SupervisionTree.provide(readers))
    }
  )

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
