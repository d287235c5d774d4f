import { describe, expect, it } from "@effect/vitest"
import { Cache } from "@effecto/cache"
import { Clock, Deferred, Effect, Either, Fiber, Option, TestClock } from "effect"
import { open } from "./structure.js"

const held = <V>(cache: Cache.Cache<string, V>, key = "a") => Effect.map(cache.getOption(key), Option.isSome)

describe("idle", () => {
  it.scoped("ends exactly that long after the last read or write", () =>
    Effect.gen(function* () {
      const cache = yield* Cache.make<string, number>({ name: "numbers", idle: "10 seconds" })
      yield* cache.put("a", 1)
      yield* TestClock.adjust("9999 millis")
      expect(yield* held(cache)).toBe(true)
      yield* TestClock.adjust("9999 millis")
      expect(yield* held(cache)).toBe(true)
      yield* TestClock.adjust("10 seconds")
      expect(yield* held(cache)).toBe(false)
    })
  )

  it.scoped("is renewed by every kind of read, and not by has", () =>
    Effect.gen(function* () {
      const cache = yield* Cache.make<string, number>({ name: "numbers", idle: "10 seconds" })
      yield* cache.put("a", 1)
      for (const read of [
        cache.get("a"),
        cache.fetch("a"),
        cache.getOption("a"),
        cache.getOrLoad("a", Effect.die("no"))
      ]) {
        yield* TestClock.adjust("6 seconds")
        yield* read
      }
      yield* TestClock.adjust("6 seconds")
      expect(yield* cache.has("a")).toBe(true)
      yield* TestClock.adjust("4 seconds")
      expect(yield* cache.has("a")).toBe(false)
    })
  )

  it.scoped("counts from when the load ended", () =>
    Effect.gen(function* () {
      const gate = yield* Deferred.make<void>()
      const cache = yield* Cache.make({
        name: "numbers",
        idle: "10 seconds",
        lookup: (_: string) => Effect.as(Deferred.await(gate), Option.some(1))
      })
      const reader = yield* Effect.fork(cache.get("a"))
      yield* TestClock.adjust("1 hour")
      yield* Deferred.succeed(gate, undefined)
      yield* Fiber.join(reader)
      yield* TestClock.adjust("9999 millis")
      expect(yield* cache.has("a")).toBe(true)
    })
  )
})

describe("max", () => {
  it.scoped("ends that long after the write, however often the value is read", () =>
    Effect.gen(function* () {
      const cache = yield* Cache.make<string, number>({ name: "numbers", max: "10 seconds" })
      yield* cache.put("a", 1)
      yield* TestClock.adjust("9999 millis")
      expect(yield* held(cache)).toBe(true)
      yield* TestClock.adjust("1 millis")
      expect(yield* held(cache)).toBe(false)
    })
  )

  it.scoped("together with idle ends the value by whichever comes first", () =>
    Effect.gen(function* () {
      const cache = yield* Cache.make<string, number>({ name: "numbers", idle: "4 seconds", max: "10 seconds" })
      yield* cache.put("a", 1)
      yield* cache.put("b", 2)
      for (const _ of [1, 2, 3]) {
        yield* TestClock.adjust("3 seconds")
        expect(yield* held(cache)).toBe(true)
      }
      expect(yield* held(cache, "b")).toBe(false)
      yield* TestClock.adjust("1 seconds")
      expect(yield* held(cache)).toBe(false)
    })
  )
})

describe("a lifetime of its own", () => {
  it.scoped("goes with the value that was put or loaded with it", () =>
    Effect.gen(function* () {
      const cache = yield* Cache.make<string, number>({ name: "numbers", idle: "1 hour" })
      yield* cache.put("a", 1, "2 seconds")
      yield* cache.put("b", 2, { max: "3 seconds" })
      yield* cache.getOrLoad("c", Effect.succeed(3), (value) => `${value + 1} seconds`)
      yield* cache.put("d", 4, Number.POSITIVE_INFINITY)
      yield* cache.put("e", 5)
      const seen: Array<string> = []
      for (let second = 1; second <= 4; second += 1) {
        yield* TestClock.adjust("1 second")
        const there = yield* Effect.filter(["a", "b", "c", "d", "e"], cache.has)
        seen.push(there.join(""))
      }
      expect(seen).toEqual(["abcde", "bcde", "cde", "de"])
      yield* TestClock.adjust("400 days")
      expect(yield* Effect.filter(["a", "b", "c", "d", "e"], cache.has)).toEqual(["d"])
    })
  )

  it.scoped("is chosen by the cache's own function wherever none is given with the value", () =>
    Effect.gen(function* () {
      const found = (key: string) => Option.some(key.length)
      const chosen: Array<readonly [value: number, key: string]> = []
      const options = {
        idle: "1 hour",
        lifetime: (value: number, key: string) => {
          chosen.push([value, key])
          return value === 9 ? 0 : { max: `${value} seconds` as const }
        }
      } as const
      const cache = yield* Cache.make({ ...options, name: "one", lookup: (key: string) => Effect.succeed(found(key)) })
      const many = yield* Cache.make<string, number>({
        ...options,
        name: "many",
        lookupAll: (keys) => Effect.succeed(keys.map((key) => [key, Either.right(key.length)] as const))
      })
      yield* cache.get("bb")
      yield* many.getAll(["ccc"])
      yield* cache.getOrLoad("loaded", Effect.succeed(1))
      yield* cache.put("put", 2)
      yield* cache.putIfAbsent("absent", 3)
      yield* cache.update("updated", () => Option.some(2))
      expect(chosen.splice(0)).toEqual([
        [2, "bb"],
        [3, "ccc"],
        [1, "loaded"],
        [2, "put"],
        [3, "absent"],
        [2, "updated"]
      ])
      // Not asked where a value has a lifetime already, is not written, or gets one.
      yield* cache.put("put", 9, "2 seconds")
      yield* cache.update("updated", () => Option.some(9))
      yield* cache.putIfAbsent("absent", 9)
      yield* cache.getOrLoad("other", Effect.succeed(9), "3 seconds")
      expect(chosen).toEqual([])
      const seen: Array<string> = []
      for (let second = 1; second <= 3; second += 1) {
        yield* TestClock.adjust("1 second")
        seen.push([...(yield* cache.keys), ...(yield* many.keys)].sort().join(" "))
      }
      expect(seen).toEqual(["absent bb ccc other put updated", "absent ccc other", ""])
      yield* cache.get("nine chars")
      yield* cache.put("k", 9)
      expect(yield* cache.keys).toEqual(["nine chars"])
    })
  )

  it.scoped("of zero keeps nothing, and removes what was there", () =>
    Effect.gen(function* () {
      const cache = yield* Cache.make<string, number>({ name: "numbers" })
      yield* cache.put("a", 1)
      yield* cache.put("a", 2, 0)
      expect(yield* cache.get("a")).toEqual(Option.none())
      expect(yield* cache.getOrLoad("a", Effect.succeed(3), "0 seconds")).toBe(3)
      const stats = yield* cache.stats
      expect([stats.size, stats.expirations]).toEqual([0, 0])
    })
  )

  it.scoped("that cannot be chosen is the callers' defect and leaves nothing behind", () =>
    Effect.gen(function* () {
      const cache = yield* Cache.make<string, number>({ name: "numbers" })
      const broken = cache.getOrLoad("a", Effect.succeed(1), () => {
        throw new Error("boom")
      })
      expect(yield* Effect.exit(broken)).toEqual(yield* Effect.exit(Effect.die(new Error("boom"))))
      expect(yield* cache.getOrLoad("a", Effect.succeed(2))).toBe(2)
    })
  )

  it.scoped("may be longer than a timer can be", () =>
    Effect.gen(function* () {
      const cache = yield* Cache.make<string, number>({ name: "numbers", idle: "400 days" })
      yield* cache.put("a", 1)
      yield* TestClock.adjust("399 days")
      expect(yield* cache.has("a")).toBe(true)
      yield* TestClock.adjust("1 day")
      expect(yield* cache.has("a")).toBe(false)
    })
  )
})

describe("what has expired", () => {
  it.scoped("is loaded again by the next read", () =>
    Effect.gen(function* () {
      const asked: Array<string> = []
      const cache = yield* Cache.make({
        name: "numbers",
        idle: "10 seconds",
        lookup: (key: string) => Effect.sync(() => Option.some(asked.push(key)))
      })
      expect(yield* cache.get("a")).toEqual(Option.some(1))
      yield* TestClock.adjust("10 seconds")
      expect(yield* cache.get("a")).toEqual(Option.some(2))
    })
  )

  it.scoped("is given back without being read", () =>
    Effect.gen(function* () {
      const cache = yield* Cache.make<number, object>({ name: "numbers", idle: "10 seconds" })
      for (let key = 0; key < 10_000; key += 1) yield* cache.put(key, {})
      // Twice as long as promised, and nobody has looked in between.
      yield* TestClock.adjust("20 seconds")
      const stats = yield* cache.stats
      expect([stats.size, stats.expirations]).toEqual([0, 10_000])
    })
  )

  it.scoped("is not counted by size, though it may not have been swept yet", () =>
    Effect.gen(function* () {
      const cache = yield* Cache.make<string, number>({ name: "numbers", idle: "10 seconds" })
      yield* cache.put("a", 1)
      yield* cache.put("b", 1, "1 hour")
      yield* TestClock.adjust("10 seconds")
      expect(yield* cache.size).toBe(1)
    })
  )
})

describe("size and stats of many values that have expired", () => {
  /** A cache on a clock that wakes nobody, as when all of the time has gone into one busy turn. */
  const make = (most: number) =>
    Effect.gen(function* () {
      let millis = 0
      const busy: Clock.Clock = {
        ...(yield* Effect.clock),
        [Clock.ClockTypeId]: Clock.ClockTypeId,
        unsafeCurrentTimeNanos: () => BigInt(millis) * 1_000_000n,
        sleep: () => Effect.never
      }
      const opened = yield* open<number, number, never>({
        span: { idle: Number.POSITIVE_INFINITY, max: 60_000 },
        policy: undefined,
        lookup: undefined
      }).pipe(Effect.withClock(busy))
      for (let key = 0; key < most; key += 1) yield* Effect.withClock(opened.cache.put(key, key), busy)
      yield* Effect.withClock(opened.cache.put(-1, 0, "1 hour"), busy)
      const pass = (time: number) =>
        Effect.sync(() => {
          millis += time
        })
      return { ...opened, busy, pass }
    })

  const sizes = (cache: Cache.Cache<number, number>) => ({
    size: cache.size,
    stats: Effect.map(cache.stats, ({ size }) => size)
  })

  for (const what of ["size", "stats"] as const)
    it.scoped(`${what} takes them out a thousand at a time`, () =>
      Effect.gen(function* () {
        const { busy, cache, pass, service } = yield* make(5_000)
        yield* pass(120_000)
        const asking = yield* Effect.fork(Effect.withClock(sizes(cache)[what], busy))
        const left = [service.store.entries.size]
        while (asking.unsafePoll() === null) {
          yield* Effect.yieldNow()
          left.push(service.store.entries.size)
        }
        expect(Math.max(...left.slice(1).map((size, place) => (left[place] ?? 0) - size))).toBe(1_000)
        expect(left.at(-1)).toBe(1)
        expect(yield* Fiber.join(asking)).toBe(1)
      })
    )

  it.scoped("counts those that are not due to be swept ten thousand at a time", () =>
    Effect.gen(function* () {
      const { busy, cache, pass, service } = yield* make(25_000)
      yield* pass(60_000)
      const asking = yield* Effect.fork(Effect.withClock(cache.size, busy))
      let turns = 0
      while (asking.unsafePoll() === null) {
        yield* Effect.yieldNow()
        turns += 1
      }
      expect(yield* Fiber.join(asking)).toBe(1)
      expect(turns).toBeGreaterThanOrEqual(3)
      expect(service.store.entries.size).toBe(25_001)
    })
  )
})

describe("a Clock that is not the one the cache was made with", () => {
  it.scoped("passes the time too", () =>
    Effect.gen(function* () {
      const cache = yield* Cache.make<string, number>({ name: "numbers", idle: "10 seconds" })
      let nanos = 5_000_000_000_000n
      const own = yield* Effect.clock
      const other: Clock.Clock = {
        ...own,
        [Clock.ClockTypeId]: Clock.ClockTypeId,
        unsafeCurrentTimeNanos: () => nanos,
        unsafeCurrentTimeMillis: () => Number(nanos / 1_000_000n)
      }
      yield* Effect.withClock(cache.put("a", 1), other)
      expect(yield* cache.has("a")).toBe(true)
      nanos += 9_999_000_000n
      expect(yield* Effect.withClock(cache.has("a"), other)).toBe(true)
      nanos += 1_000_000n
      expect(yield* Effect.withClock(cache.has("a"), other)).toBe(false)
      expect(yield* cache.has("a")).toBe(true)
      yield* TestClock.adjust("10 seconds")
      expect(yield* cache.has("a")).toBe(false)
    })
  )
})
