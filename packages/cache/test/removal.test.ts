/** What leaves the cache, why, and who is told of it. */
import { describe, expect, it } from "@effect/vitest"
import { Cache } from "@effecto/cache"
import { Chunk, Deferred, Effect, Exit, Fiber, Logger, Option, Scope, Stream, TestClock } from "effect"
import { open, structure } from "./structure.js"

const turns = Effect.repeatN(Effect.yieldNow(), 20)

describe("onRemoval", () => {
  it.effect("is told once of each value that goes, with the cause, in the order in which they went", () =>
    Effect.gen(function* () {
      const told: Array<readonly [string, number, string]> = []
      yield* Effect.scoped(
        Effect.gen(function* () {
          const cache = yield* Cache.make<string, number>({
            name: "numbers",
            max: "10 seconds",
            capacity: 2,
            policy: "lru",
            onRemoval: ({ cause, key, value }) => Effect.sync(() => told.push([key, value, cause]))
          })
          yield* cache.put("a", 1)
          yield* cache.put("a", 2) // replaces 1
          yield* cache.delete("a")
          yield* cache.delete("a") // nothing there
          yield* cache.put("b", 3)
          yield* cache.put("c", 4)
          yield* cache.put("d", 5) // evicts b
          yield* TestClock.adjust("20 seconds") // c and d expire
          yield* cache.put("e", 6)
          yield* cache.clear
          yield* cache.put("f", 7)
        })
      )
      expect(told).toEqual([
        ["a", 1, "replaced"],
        ["a", 2, "invalidated"],
        ["b", 3, "evicted"],
        ["c", 4, "expired"],
        ["d", 5, "expired"],
        ["e", 6, "invalidated"],
        ["f", 7, "closed"]
      ])
    })
  )

  it.scoped("is told of as many as were inserted less those that are left", () =>
    Effect.gen(function* () {
      let told = 0
      const cache = yield* Cache.make<number, number>({
        name: "numbers",
        capacity: 10,
        idle: "1 second",
        onRemoval: () =>
          Effect.sync(() => {
            told += 1
          })
      })
      for (let write = 0; write < 1_000; write += 1) yield* cache.put((write * 7) % 30, write)
      yield* turns
      expect(told).toBe(1_000 - (yield* cache.size))
      yield* TestClock.adjust("2 seconds")
      expect(told).toBe(1_000)
    })
  )

  it.effect("that never ends keeps the scope from closing for five seconds, and no longer", () =>
    Effect.gen(function* () {
      const told: Array<number> = []
      const logged: Array<string> = []
      const logger = Logger.make(({ message }) => logged.push(String(message)))
      const scope = yield* Scope.make()
      const cache = yield* Cache.make<number, number>({
        name: "numbers",
        onRemoval: ({ key }) =>
          Effect.zipRight(
            Effect.sync(() => told.push(key)),
            key === 1 ? Effect.void : Effect.never
          )
      }).pipe(Scope.extend(scope), Effect.provide(Logger.replace(Logger.defaultLogger, logger)))
      yield* cache.deleteAll([1, 2, 3])
      for (const key of [1, 2, 3, 4]) yield* cache.put(key, key)
      yield* cache.deleteAll([1, 2, 3])
      yield* turns
      const closing = yield* Effect.fork(Scope.close(scope, Exit.void))
      yield* TestClock.adjust("4999 millis")
      expect(closing.unsafePoll()).toBe(null)
      yield* TestClock.adjust("1 millis")
      yield* Fiber.join(closing)
      expect(told).toEqual([1, 2])
      expect(logged).toEqual([
        'the removal listener of cache "numbers" took longer than 5s after its cache had ended: it was interrupted, and not told of 2 more removals'
      ])
    })
  )

  it.scoped("may use the cache, and is told of what it does there", () =>
    Effect.gen(function* () {
      const caches: Array<Cache.Cache<string, number>> = []
      const told: Array<string> = []
      const cache = yield* Cache.make<string, number>({
        name: "numbers",
        onRemoval: ({ key }) =>
          Effect.sync(() => told.push(key)).pipe(
            Effect.zipRight(key === "a" ? (caches[0]?.delete("b") ?? Effect.void) : Effect.void)
          )
      })
      caches.push(cache)
      yield* cache.put("a", 1)
      yield* cache.put("b", 2)
      yield* cache.delete("a")
      yield* turns
      expect(told).toEqual(["a", "b"])
      expect(yield* cache.size).toBe(0)
    })
  )

  it.scoped("that dies is logged, and told of the next", () =>
    Effect.gen(function* () {
      const told: Array<string> = []
      const cache = yield* Cache.make<string, number>({
        name: "numbers",
        onRemoval: ({ key }) => {
          told.push(key)
          throw new Error("boom")
        }
      })
      yield* cache.put("a", 1)
      yield* cache.put("b", 1)
      yield* cache.deleteAll(["a", "b"])
      yield* turns
      expect(told).toEqual(["a", "b"])
    })
  )

  it.effect("is waited for by the end of the cache", () =>
    Effect.gen(function* () {
      const gate = yield* Deferred.make<void>()
      const told: Array<string> = []
      const scope = yield* Scope.make()
      const cache = yield* Scope.extend(
        Cache.make<string, number>({
          name: "numbers",
          onRemoval: ({ key }) =>
            Effect.zipRight(
              Deferred.await(gate),
              Effect.sync(() => told.push(key))
            )
        }),
        scope
      )
      yield* cache.put("a", 1)
      const closing = yield* Effect.fork(Scope.close(scope, Exit.void))
      yield* turns
      expect(told).toEqual([])
      yield* Deferred.succeed(gate, undefined)
      yield* Fiber.join(closing)
      expect(told).toEqual(["a"])
    })
  )
})

describe("events", () => {
  it.scoped("tell of loads, failures and removals from when the stream is run on", () =>
    Effect.gen(function* () {
      const cache = yield* Cache.make({
        name: "numbers",
        lookup: (key: string) => (key === "x" ? Effect.fail("down" as const) : Effect.succeedSome(1))
      })
      yield* cache.get("before")
      const reader = yield* Effect.fork(Stream.runCollect(Stream.take(cache.events, 3)))
      yield* turns
      yield* cache.get("a")
      yield* Effect.ignore(cache.get("x"))
      yield* cache.delete("a")
      const events = Chunk.toReadonlyArray(yield* Fiber.join(reader))
      expect(events.map(({ _tag, key, sequence }) => [_tag, key, sequence])).toEqual([
        ["Loaded", "a", 1],
        ["LoadFailed", "x", 2],
        ["Removed", "a", 3]
      ])
    })
  )

  it.effect("end with the cache, and hold back nothing for a reader that is slow", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const cache = yield* Scope.extend(Cache.make<number, number>({ name: "numbers" }), scope)
      const gate = yield* Deferred.make<void>()
      const seen: Array<number> = []
      const reader = yield* Effect.fork(
        Stream.runForEach(cache.events, ({ sequence }) =>
          Effect.zipRight(
            Deferred.await(gate),
            Effect.sync(() => seen.push(sequence))
          )
        )
      )
      yield* turns
      for (let write = 0; write < 20_000; write += 1) yield* cache.put(1, write)
      yield* Deferred.succeed(gate, undefined)
      yield* turns
      yield* Scope.close(scope, Exit.void)
      yield* Fiber.await(reader)
      expect(seen.length).toBeLessThan(10_000)
      // Numbers only ever rise, and the gap shows what was lost.
      expect(seen.every((sequence, place) => place === 0 || sequence > (seen[place - 1] ?? 0))).toBe(true)
    })
  )

  it.scoped("cost a cache nothing once nobody reads them", () =>
    Effect.gen(function* () {
      const { cache, service } = yield* open<string, number, never>({
        span: { idle: Number.POSITIVE_INFINITY, max: Number.POSITIVE_INFINITY },
        policy: undefined,
        lookup: undefined
      })
      const reader = yield* Effect.fork(Stream.runDrain(cache.events))
      yield* turns
      expect(service.store.removed).toBeDefined()
      yield* Fiber.interrupt(reader)
      expect(service.store.removed).toBeUndefined()
    })
  )
})

describe("maxWeight", () => {
  it.scoped("bounds what all values weigh together, after every write", () =>
    Effect.gen(function* () {
      for (const capacity of [undefined, 8]) {
        const { cache, service } = yield* Effect.map(
          Cache.make<number, string>({ name: "texts", capacity, maxWeight: 20, weight: (text) => text.length }),
          (cache) => ({ cache, service: undefined })
        )
        expect(service).toBeUndefined()
        for (let write = 0; write < 500; write += 1) {
          yield* cache.put((write * 13) % 17, "x".repeat((write * 7) % 12))
          const { size, weight } = yield* cache.stats
          const entries = yield* cache.entries
          expect(weight).toBe(entries.reduce((sum, [, text]) => sum + text.length, 0))
          expect(weight).toBeLessThanOrEqual(20)
          if (capacity !== undefined) expect(size).toBeLessThanOrEqual(capacity)
        }
        yield* cache.clear
        expect(yield* cache.stats).toMatchObject({ size: 0, weight: 0 })
      }
    })
  )

  it.scoped("does not keep a value that is heavier by itself, nor what it should have replaced", () =>
    Effect.gen(function* () {
      const cache = yield* Cache.make<string, string>({ name: "texts", maxWeight: 3, weight: (text) => text.length })
      yield* cache.put("a", "x")
      yield* cache.put("a", "xxxx")
      expect(yield* cache.get("a")).toEqual(Option.none())
      expect(yield* cache.stats).toMatchObject({ size: 0, weight: 0 })
    })
  )

  it.scoped("changes nothing when the weigher throws or answers no weight, and strands no load", () =>
    Effect.gen(function* () {
      let weigh = (_: string): number => 1
      const { cache, service } = yield* open<string, string, never>({
        span: { idle: Number.POSITIVE_INFINITY, max: Number.POSITIVE_INFINITY },
        policy: undefined,
        weight: (text) => weigh(text),
        tags: (text) => (text === "untagged" ? [] : [text]),
        lookup: () => Effect.succeedSome("loaded")
      })
      yield* cache.put("a", "first")
      weigh = () => Number.NaN
      expect(yield* Effect.exit(cache.put("a", "second"))).toEqual(
        Exit.die(
          new RangeError(
            'cache "opened" cannot weigh a value: weight answered NaN, and a weight is a number of zero or more'
          )
        )
      )
      weigh = () => {
        throw new Error("boom")
      }
      expect(yield* Effect.exit(cache.get("b"))).toEqual(Exit.die(new Error("boom")))
      expect(yield* cache.entries).toEqual([["a", "first"]])
      expect(structure(service)).toMatchObject({ loads: 0, inFlight: 0, tagged: 1 })
      weigh = () => 1
      expect(yield* cache.get("b")).toEqual(Option.some("loaded"))
    })
  )

  it.scoped("is refused without a weight", () =>
    Effect.gen(function* () {
      expect(yield* Effect.exit(Cache.make<string, string>({ name: "texts", maxWeight: 3 }))).toEqual(
        Exit.die(
          new RangeError(
            'cache "texts" cannot have a maxWeight without a weight: say what a value weighs, or bound how many there are by capacity'
          )
        )
      )
    })
  )
})
