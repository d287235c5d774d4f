/** What may be served when nothing fresh is there: after expiry, and never after an invalidation. */
import { describe, expect, it } from "@effect/vitest"
import { Cache } from "@effecto/cache"
import { Data, Deferred, Effect, Exit, Fiber, Option, TestClock } from "effect"
import { open, structure } from "./structure.js"

class Down extends Data.TaggedError("Down") {}

/** A row that is read when a load begins; `gate` holds loads up, `broken` fails them. */
const makeTable = () => {
  const table = {
    row: 1 as number | undefined,
    broken: false,
    loads: 0,
    gate: undefined as Deferred.Deferred<void> | undefined,
    find: (_: string): Effect.Effect<Option.Option<number>, Down> =>
      Effect.gen(function* () {
        table.loads += 1
        const read = table.row
        const broken = table.broken
        if (table.gate !== undefined) yield* Deferred.await(table.gate)
        return broken ? yield* new Down() : Option.fromNullable(read)
      })
  }
  return table
}

const turns = Effect.repeatN(Effect.yieldNow(), 20)

describe("staleWhileRevalidate", () => {
  const make = Effect.gen(function* () {
    const table = makeTable()
    const cache = yield* Cache.make({
      name: "rows",
      max: "10 seconds",
      staleWhileRevalidate: "5 seconds",
      lookup: table.find
    })
    yield* cache.get("k")
    table.row = 2
    return { table, cache }
  })

  it.scoped("serves the old value at once, and loads a new one once in the background", () =>
    Effect.gen(function* () {
      const { cache, table } = yield* make
      yield* TestClock.adjust("10 seconds")
      table.gate = yield* Deferred.make<void>()
      expect(yield* cache.get("k")).toEqual(Option.some(1))
      expect(yield* cache.get("k")).toEqual(Option.some(1))
      yield* turns
      expect(table.loads).toBe(2)
      yield* Deferred.succeed(table.gate, undefined)
      yield* turns
      expect(yield* cache.get("k")).toEqual(Option.some(2))
      expect(yield* cache.stats).toMatchObject({ staleServes: 2, refreshes: 1, misses: 1, hits: 1, loads: 2 })
    })
  )

  it.scoped("ends on time", () =>
    Effect.gen(function* () {
      const { cache } = yield* make
      yield* TestClock.adjust("15 seconds")
      expect(yield* cache.get("k")).toEqual(Option.some(2))
    })
  )

  it.scoped("holds for get, fetch, getAll and getOrLoad, and for nothing that does not load", () =>
    Effect.gen(function* () {
      const { cache, table } = yield* make
      yield* TestClock.adjust("10 seconds")
      table.gate = yield* Deferred.make<void>()
      expect(yield* cache.fetch("k")).toBe(1)
      expect(yield* cache.getAll(["k"])).toEqual([Option.some(1)])
      expect(yield* cache.getOrLoad("k", Effect.succeed(3))).toBe(1)
      expect(yield* cache.getOption("k")).toEqual(Option.none())
      expect([yield* cache.has("k"), yield* cache.size, yield* cache.keys, cache.unsafePeek("k")]).toEqual([
        false,
        0,
        [],
        Option.none()
      ])
    })
  )

  for (const [what, invalidate] of [
    ["delete", (cache: Cache.Cache<string, number, Down>) => Effect.asVoid(cache.delete("k"))],
    ["clear", (cache: Cache.Cache<string, number, Down>) => cache.clear],
    ["evicting", (cache: Cache.Cache<string, number, Down>) => Effect.void.pipe(cache.evicting("k"))]
  ] as const) {
    it.scoped(`never serves what ${what} has removed, before its expiry or after`, () =>
      Effect.gen(function* () {
        for (const first of ["expiry", what]) {
          for (const later of ["0 seconds", "1 second", "10 seconds"] as const) {
            const { cache, table } = yield* make
            if (first === "expiry") yield* TestClock.adjust("10 seconds")
            yield* invalidate(cache)
            yield* TestClock.adjust(later)
            expect(yield* cache.get("k")).toEqual(Option.some(2))
            expect(table.loads).toBe(2)
          }
        }
      })
    )

    it.scoped(`does not let a refresh that ${what} overtook bring the old value back`, () =>
      Effect.gen(function* () {
        const { cache, table } = yield* make
        yield* TestClock.adjust("10 seconds")
        table.gate = yield* Deferred.make<void>()
        yield* cache.get("k")
        yield* turns
        table.row = 3
        yield* invalidate(cache)
        yield* Deferred.succeed(table.gate, undefined)
        yield* turns
        expect(yield* cache.has("k")).toBe(false)
        expect(yield* cache.get("k")).toEqual(Option.some(3))
      })
    )
  }

  it.scoped("lets the value go when the refresh finds that there is nothing any more", () =>
    Effect.gen(function* () {
      const { cache, table } = yield* make
      yield* TestClock.adjust("10 seconds")
      table.row = undefined
      expect(yield* cache.get("k")).toEqual(Option.some(1))
      yield* turns
      expect(yield* cache.get("k")).toEqual(Option.none())
    })
  )

  it.scoped("gives all memory back when it ends, without anybody reading", () =>
    Effect.gen(function* () {
      const { cache, service } = yield* open<string, number, never>({
        span: { idle: 1_000, max: Number.POSITIVE_INFINITY },
        policy: undefined,
        lookup: undefined,
        staleWhileRevalidate: 5_000
      })
      yield* cache.put("k", 1)
      yield* TestClock.adjust("5 seconds")
      expect(structure(service)).toMatchObject({ entries: 1, filed: 1 })
      yield* TestClock.adjust("2 seconds")
      expect(structure(service)).toMatchObject({ entries: 0, filed: 0 })
    })
  )
})

describe("grace", () => {
  const make = (options: Partial<Cache.Options<string, number, Down>> = {}) =>
    Effect.gen(function* () {
      const table = makeTable()
      const cache = yield* Cache.make({
        name: "rows",
        max: "10 seconds",
        grace: "1 minute",
        lookup: table.find,
        ...options
      })
      yield* cache.get("k")
      yield* TestClock.adjust("10 seconds")
      table.row = 2
      return { table, cache }
    })

  it.scoped("waits for the load, and serves the old value only if that fails", () =>
    Effect.gen(function* () {
      const { cache, table } = yield* make()
      table.broken = true
      expect(yield* cache.get("k")).toEqual(Option.some(1))
      table.broken = false
      expect(yield* cache.get("k")).toEqual(Option.some(2))
      expect(yield* cache.stats).toMatchObject({ staleServes: 1, loadFailures: 1 })
    })
  )

  it.scoped("ends: then the failure is the answer", () =>
    Effect.gen(function* () {
      const { cache, table } = yield* make()
      table.broken = true
      yield* TestClock.adjust("1 minute")
      expect(yield* Effect.flip(cache.get("k"))).toEqual(new Down())
    })
  )

  it.scoped("hides no bug: a defect of the load is the caller's", () =>
    Effect.gen(function* () {
      let first = true
      const { cache } = yield* make({
        lookup: () => {
          if (!first) return Effect.die("bug")
          first = false
          return Effect.succeedSome(1)
        }
      })
      expect(yield* Effect.exit(cache.get("k"))).toEqual(Exit.die("bug"))
    })
  )

  it.scoped("does not serve what was invalidated while the load was failing", () =>
    Effect.gen(function* () {
      const { cache, table } = yield* make()
      table.broken = true
      table.gate = yield* Deferred.make<void>()
      const reader = yield* Effect.fork(cache.get("k"))
      yield* turns
      yield* cache.delete("k")
      yield* Deferred.succeed(table.gate, undefined)
      expect(yield* Fiber.await(reader)).toEqual(Exit.fail(new Down()))
    })
  )

  it.scoped("spares a broken source while a failure is kept", () =>
    Effect.gen(function* () {
      const { cache, table } = yield* make({ failed: "5 seconds" })
      table.broken = true
      for (let read = 0; read < 3; read += 1) expect(yield* cache.get("k")).toEqual(Option.some(1))
      expect(table.loads).toBe(2)
      yield* TestClock.adjust("5 seconds")
      table.broken = false
      expect(yield* cache.get("k")).toEqual(Option.some(2))
    })
  )

  it.scoped("with softTimeout serves the old value after that long, and the load goes on", () =>
    Effect.gen(function* () {
      const { cache, table } = yield* make({ softTimeout: "100 millis" })
      table.gate = yield* Deferred.make<void>()
      const reader = yield* Effect.fork(cache.get("k"))
      yield* TestClock.adjust("99 millis")
      expect(reader.unsafePoll()).toBe(null)
      yield* TestClock.adjust("1 millis")
      expect(yield* Fiber.join(reader)).toEqual(Option.some(1))
      yield* Deferred.succeed(table.gate, undefined)
      yield* turns
      expect(yield* cache.get("k")).toEqual(Option.some(2))
      expect(table.loads).toBe(2)
    })
  )

  it.scoped("with softTimeout waits no longer for several keys than for one", () =>
    Effect.gen(function* () {
      const { cache, table } = yield* make({ softTimeout: "100 millis" })
      const keys = ["a", "b", "c", "k"]
      yield* cache.getAll(keys)
      yield* TestClock.adjust("10 seconds")
      table.gate = yield* Deferred.make<void>()
      table.row = 3
      const reader = yield* Effect.fork(cache.getAll(keys))
      yield* TestClock.adjust("99 millis")
      yield* turns
      expect(reader.unsafePoll()).toBe(null)
      yield* TestClock.adjust("1 millis")
      yield* Effect.repeatN(turns, 5)
      expect(reader.unsafePoll()).not.toBe(null)
      expect(yield* Fiber.join(reader)).toEqual([2, 2, 2, 2].map(Option.some))
    })
  )

  it.scoped("with softTimeout waits on when the value was invalidated meanwhile", () =>
    Effect.gen(function* () {
      const { cache, table } = yield* make({ softTimeout: "100 millis" })
      table.gate = yield* Deferred.make<void>()
      const reader = yield* Effect.fork(cache.get("k"))
      yield* turns
      yield* cache.delete("k")
      yield* TestClock.adjust("1 second")
      expect(reader.unsafePoll()).toBe(null)
      yield* Deferred.succeed(table.gate, undefined)
      expect(yield* Fiber.join(reader)).toEqual(Option.some(2))
    })
  )
})

describe("hardTimeout", () => {
  it.scoped("ends a load, and everybody's wait for it, with a defect that says what to do", () =>
    Effect.gen(function* () {
      let interrupted = 0
      const { cache, service } = yield* open<string, number, never>({
        span: { idle: Number.POSITIVE_INFINITY, max: Number.POSITIVE_INFINITY },
        policy: undefined,
        hardTimeout: 1_000,
        lookup: () => Effect.onInterrupt(Effect.never, () => Effect.sync(() => (interrupted += 1)))
      })
      const readers = yield* Effect.forEach([1, 2], () => Effect.fork(cache.get("k")))
      yield* TestClock.adjust("1 second")
      yield* turns
      const error = new Cache.LoadTimedOut({ cache: "opened", keys: ["k"], millis: 1_000 })
      for (const reader of readers) expect(yield* Fiber.await(reader)).toEqual(Exit.die(error))
      expect(error.message).toBe(
        'cache "opened" gave up loading k after 1000 ms: raise hardTimeout, or make the load quicker'
      )
      expect(interrupted).toBe(1)
      expect(structure(service)).toMatchObject({ loads: 0, inFlight: 0, waiters: 0 })
    })
  )

  it.scoped("ends one that cannot be interrupted, too, and fails as onTimeout says", () =>
    Effect.gen(function* () {
      const gate = yield* Deferred.make<Option.Option<number>>()
      const cache = yield* Cache.make({
        name: "rows",
        hardTimeout: "1 second",
        onTimeout: () => new Down(),
        lookup: (_: string): Effect.Effect<Option.Option<number>, Down> => Effect.uninterruptible(Deferred.await(gate))
      })
      const reader = yield* Effect.fork(cache.get("k"))
      yield* TestClock.adjust("1 second")
      expect(yield* Fiber.await(reader)).toEqual(Exit.fail(new Down()))
      yield* Deferred.succeed(gate, Option.none())
    })
  )

  it.scoped("counts as an outage: a value in grace is served", () =>
    Effect.gen(function* () {
      const table = makeTable()
      const cache = yield* Cache.make({
        name: "rows",
        max: "10 seconds",
        grace: "1 minute",
        hardTimeout: "1 second",
        lookup: table.find
      })
      yield* cache.get("k")
      yield* TestClock.adjust("10 seconds")
      table.gate = yield* Deferred.make<void>()
      const reader = yield* Effect.fork(cache.get("k"))
      yield* TestClock.adjust("1 second")
      expect(yield* Fiber.join(reader)).toEqual(Option.some(1))
    })
  )
})

describe("absent", () => {
  it.scoped("keeps for that long that there is nothing", () =>
    Effect.gen(function* () {
      const table = makeTable()
      table.row = undefined
      const cache = yield* Cache.make({ name: "rows", lookup: table.find, absent: "5 seconds" })
      expect(yield* cache.get("k")).toEqual(Option.none())
      table.row = 1
      yield* TestClock.adjust("4999 millis")
      expect(yield* cache.get("k")).toEqual(Option.none())
      expect(yield* cache.stats).toMatchObject({ loads: 1, hits: 1, misses: 1, absences: 1 })
      yield* TestClock.adjust("1 millis")
      expect(yield* cache.get("k")).toEqual(Option.some(1))
      expect(table.loads).toBe(2)
    })
  )

  for (const [what, write] of [
    ["put", (cache: Cache.Cache<string, number, Down>) => cache.put("k", 7)],
    ["delete", (cache: Cache.Cache<string, number, Down>) => Effect.asVoid(cache.delete("k"))],
    ["clear", (cache: Cache.Cache<string, number, Down>) => cache.clear],
    ["evicting", (cache: Cache.Cache<string, number, Down>) => Effect.void.pipe(cache.evicting("k"))],
    ["refresh", (cache: Cache.Cache<string, number, Down>) => Effect.asVoid(cache.refresh("k"))],
    ["getOrLoad", (cache: Cache.Cache<string, number, Down>) => Effect.asVoid(cache.getOrLoad("k", Effect.succeed(7)))]
  ] as const) {
    it.scoped(`is over with ${what}`, () =>
      Effect.gen(function* () {
        const table = makeTable()
        table.row = undefined
        const cache = yield* Cache.make({ name: "rows", lookup: table.find, absent: "5 seconds" })
        yield* cache.get("k")
        table.row = 7
        yield* write(cache)
        expect(yield* cache.get("k")).toEqual(Option.some(7))
      })
    )
  }

  it.scoped("is chosen by the key, leaves nothing behind, and takes no more room than values may", () =>
    Effect.gen(function* () {
      const { cache, service } = yield* open<number, number, never>({
        span: { idle: Number.POSITIVE_INFINITY, max: Number.POSITIVE_INFINITY },
        policy: undefined,
        absent: (key) => (key % 2 === 0 ? 5_000 : 0),
        lookup: () => Effect.succeedNone
      })
      for (let key = 0; key < 10; key += 1) yield* cache.get(key)
      expect(structure(service)).toMatchObject({ entries: 0, absences: 5, filed: 5 })
      yield* TestClock.adjust("6 seconds")
      expect(structure(service)).toMatchObject({ entries: 0, absences: 0, filed: 0 })
      const small = yield* Cache.make({
        name: "small",
        capacity: 3,
        absent: "1 hour",
        lookup: (_: number) => Effect.succeed(Option.none<number>())
      })
      for (let key = 0; key < 10; key += 1) yield* small.get(key)
      expect(yield* small.stats).toMatchObject({ absences: 3 })
    })
  )

  it.scoped("is forgotten first where it has been known for the longest time, whatever the keys are", () =>
    Effect.gen(function* () {
      const asked: Array<unknown> = []
      const cache = yield* Cache.make({
        name: "small",
        capacity: 3,
        absent: "1 hour",
        lookup: (key: unknown) =>
          Effect.as(
            Effect.sync(() => asked.push(key)),
            Option.none<number>()
          )
      })
      const [one, two] = [Data.tuple(1), Data.tuple(2)]
      for (const key of [one, 1, two, 1, 2, 3]) yield* cache.get(key)
      expect(asked.splice(0)).toEqual([one, 1, two, 2, 3])
      for (const key of [3, 2, two, 1]) yield* cache.get(key)
      expect(asked).toEqual([1])
    })
  )

  it.scoped("is not written by a load that was overtaken", () =>
    Effect.gen(function* () {
      const table = makeTable()
      table.row = undefined
      table.gate = yield* Deferred.make<void>()
      const cache = yield* Cache.make({ name: "rows", lookup: table.find, absent: "1 hour" })
      const reader = yield* Effect.fork(cache.get("k"))
      yield* turns
      table.row = 1
      yield* cache.delete("k")
      yield* Deferred.succeed(table.gate, undefined)
      expect(yield* Fiber.join(reader)).toEqual(Option.none())
      expect(yield* cache.get("k")).toEqual(Option.some(1))
    })
  )
})

describe("failed", () => {
  it.scoped("keeps a failure for as long as it says, and no defect", () =>
    Effect.gen(function* () {
      const table = makeTable()
      table.broken = true
      const cache = yield* Cache.make({ name: "rows", lookup: table.find, failed: (_: Down) => "5 seconds" })
      expect(yield* Effect.flip(cache.get("k"))).toEqual(new Down())
      table.broken = false
      expect(yield* Effect.flip(cache.get("k"))).toEqual(new Down())
      yield* TestClock.adjust("5 seconds")
      expect(yield* cache.get("k")).toEqual(Option.some(1))
    })
  )

  it.scoped("hands out what the function that chooses throws, and strands nobody", () =>
    Effect.gen(function* () {
      const table = makeTable()
      table.broken = true
      const cache = yield* Cache.make({
        name: "rows",
        lookup: table.find,
        failed: () => {
          throw new Error("no lifetime")
        }
      })
      expect(yield* Effect.exit(cache.get("k"))).toEqual(Exit.die(new Error("no lifetime")))
      table.broken = false
      expect(yield* cache.get("k")).toEqual(Option.some(1))
    })
  )
})

describe("refresh", () => {
  it.scoped("looks up anew, and answers what it found", () =>
    Effect.gen(function* () {
      const table = makeTable()
      const cache = yield* Cache.make({ name: "rows", lookup: table.find })
      yield* cache.get("k")
      table.row = 2
      expect(yield* cache.refresh("k")).toEqual(Option.some(2))
      expect(yield* cache.get("k")).toEqual(Option.some(2))
      expect(table.loads).toBe(2)
    })
  )

  it.scoped("serves others what is held until it ends, and for good if it fails", () =>
    Effect.gen(function* () {
      const table = makeTable()
      const cache = yield* Cache.make({ name: "rows", lookup: table.find })
      yield* cache.get("k")
      table.broken = true
      table.gate = yield* Deferred.make<void>()
      const refresh = yield* Effect.fork(cache.refresh("k"))
      yield* turns
      expect(yield* cache.get("k")).toEqual(Option.some(1))
      yield* Deferred.succeed(table.gate, undefined)
      expect(yield* Fiber.await(refresh)).toEqual(Exit.fail(new Down()))
      expect(yield* cache.get("k")).toEqual(Option.some(1))
    })
  )

  it.scoped("does not join a load that began before, whose value is not kept", () =>
    Effect.gen(function* () {
      const table = makeTable()
      const gate = yield* Deferred.make<void>()
      table.gate = gate
      const cache = yield* Cache.make({ name: "rows", lookup: table.find })
      const early = yield* Effect.fork(cache.get("k"))
      yield* turns
      table.row = 2
      table.gate = undefined
      expect(yield* cache.refresh("k")).toEqual(Option.some(2))
      yield* Deferred.succeed(gate, undefined)
      expect(yield* Fiber.join(early)).toEqual(Option.some(1))
      expect(yield* cache.get("k")).toEqual(Option.some(2))
    })
  )

  it.scoped("does not undo a put that overtook it", () =>
    Effect.gen(function* () {
      const table = makeTable()
      table.gate = yield* Deferred.make<void>()
      const cache = yield* Cache.make({ name: "rows", lookup: table.find })
      const refresh = yield* Effect.fork(cache.refresh("k"))
      yield* turns
      yield* cache.put("k", 99)
      yield* Deferred.succeed(table.gate, undefined)
      yield* Fiber.join(refresh)
      expect(yield* cache.get("k")).toEqual(Option.some(99))
    })
  )
})

describe("refreshAhead", () => {
  it.scoped("looks up again in the background what is read shortly before its end, measured by what a load takes", () =>
    Effect.gen(function* () {
      let row = 0
      const cache = yield* Cache.make({
        name: "rows",
        max: "100 seconds",
        refreshAhead: 1,
        lookup: (_: string) =>
          Effect.delay(
            Effect.sync(() => {
              row += 1
              return Option.some(row)
            }),
            "1 second"
          )
      })
      const first = yield* Effect.fork(cache.get("k"))
      yield* TestClock.adjust("1 second")
      expect(yield* Fiber.join(first)).toEqual(Option.some(1))
      // Far from the end nobody refreshes; at the end chance nearly always does within so many reads.
      yield* TestClock.adjust("50 seconds")
      yield* cache.get("k")
      expect(yield* cache.stats).toMatchObject({ refreshes: 0 })
      yield* TestClock.adjust("49999 millis")
      for (let read = 0; read < 50; read += 1) expect(yield* cache.get("k")).toEqual(Option.some(1))
      expect(yield* cache.stats).toMatchObject({ refreshes: 1 })
      yield* TestClock.adjust("1 second")
      expect(yield* cache.getOption("k")).toEqual(Option.some(2))
    })
  )
})

describe("jitter", () => {
  it.scoped("takes a part off the max lifetime, by chance, and never adds to it", () =>
    Effect.gen(function* () {
      const { cache } = yield* open<number, number, never>({
        span: { idle: Number.POSITIVE_INFINITY, max: 10_000 },
        policy: undefined,
        lookup: undefined,
        jitter: 0.5,
        random: () => 0.5
      })
      yield* cache.put(1, 1)
      yield* TestClock.adjust("7499 millis")
      expect(yield* cache.has(1)).toBe(true)
      yield* TestClock.adjust("1 millis")
      expect(yield* cache.has(1)).toBe(false)
    })
  )

  it.scoped("spreads what was written together", () =>
    Effect.gen(function* () {
      const cache = yield* Cache.make<number, number>({ name: "numbers", max: "10 seconds", jitter: 0.5 })
      for (let key = 0; key < 100; key += 1) yield* cache.put(key, key)
      yield* TestClock.adjust("7500 millis")
      const left = yield* cache.size
      expect(left > 10 && left < 90).toBe(true)
      yield* TestClock.adjust("2500 millis")
      expect(yield* cache.size).toBe(0)
    })
  )
})
