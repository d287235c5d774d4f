import { describe, expect, it } from "@effect/vitest"
import { Cache } from "@effecto/cache"
import { CommitFailed } from "@effecto/core/RepoError"
import { Context, Data, Deferred, type Duration, Effect, Equal, Exit, Fiber, FiberRef, Hash, Option } from "effect"

class Refused extends Data.TaggedError("Refused")<{ readonly key: string }> {}

/** A table to load from: counts what it is asked, and can be told to refuse. */
const makeTable = (rows: Record<string, number>) => {
  const asked: Array<string> = []
  return {
    rows,
    asked,
    find: (key: string): Effect.Effect<Option.Option<number>, Refused> =>
      Effect.suspend(() => {
        asked.push(key)
        const row = rows[key]
        return row === -1 ? Effect.fail(new Refused({ key })) : Effect.succeed(Option.fromNullable(row))
      })
  }
}

describe("get", () => {
  it.scoped("loads a missing key once and serves it from then on", () =>
    Effect.gen(function* () {
      const table = makeTable({ a: 1 })
      const cache = yield* Cache.make({ name: "numbers", lookup: table.find })
      expect(yield* cache.get("a")).toEqual(Option.some(1))
      expect(yield* cache.get("a")).toEqual(Option.some(1))
      expect(table.asked).toEqual(["a"])
    })
  )

  it.scoped("does not keep that there is nothing", () =>
    Effect.gen(function* () {
      const table = makeTable({})
      const cache = yield* Cache.make({ name: "numbers", lookup: table.find })
      expect(yield* cache.get("a")).toEqual(Option.none())
      table.rows.a = 1
      expect(yield* cache.get("a")).toEqual(Option.some(1))
      expect(table.asked).toEqual(["a", "a"])
    })
  )

  it.scoped("answers nothing for a missing key when there is no lookup", () =>
    Effect.gen(function* () {
      const cache = yield* Cache.make<string, number>({ name: "numbers" })
      expect(yield* cache.get("a")).toEqual(Option.none())
    })
  )

  it.scoped("hands a failure to the caller and does not keep it", () =>
    Effect.gen(function* () {
      const table = makeTable({ a: -1 })
      const cache = yield* Cache.make({ name: "numbers", lookup: table.find })
      expect(yield* Effect.flip(cache.get("a"))).toEqual(new Refused({ key: "a" }))
      table.rows.a = 1
      expect(yield* cache.get("a")).toEqual(Option.some(1))
    })
  )

  it.scoped("hands a lookup that throws to the caller as a defect and loads again", () =>
    Effect.gen(function* () {
      let broken = true
      const cache = yield* Cache.make({
        name: "numbers",
        lookup: (_: string) => {
          if (broken) throw new Error("boom")
          return Effect.succeedSome(1)
        }
      })
      expect(yield* Effect.exit(cache.get("a"))).toEqual(Exit.die(new Error("boom")))
      broken = false
      expect(yield* cache.get("a")).toEqual(Option.some(1))
    })
  )

  it.scoped("is the same through flatMap, forEach and yield*", () =>
    Effect.gen(function* () {
      const table = makeTable({ a: 1, b: 2 })
      const cache = yield* Cache.make({ name: "numbers", lookup: table.find })
      const some = yield* Effect.forEach(["a", "b", "a"], cache.get)
      expect(some).toEqual([Option.some(1), Option.some(2), Option.some(1)])
      expect(yield* Effect.flatMap(cache.get("b"), Effect.succeed)).toEqual(Option.some(2))
      const effect = cache.get("a")
      expect([yield* effect, yield* effect]).toEqual([Option.some(1), Option.some(1)])
      expect(table.asked).toEqual(["a", "b"])
    })
  )

  it.scoped("looks only when it is run", () =>
    Effect.gen(function* () {
      const cache = yield* Cache.make<string, number>({ name: "numbers" })
      const effect = cache.get("a")
      yield* cache.put("a", 1)
      expect(yield* effect).toEqual(Option.some(1))
    })
  )

  it.scoped("runs the lookup with the services of make and not of the caller", () =>
    Effect.gen(function* () {
      const Tenant = Context.GenericTag<"Tenant", string>("Tenant")
      const cache = yield* Cache.make({
        name: "tenants",
        lookup: (_: string) => Effect.asSome(Tenant)
      }).pipe(Effect.provideService(Tenant, "ours"))
      expect(yield* Effect.provideService(cache.get("a"), Tenant, "the caller's")).toEqual(Option.some("ours"))
    })
  )

  it.scoped("takes equal keys for one key", () =>
    Effect.gen(function* () {
      const asked: Array<ReadonlyArray<unknown>> = []
      const cache = yield* Cache.make({
        name: "rows",
        lookup: (key: readonly [table: string, id: number]) => Effect.sync(() => Option.some(asked.push(key)))
      })
      const key = () => Data.tuple("people", 1)
      expect(yield* cache.get(key())).toEqual(Option.some(1))
      expect(yield* cache.get(key())).toEqual(Option.some(1))
      expect(yield* cache.get(Data.tuple("people", 2))).toEqual(Option.some(2))
      expect(yield* cache.size).toBe(2)
      yield* cache.delete(key())
      expect(yield* cache.get(key())).toEqual(Option.some(3))
    })
  )

  it.scoped("keeps undefined, null and false as values", () =>
    Effect.gen(function* () {
      const cache = yield* Cache.make<string, false | null | undefined>({ name: "falsy" })
      for (const value of [undefined, null, false] as const) {
        yield* cache.put("a", value)
        expect(yield* cache.get("a")).toEqual(Option.some(value))
      }
    })
  )
})

describe("fetch", () => {
  it.scoped("answers the value itself", () =>
    Effect.gen(function* () {
      const table = makeTable({ a: 1 })
      const cache = yield* Cache.make({ name: "numbers", lookup: table.find })
      expect([yield* cache.fetch("a"), yield* cache.fetch("a")]).toEqual([1, 1])
      expect(table.asked).toEqual(["a"])
    })
  )

  it.scoped("fails with the cache and the key where there is no value", () =>
    Effect.gen(function* () {
      const cache = yield* Cache.make({ name: "numbers", lookup: makeTable({}).find })
      const error = yield* Effect.flip(cache.fetch("a"))
      expect(error).toEqual(new Cache.NotCached({ cache: "numbers", key: "a" }))
      expect(error.message).toBe('cache "numbers" has no value for a, and nothing that could load one had it either')
    })
  )
})

describe("getOption", () => {
  it.scoped("never loads", () =>
    Effect.gen(function* () {
      const table = makeTable({ a: 1 })
      const cache = yield* Cache.make({ name: "numbers", lookup: table.find })
      expect(yield* cache.getOption("a")).toEqual(Option.none())
      yield* cache.get("a")
      expect(yield* cache.getOption("a")).toEqual(Option.some(1))
      expect(table.asked).toEqual(["a"])
    })
  )
})

describe("getOrLoad", () => {
  const counting = <A>(value: A) => {
    const runs: Array<A> = []
    const effect = Effect.sync(() => {
      runs.push(value)
      return value
    })
    return { runs, effect }
  }

  it.scoped("runs the effect for a missing key and not for a held one", () =>
    Effect.gen(function* () {
      const cache = yield* Cache.make<string, string>({ name: "lists" })
      const world = counting("world")
      expect(yield* cache.getOrLoad("hello", world.effect, "5 seconds")).toBe("world")
      expect(yield* cache.getOrLoad("hello", world.effect, "5 seconds")).toBe("world")
      expect(world.runs).toEqual(["world"])
    })
  )

  it.scoped("keeps null, false and error values like any other", () =>
    Effect.gen(function* () {
      const cache = yield* Cache.make<string, null | false | Error>({ name: "lists" })
      for (const value of [null, false as const, new Error("a value")]) {
        const load = counting<null | false | Error>(value)
        yield* cache.getOrLoad(String(value), load.effect)
        expect(yield* cache.getOrLoad(String(value), load.effect)).toBe(value)
        expect(load.runs).toEqual([value])
      }
    })
  )

  it.scoped("hands a failure on, and the next good effect is kept", () =>
    Effect.gen(function* () {
      const cache = yield* Cache.make<string, number, Refused>({ name: "lists" })
      const failing = cache.getOrLoad("a", Effect.fail(new Refused({ key: "a" })))
      expect(yield* Effect.flip(failing)).toEqual(new Refused({ key: "a" }))
      expect(yield* cache.getOrLoad("a", Effect.succeed(1))).toBe(1)
      expect(yield* failing).toBe(1)
    })
  )

  it.scoped("runs once for fifty callers at the same time", () =>
    Effect.gen(function* () {
      const cache = yield* Cache.make<string, number>({ name: "lists" })
      const gate = yield* Deferred.make<void>()
      const load = counting(1)
      const callers = yield* Effect.fork(
        Effect.all(
          Array.from({ length: 50 }, () => cache.getOrLoad("a", Effect.zipRight(Deferred.await(gate), load.effect))),
          { concurrency: "unbounded" }
        )
      )
      yield* Effect.yieldNow()
      yield* Deferred.succeed(gate, undefined)
      expect(yield* Fiber.join(callers)).toEqual(Array.from({ length: 50 }, () => 1))
      expect(load.runs).toEqual([1])
      expect((yield* cache.stats).loads).toBe(1)
    })
  )

  it.scoped("runs the effect with the caller's services", () =>
    Effect.gen(function* () {
      const Source = Context.GenericTag<"Source", number>("Source")
      const cache = yield* Cache.make<string, number>({ name: "lists" })
      expect(yield* cache.getOrLoad("a", Source).pipe(Effect.provideService(Source, 7))).toBe(7)
    })
  )

  it.scoped("runs the effect with the caller's service where the cache was made with another", () =>
    Effect.gen(function* () {
      const Source = Context.GenericTag<"Source", number>("Source")
      const cache = yield* Effect.provideService(
        Effect.zipLeft(Cache.make<string, number>({ name: "lists" }), Source),
        Source,
        1
      )
      expect(yield* cache.getOrLoad("a", Source).pipe(Effect.provideService(Source, 7))).toBe(7)
    })
  )

  it.scoped("runs the effect without what the caller set for its own fiber", () =>
    Effect.gen(function* () {
      const tenant = FiberRef.unsafeMake("nobody")
      const cache = yield* Cache.make<string, string>({ name: "lists" })
      expect(yield* Effect.locally(cache.getOrLoad("a", FiberRef.get(tenant)), tenant, "the caller")).toBe("nobody")
    })
  )

  it.scoped("refuses a lifetime that is none before it runs the effect", () =>
    Effect.gen(function* () {
      const cache = yield* Cache.make<string, number>({ name: "lists" })
      const load = counting(1)
      for (const lifetime of [-1, Number.NaN, "soon" as "1 second"]) {
        const exit = yield* Effect.exit(cache.getOrLoad("a", load.effect, lifetime))
        expect(exit).toEqual(
          Exit.die(
            new RangeError(
              `the lifetime given to cache "lists" is not a lifetime: ${lifetime} (a duration of zero or more, such as "10 minutes", or Infinity)`
            )
          )
        )
      }
      expect(load.runs).toEqual([])
    })
  )

  it.scoped("takes its own turn when a lookup under way brings nothing", () =>
    Effect.gen(function* () {
      const gate = yield* Deferred.make<void>()
      const cache = yield* Cache.make({
        name: "lists",
        lookup: (_: string) => Effect.as(Deferred.await(gate), Option.none<number>())
      })
      const reader = yield* Effect.fork(cache.get("a"))
      yield* Effect.yieldNow()
      const loader = yield* Effect.fork(cache.getOrLoad("a", Effect.succeed(1)))
      yield* Effect.yieldNow()
      yield* Deferred.succeed(gate, undefined)
      expect(yield* Fiber.join(loader)).toBe(1)
      expect(yield* Fiber.join(reader)).toEqual(Option.none())
    })
  )
})

describe("put, delete, clear, has, size", () => {
  it.scoped("put replaces, delete removes and says so, clear removes everything", () =>
    Effect.gen(function* () {
      const cache = yield* Cache.make<string, number>({ name: "numbers" })
      yield* cache.put("a", 1)
      yield* cache.put("a", 2)
      yield* cache.put("b", 3)
      expect([yield* cache.size, yield* cache.has("a"), yield* cache.has("c")]).toEqual([2, true, false])
      expect([yield* cache.delete("a"), yield* cache.delete("a")]).toEqual([true, false])
      expect([yield* cache.size, yield* cache.has("a")]).toEqual([1, false])
      yield* cache.clear
      expect([yield* cache.size, yield* cache.get("b")]).toEqual([0, Option.none()])
    })
  )
})

describe("what get answers", () => {
  it.scoped("is an Option as Option.some makes it, in every respect", () =>
    Effect.gen(function* () {
      const cache = yield* Cache.make<string, unknown>({ name: "values" })
      for (const value of [1, undefined, null, Data.tuple(1)]) {
        yield* cache.put("a", value)
        for (const ours of [yield* cache.get("a"), yield* Effect.flatMap(cache.getOption("a"), Effect.succeed)]) {
          const theirs = Option.some(value)
          expect(Option.isOption(ours) && Option.isSome(ours) && ours.value).toBe(value)
          expect(Object.getPrototypeOf(ours)).toBe(Object.getPrototypeOf(theirs))
          expect(Object.getOwnPropertyDescriptors(ours)).toEqual(Object.getOwnPropertyDescriptors(theirs))
          expect([Equal.equals(ours, theirs), Hash.hash(ours)]).toEqual([true, Hash.hash(theirs)])
        }
      }
    })
  )
})

describe("stats", () => {
  it.scoped("counts a read once, also one that takes its own turn after a lookup under way has brought nothing", () =>
    Effect.gen(function* () {
      const gate = yield* Deferred.make<void>()
      const cache = yield* Cache.make({
        name: "lists",
        lookup: (_: string) => Effect.as(Deferred.await(gate), Option.none<number>())
      })
      const readers = [
        yield* Effect.fork(cache.get("a")),
        yield* Effect.fork(cache.getOrLoad("a", Effect.succeed(1))),
        yield* Effect.fork(cache.getOrLoad("a", Effect.succeed(2)))
      ]
      yield* Effect.yieldNow()
      yield* Deferred.succeed(gate, undefined)
      yield* Fiber.awaitAll(readers)
      const { hits, misses } = yield* cache.stats
      expect({ hits, misses }).toEqual({ hits: 0, misses: 3 })
    })
  )

  it.scoped("counts hits, misses, loads, their failures and loads that came too late", () =>
    Effect.gen(function* () {
      const table = makeTable({ a: 1, b: -1 })
      const gate = yield* Deferred.make<void>()
      const cache = yield* Cache.make({
        name: "numbers",
        lookup: (key: string) => (key === "slow" ? Effect.as(Deferred.await(gate), Option.some(9)) : table.find(key))
      })
      yield* cache.get("a")
      yield* cache.get("a")
      yield* cache.getOption("a")
      yield* Effect.exit(cache.get("b"))
      const slow = yield* Effect.fork(cache.get("slow"))
      yield* Effect.yieldNow()
      yield* cache.delete("slow")
      yield* Deferred.succeed(gate, undefined)
      yield* Fiber.join(slow)
      expect(yield* cache.stats).toMatchObject({
        size: 1,
        hits: 2,
        misses: 3,
        loads: 3,
        loadFailures: 1,
        revokedLoads: 1,
        expirations: 0,
        evictions: 0
      })
    })
  )
})

describe("evicting", () => {
  it.scoped("removes the key when the effect has succeeded, and hands its value on", () =>
    Effect.gen(function* () {
      const cache = yield* Cache.make<string, number>({ name: "lists" })
      yield* cache.put("posts", 1)
      expect(yield* Effect.succeed(42).pipe(cache.evicting("posts"))).toBe(42)
      expect(yield* cache.has("posts")).toBe(false)
    })
  )

  it.scoped("leaves the key alone when the effect has failed, and hands the failure on", () =>
    Effect.gen(function* () {
      const cache = yield* Cache.make<string, number>({ name: "lists" })
      yield* cache.put("posts", 1)
      expect(yield* Effect.flip(Effect.fail(42).pipe(cache.evicting("posts")))).toBe(42)
      expect(yield* cache.has("posts")).toBe(true)
    })
  )

  it.scoped("removes the key when the effect was interrupted, for it may have written", () =>
    Effect.gen(function* () {
      const cache = yield* Cache.make<string, number>({ name: "lists" })
      yield* cache.put("posts", 1)
      const writer = yield* Effect.fork(Effect.never.pipe(cache.evicting("posts")))
      yield* Effect.yieldNow()
      yield* Fiber.interrupt(writer)
      expect(yield* cache.has("posts")).toBe(false)
    })
  )

  it.scoped("removes the key when nobody knows whether the commit went through, and not when it did not", () =>
    Effect.gen(function* () {
      const cache = yield* Cache.make<string, number>({ name: "lists" })
      const left: Array<boolean> = []
      for (const outcome of ["rolledBack", "unknown"] as const) {
        yield* cache.put("posts", 1)
        const error = new CommitFailed({ code: undefined, outcome, reason: "the connection died", cause: undefined })
        expect(yield* Effect.flip(Effect.fail(error).pipe(cache.evicting("posts")))).toBe(error)
        left.push(yield* cache.has("posts"))
      }
      expect(left).toEqual([true, false])
    })
  )

  it.effect("does not fail a write because the cache has been closed", () =>
    Effect.gen(function* () {
      const cache = yield* Effect.scoped(Cache.make<string, number>({ name: "lists" }))
      expect(yield* Effect.succeed(42).pipe(cache.evicting("posts"))).toBe(42)
    })
  )
})

describe("make", () => {
  it.scoped("refuses a capacity that is none and a lifetime that is none, naming the cache", () =>
    Effect.gen(function* () {
      for (const capacity of [0, -1, 1.5, Number.NaN]) {
        expect(yield* Effect.exit(Cache.make<string, number>({ name: "numbers", capacity }))).toEqual(
          Exit.die(
            new RangeError(
              `cache "numbers" cannot have a capacity of ${capacity}: give a whole number above zero, or leave it out for none`
            )
          )
        )
      }
      for (const [lifetime, shown] of [
        ["-5 seconds", "-5 seconds"],
        ["-0.5 nanos", "-0.5 nanos"],
        [-5n, "-5"],
        [[-1, 0], "-1,0"],
        [[0, -1], "0,-1"],
        [[Number.NaN, 0], "NaN,0"],
        ["soon" as "1 day", "soon"]
      ] as const) {
        const refusal = (name: string) =>
          Exit.die(
            new RangeError(
              `${name} is not a lifetime: ${shown} (a duration of zero or more, such as "10 minutes", or Infinity)`
            )
          )
        const input = lifetime as Duration.DurationInput
        expect(yield* Effect.exit(Cache.make<string, number>({ name: "numbers", max: input }))).toEqual(
          refusal('cache "numbers".max')
        )
        const cache = yield* Cache.make<string, number>({ name: "numbers" })
        expect(yield* Effect.exit(cache.put("a", 1, input))).toEqual(refusal('the lifetime given to cache "numbers"'))
        expect(yield* Effect.exit(cache.put("a", 1, { idle: input }))).toEqual(
          refusal('the lifetime given to cache "numbers".idle')
        )
      }
      for (const zero of ["0 seconds", 0n, [0, 0], -0] as const) {
        const cache = yield* Cache.make<string, number>({ name: "numbers", idle: zero as Duration.DurationInput })
        yield* cache.put("a", 1)
        expect(yield* cache.has("a")).toBe(false)
      }
      expect(yield* Effect.exit(Cache.make<string, number>({ name: "numbers", idle: -1 }))).toEqual(
        Exit.die(
          new RangeError(
            'cache "numbers".idle is not a lifetime: -1 (a duration of zero or more, such as "10 minutes", or Infinity)'
          )
        )
      )
    })
  )

  it.scoped("never holds more than its capacity, and always what was written last", () =>
    Effect.gen(function* () {
      for (const policy of ["tinyLfu", "lru"] as const) {
        for (const capacity of [1, 2, 3, 10]) {
          const cache = yield* Cache.make<number, number>({ name: "numbers", capacity, policy })
          for (let key = 0; key < 50; key += 1) {
            yield* cache.put(key % 17, key)
            yield* cache.get(key % 3)
            expect(yield* cache.size).toBeLessThanOrEqual(capacity)
            expect(yield* cache.getOption(key % 17)).toEqual(Option.some(key))
          }
          const stats = yield* cache.stats
          expect([stats.size, stats.evictions > 0]).toEqual([capacity, true])
        }
      }
    })
  )

  it.scoped("lets the least recently used value go, if that is the policy", () =>
    Effect.gen(function* () {
      const cache = yield* Cache.make<string, number>({ name: "numbers", capacity: 2, policy: "lru" })
      yield* cache.put("a", 1)
      yield* cache.put("b", 2)
      yield* cache.get("a")
      yield* cache.put("c", 3)
      expect([yield* cache.has("a"), yield* cache.has("b"), yield* cache.has("c")]).toEqual([true, false, true])
      expect(yield* cache.size).toBe(2)
      expect((yield* cache.stats).evictions).toBe(1)
    })
  )

  it.scoped("keeps what is used again and again when a scan comes by, unless the policy is lru", () =>
    Effect.gen(function* () {
      const left: Array<number> = []
      for (const policy of ["tinyLfu", "lru"] as const) {
        const cache = yield* Cache.make<number, number>({ name: "numbers", capacity: 100, policy })
        const hot = Array.from({ length: 50 }, (_, key) => key)
        for (let turn = 0; turn < 5; turn += 1) {
          for (const key of hot) yield* cache.getOrLoad(key, Effect.succeed(key))
        }
        for (let key = 1_000; key < 1_200; key += 1) yield* cache.getOrLoad(key, Effect.succeed(key))
        left.push((yield* Effect.filter(hot, cache.has)).length)
      }
      expect(left).toEqual([50, 0])
    })
  )

  it.scoped("loads each key once even when far more keys are loaded at a time than it can hold", () =>
    Effect.gen(function* () {
      const asked: Array<number> = []
      const gate = yield* Deferred.make<void>()
      const cache = yield* Cache.make({
        name: "numbers",
        capacity: 1,
        lookup: (key: number) => {
          asked.push(key)
          return Effect.as(Deferred.await(gate), Option.some(key))
        }
      })
      const keys = Array.from({ length: 100 }, (_, key) => key)
      const readers = yield* Effect.fork(Effect.forEach([...keys, ...keys], cache.get, { concurrency: "unbounded" }))
      yield* Effect.yieldNow()
      yield* Deferred.succeed(gate, undefined)
      expect(yield* Fiber.join(readers)).toEqual([...keys, ...keys].map(Option.some))
      expect(asked).toEqual(keys)
      expect(yield* cache.size).toBe(1)
    })
  )
})

describe("layer", () => {
  it.effect("provides the cache under its tag for as long as the layer's scope", () =>
    Effect.gen(function* () {
      class Numbers extends Context.Tag("Numbers")<Numbers, Cache.Cache<string, number>>() {}
      const NumbersLive = Cache.layer(Numbers, { name: "numbers", lookup: (key) => Effect.succeedSome(key.length) })
      const cache = yield* Effect.provide(
        Effect.gen(function* () {
          const cache = yield* Numbers
          expect(yield* cache.fetch("four")).toBe(4)
          return cache
        }),
        NumbersLive
      )
      expect(Exit.isFailure(yield* Effect.exit(cache.get("four")))).toBe(true)
    })
  )
})
