/** The commands that look and write in one step, and those about lifetimes. */
import { describe, expect, it } from "@effect/vitest"
import { Cache } from "@effecto/cache"
import { Deferred, Duration, Effect, Exit, Fiber, Option, TestClock } from "effect"

const numbers = (options: Partial<Cache.Options<string, number>> = {}) =>
  Cache.make<string, number>({ name: "numbers", ...options })

describe("putIfAbsent", () => {
  it.scoped("keeps a value only where there is none to serve", () =>
    Effect.gen(function* () {
      const cache = yield* numbers({ idle: "10 seconds" })
      expect([yield* cache.putIfAbsent("a", 1), yield* cache.putIfAbsent("a", 2)]).toEqual([true, false])
      expect(yield* cache.getOption("a")).toEqual(Option.some(1))
      yield* TestClock.adjust("10 seconds")
      expect(yield* cache.putIfAbsent("a", 3, "1 second")).toBe(true)
      yield* TestClock.adjust("1 second")
      expect(yield* cache.has("a")).toBe(false)
    })
  )

  it.scoped("overtakes a load", () =>
    Effect.gen(function* () {
      const gate = yield* Deferred.make<void>()
      const cache = yield* numbers({ lookup: () => Effect.as(Deferred.await(gate), Option.some(1)) })
      const reader = yield* Effect.fork(cache.get("a"))
      yield* Effect.yieldNow()
      expect(yield* cache.putIfAbsent("a", 2)).toBe(true)
      yield* Deferred.succeed(gate, undefined)
      expect(yield* Fiber.join(reader)).toEqual(Option.some(1))
      expect(yield* cache.get("a")).toEqual(Option.some(2))
    })
  )
})

describe("update and getAndUpdate", () => {
  const add = (by: number) => (value: Option.Option<number>) => Option.some(Option.getOrElse(value, () => 0) + by)

  it.scoped("answer the new value and the old one", () =>
    Effect.gen(function* () {
      const cache = yield* numbers()
      expect(yield* cache.update("a", add(1))).toEqual(Option.some(1))
      expect(yield* cache.getAndUpdate("a", add(2))).toEqual(Option.some(1))
      expect(yield* cache.getOption("a")).toEqual(Option.some(3))
    })
  )

  it.scoped("remove the value for a None", () =>
    Effect.gen(function* () {
      const cache = yield* numbers()
      yield* cache.put("a", 1)
      yield* cache.put("b", 2)
      expect(yield* cache.update("a", Option.none)).toEqual(Option.none())
      expect(yield* cache.getAndUpdate("b", Option.none)).toEqual(Option.some(2))
      expect(yield* cache.size).toBe(0)
    })
  )

  it.scoped("keep what is left of max and start idle anew", () =>
    Effect.gen(function* () {
      const cache = yield* numbers()
      yield* cache.put("a", 1, { idle: "4 seconds", max: "10 seconds" })
      for (const _ of [1, 2, 3]) {
        yield* TestClock.adjust("3 seconds")
        yield* cache.update("a", add(1))
      }
      expect(yield* cache.ttl("a")).toEqual(Option.some(Duration.seconds(1)))
      yield* TestClock.adjust("1 second")
      expect(yield* cache.has("a")).toBe(false)
    })
  )

  it.scoped("change nothing when the function throws", () =>
    Effect.gen(function* () {
      const cache = yield* numbers()
      yield* cache.put("a", 1)
      const exit = yield* Effect.exit(
        cache.update("a", () => {
          throw new Error("boom")
        })
      )
      expect(exit).toEqual(Exit.die(new Error("boom")))
      expect(yield* cache.getOption("a")).toEqual(Option.some(1))
    })
  )

  it.scoped("lose no update among many fibers", () =>
    Effect.gen(function* () {
      const cache = yield* numbers()
      yield* Effect.forEach(Array.from({ length: 100 }), () => cache.update("a", add(1)), { concurrency: "unbounded" })
      expect(yield* cache.getOption("a")).toEqual(Option.some(100))
    })
  )
})

describe("increment", () => {
  it.scoped("counts from zero, by one or by what it is told", () =>
    Effect.gen(function* () {
      const cache = yield* numbers()
      expect([yield* Cache.increment(cache, "a"), yield* Cache.increment(cache, "a", -3)]).toEqual([1, -2])
    })
  )
})

describe("take and deleteAll", () => {
  it.scoped("take removes and answers, deleteAll removes and counts each key once", () =>
    Effect.gen(function* () {
      const cache = yield* numbers()
      for (const key of ["a", "b", "c"]) yield* cache.put(key, 1)
      expect([yield* cache.take("a"), yield* cache.take("a")]).toEqual([Option.some(1), Option.none()])
      expect(yield* cache.deleteAll(["a", "b", "b", "d"])).toBe(1)
      expect(yield* cache.keys).toEqual(["c"])
    })
  )
})

describe("touch, ttl and expire", () => {
  it.scoped("touch starts idle anew, and says whether there was something", () =>
    Effect.gen(function* () {
      const cache = yield* numbers({ idle: "10 seconds" })
      yield* cache.put("a", 1)
      yield* TestClock.adjust("9 seconds")
      expect([yield* cache.touch("a"), yield* cache.touch("b")]).toEqual([true, false])
      expect(yield* cache.ttl("a")).toEqual(Option.some(Duration.seconds(10)))
    })
  )

  it.scoped("ttl says how long is left, and renews nothing", () =>
    Effect.gen(function* () {
      const cache = yield* numbers()
      yield* cache.put("a", 1, "10 seconds")
      yield* cache.put("b", 1)
      yield* TestClock.adjust("4 seconds")
      expect([yield* cache.ttl("a"), yield* cache.ttl("a"), yield* cache.ttl("b"), yield* cache.ttl("c")]).toEqual([
        Option.some(Duration.seconds(6)),
        Option.some(Duration.seconds(6)),
        Option.some(Duration.infinity),
        Option.none()
      ])
    })
  )

  it.scoped("expire makes a lifetime longer, shorter, endless or over", () =>
    Effect.gen(function* () {
      const cache = yield* numbers({ idle: "1 hour" })
      for (const key of ["a", "b", "c", "d"]) yield* cache.put(key, 1)
      for (const [key, lifetime] of [
        ["a", "2 hours"],
        ["b", { max: "1 minute" }],
        ["c", Number.POSITIVE_INFINITY],
        ["d", 0]
      ] as const) {
        expect(yield* cache.expire(key, lifetime)).toBe(true)
      }
      expect(yield* cache.expire("e", "1 hour")).toBe(false)
      const left: Array<ReadonlyArray<string>> = [yield* cache.keys]
      for (const time of ["1 minute", "1 hour", "1 hour"] as const) {
        yield* TestClock.adjust(time)
        left.push(yield* cache.keys)
      }
      expect(left).toEqual([["a", "b", "c"], ["a", "c"], ["a", "c"], ["c"]])
      expect((yield* cache.stats).expirations).toBe(3)
    })
  )

  it.scoped("expire to an earlier time wakes the sweeper earlier", () =>
    Effect.gen(function* () {
      // To ask the cache for its size or its stats would be to sweep it.
      const told: Array<string> = []
      const cache = yield* Cache.make<string, number>({
        name: "numbers",
        idle: "400 days",
        onRemoval: ({ cause, key }) => Effect.sync(() => told.push(`${key} ${cause}`))
      })
      yield* cache.put("a", 1)
      yield* TestClock.adjust("1 second")
      yield* cache.expire("a", "10 seconds")
      yield* TestClock.adjust("12 seconds")
      expect(told).toEqual(["a expired"])
    })
  )
})

describe("keys and entries", () => {
  it.scoped("list what can be served, and not what has expired", () =>
    Effect.gen(function* () {
      const cache = yield* numbers({ idle: "10 seconds" })
      yield* cache.put("a", 1)
      yield* TestClock.adjust("5 seconds")
      yield* cache.put("b", 2)
      expect(yield* cache.entries).toEqual([
        ["a", 1],
        ["b", 2]
      ])
      yield* TestClock.adjust("5 seconds")
      expect([yield* cache.keys, yield* cache.entries]).toEqual([["b"], [["b", 2]]])
    })
  )
})
