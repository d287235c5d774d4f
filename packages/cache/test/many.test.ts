/** Many keys at once, and loads that go together. */
import { describe, expect, it } from "@effect/vitest"
import { Cache } from "@effecto/cache"
import { Data, Deferred, Effect, Either, Exit, Fiber, Option } from "effect"
import { Succession } from "../src/succession.js"
import { open, structure } from "./structure.js"

class Refused extends Data.TaggedError("Refused")<{ readonly key: string }> {}

/** A table that is asked for many keys at once: -1 refuses its key, and a missing one is left out. */
const makeTable = (rows: Record<string, number>) => {
  const asked: Array<ReadonlyArray<string>> = []
  return {
    rows,
    asked,
    findAll: (
      keys: ReadonlyArray<string>
    ): Effect.Effect<ReadonlyArray<[string, Either.Either<number, Refused>]>, Refused> =>
      Effect.sync(() => {
        asked.push(keys)
        return keys.flatMap((key) => {
          const row = rows[key]
          if (row === undefined) return []
          return [[key, row === -1 ? Either.left(new Refused({ key })) : Either.right(row)]]
        })
      })
  }
}

const turns = Effect.repeatN(Effect.yieldNow(), 20)

describe("getAll", () => {
  it.scoped("loads what is missing in one go, and answers in the order of the keys", () =>
    Effect.gen(function* () {
      const table = makeTable({ a: 1, b: 2, c: 3 })
      const cache = yield* Cache.make({ name: "numbers", lookupAll: table.findAll })
      yield* cache.put("b", 20)
      expect(yield* cache.getAll(["c", "b", "x", "a"])).toEqual([
        Option.some(3),
        Option.some(20),
        Option.none(),
        Option.some(1)
      ])
      expect(table.asked).toEqual([["c", "x", "a"]])
      expect(yield* cache.getAll(["a", "c"])).toEqual([Option.some(1), Option.some(3)])
      expect(table.asked).toHaveLength(1)
      expect(yield* cache.stats).toMatchObject({ hits: 3, misses: 3, loads: 3 })
    })
  )

  it.scoped("asks once for a key that is named twice", () =>
    Effect.gen(function* () {
      const table = makeTable({ a: 1 })
      const cache = yield* Cache.make({ name: "numbers", lookupAll: table.findAll })
      expect(yield* cache.getAll(["a", "a"])).toEqual([Option.some(1), Option.some(1)])
      expect(table.asked).toEqual([["a"]])
    })
  )

  it.scoped("takes equal keys for one key", () =>
    Effect.gen(function* () {
      const asked: Array<number> = []
      const cache = yield* Cache.make({
        name: "rows",
        lookupAll: (keys: ReadonlyArray<readonly [table: string, id: number]>) =>
          Effect.sync(() => {
            asked.push(keys.length)
            return keys.map(([table, id]) => [Data.tuple(table, id), Either.right(id)] as const)
          })
      })
      const key = () => Data.tuple("people", 1)
      expect(yield* cache.getAll([key(), key()])).toEqual([Option.some(1), Option.some(1)])
      expect(asked).toEqual([1])
    })
  )

  it.scoped("fails as the first key in the order does, and keeps what came for the others", () =>
    Effect.gen(function* () {
      const table = makeTable({ a: 1, b: -1, c: -1 })
      const cache = yield* Cache.make({ name: "numbers", lookupAll: table.findAll })
      expect(yield* Effect.flip(cache.getAll(["a", "c", "b"]))).toEqual(new Refused({ key: "c" }))
      expect(yield* cache.getOption("a")).toEqual(Option.some(1))
      expect(yield* cache.has("b")).toBe(false)
    })
  )

  it.scoped("looks each key up where there is only a lookup", () =>
    Effect.gen(function* () {
      const asked: Array<string> = []
      const cache = yield* Cache.make({
        name: "numbers",
        lookup: (key: string) => Effect.sync(() => Option.some(asked.push(key)))
      })
      expect(yield* cache.getAll(["a", "b", "a"])).toEqual([Option.some(1), Option.some(2), Option.some(1)])
      expect(asked).toEqual(["a", "b"])
    })
  )

  it.scoped("answers what is held and nothing else where nothing can be looked up", () =>
    Effect.gen(function* () {
      const cache = yield* Cache.make<string, number>({ name: "numbers" })
      yield* cache.put("a", 1)
      expect(yield* cache.getAll(["a", "b"])).toEqual([Option.some(1), Option.none()])
    })
  )

  it.scoped("joins loads in flight, and is joined by others", () =>
    Effect.gen(function* () {
      const gate = yield* Deferred.make<void>()
      const asked: Array<ReadonlyArray<string>> = []
      const { cache, service } = yield* open<string, string, never>({
        span: { idle: Number.POSITIVE_INFINITY, max: Number.POSITIVE_INFINITY },
        policy: undefined,
        lookup: undefined,
        lookupAll: (keys) => {
          asked.push(keys)
          return Effect.as(
            Deferred.await(gate),
            keys.map((key) => [key, Either.right(key.toUpperCase())] as const)
          )
        }
      })
      const first = yield* Effect.fork(cache.getAll(["a", "b"]))
      yield* turns
      const second = yield* Effect.fork(cache.getAll(["b", "c"]))
      const single = yield* Effect.fork(cache.get("c"))
      yield* turns
      expect(asked).toEqual([["a", "b"], ["c"]])
      yield* Deferred.succeed(gate, undefined)
      expect(yield* Fiber.join(first)).toEqual([Option.some("A"), Option.some("B")])
      expect(yield* Fiber.join(second)).toEqual([Option.some("B"), Option.some("C")])
      expect(yield* Fiber.join(single)).toEqual(Option.some("C"))
      expect(structure(service)).toMatchObject({ loads: 0, inFlight: 0, waiters: 0, edges: 0 })
    })
  )

  it.scoped("keeps nothing of a key that was deleted while its batch was on the way, and the rest of it", () =>
    Effect.gen(function* () {
      const gate = yield* Deferred.make<void>()
      const cache = yield* Cache.make({
        name: "numbers",
        lookupAll: (keys: ReadonlyArray<string>) =>
          Effect.as(
            Deferred.await(gate),
            keys.map((key) => [key, Either.right(1)] as const)
          )
      })
      const all = yield* Effect.fork(cache.getAll(["a", "b"]))
      yield* turns
      yield* cache.delete("a")
      yield* Deferred.succeed(gate, undefined)
      expect(yield* Fiber.join(all)).toEqual([Option.some(1), Option.some(1)])
      expect([yield* cache.has("a"), yield* cache.has("b")]).toEqual([false, true])
    })
  )

  it.scoped("reads around the cache in one go, too, what must not be served while it is written", () =>
    Effect.gen(function* () {
      const table = makeTable({ a: 1, b: -1, c: 3 })
      const succession = new Succession<string>()
      const { cache, service } = yield* open<string, number, Refused>(
        {
          span: { idle: 60_000, max: 60_000 },
          policy: undefined,
          lookup: undefined,
          lookupAll: (keys) => (keys.includes("d") ? new Refused({ key: "d" }) : table.findAll(keys)),
          batchSize: 2
        },
        succession
      )
      yield* cache.put("a", 10)
      const end = succession.locks.everything()
      expect(yield* cache.getEach(["c", "a", "b", "c", "x", "d"])).toEqual([
        Exit.succeed(Option.some(3)),
        Exit.succeed(Option.some(1)),
        Exit.fail(new Refused({ key: "b" })),
        Exit.succeed(Option.some(3)),
        Exit.succeed(Option.none()),
        Exit.fail(new Refused({ key: "d" }))
      ])
      expect(table.asked).toEqual([
        ["c", "a"],
        ["b", "x"]
      ])
      expect(structure(service)).toMatchObject({ entries: 1, loads: 0, inFlight: 0 })
      end()
      expect(yield* cache.getAll(["a"])).toEqual([Option.some(10)])
    })
  )

  it.scoped("goes on for others when one who waits for the batch is interrupted", () =>
    Effect.gen(function* () {
      const gate = yield* Deferred.make<void>()
      const cache = yield* Cache.make({
        name: "numbers",
        lookupAll: (keys: ReadonlyArray<string>) =>
          Effect.as(
            Deferred.await(gate),
            keys.map((key) => [key, Either.right(1)] as const)
          )
      })
      const first = yield* Effect.fork(cache.getAll(["a", "b"]))
      yield* turns
      const second = yield* Effect.fork(cache.get("b"))
      yield* turns
      yield* Fiber.interrupt(first)
      yield* Deferred.succeed(gate, undefined)
      expect(yield* Fiber.join(second)).toEqual(Option.some(1))
      expect(yield* cache.has("a")).toBe(true)
    })
  )

  it.scoped("dies with the path when the batch asks for one of its own keys", () =>
    Effect.gen(function* () {
      const caches: Array<Cache.Cache<string, number>> = []
      const cache = yield* Cache.make({
        name: "numbers",
        lookupAll: (keys: ReadonlyArray<string>): Effect.Effect<Iterable<[string, Either.Either<number>]>> =>
          Effect.as(
            caches[0]?.get("b") ?? Effect.void,
            keys.map((key) => [key, Either.right(1)])
          )
      })
      caches.push(cache)
      const exit = yield* Effect.exit(cache.getAll(["a", "b"]))
      expect(exit).toEqual(
        Exit.die(
          new Cache.CyclicLoad({
            path: [
              { cache: "numbers", key: "b" },
              { cache: "numbers", key: ["a", "b"] },
              { cache: "numbers", key: "b" }
            ]
          })
        )
      )
    })
  )
})

describe("getEach", () => {
  it.scoped("says what each key came to", () =>
    Effect.gen(function* () {
      const table = makeTable({ a: 1, b: -1 })
      const cache = yield* Cache.make({ name: "numbers", lookupAll: table.findAll })
      expect(yield* cache.getEach(["b", "x", "a"])).toEqual([
        Exit.fail(new Refused({ key: "b" })),
        Exit.succeed(Option.none()),
        Exit.succeed(Option.some(1))
      ])
    })
  )

  it.scoped("hands a failure of the whole batch to each of its keys, and to no other", () =>
    Effect.gen(function* () {
      const cache = yield* Cache.make({
        name: "numbers",
        lookupAll: (
          _: ReadonlyArray<string>
        ): Effect.Effect<Array<[string, Either.Either<number, Refused>]>, Refused> =>
          Effect.fail(new Refused({ key: "all" }))
      })
      yield* cache.put("b", 2)
      expect(yield* cache.getEach(["a", "b"])).toEqual([
        Exit.fail(new Refused({ key: "all" })),
        Exit.succeed(Option.some(2))
      ])
    })
  )
})

describe("lookupAll", () => {
  it.scoped("brings what is missed in one turn together, without a lookup", () =>
    Effect.gen(function* () {
      const table = makeTable({ a: 1, b: 2, c: 3 })
      const cache = yield* Cache.make({ name: "numbers", lookupAll: table.findAll })
      const found = yield* Effect.forEach(["a", "b", "a", "c"], cache.get, { concurrency: "unbounded" })
      expect(found).toEqual([Option.some(1), Option.some(2), Option.some(1), Option.some(3)])
      expect(table.asked).toEqual([["a", "b", "c"]])
    })
  )

  it.scoped("is asked for no more keys at a time than batchSize", () =>
    Effect.gen(function* () {
      const table = makeTable({ a: 1, b: 2, c: 3 })
      const cache = yield* Cache.make({ name: "numbers", lookupAll: table.findAll, batchSize: 2 })
      yield* cache.getAll(["a", "b", "c"])
      expect(table.asked).toEqual([["a", "b"], ["c"]])
    })
  )

  it.scoped("leaves single keys to lookup where there is one", () =>
    Effect.gen(function* () {
      const table = makeTable({ a: 1, b: 2 })
      const cache = yield* Cache.make({
        name: "numbers",
        lookup: (key: string): Effect.Effect<Option.Option<number>, Refused> => Effect.succeedSome(key.length * 100),
        lookupAll: table.findAll
      })
      expect(yield* cache.get("a")).toEqual(Option.some(100))
      expect(yield* cache.getAll(["a", "b"])).toEqual([Option.some(100), Option.some(2)])
    })
  )

  it.scoped("hands everybody a defect when it throws, and is asked again", () =>
    Effect.gen(function* () {
      let broken = true
      const cache = yield* Cache.make({
        name: "numbers",
        lookupAll: (keys: ReadonlyArray<string>) => {
          if (broken) throw new Error("boom")
          return Effect.succeed(keys.map((key) => [key, Either.right(1)] as const))
        }
      })
      expect(yield* Effect.exit(cache.getAll(["a", "b"]))).toEqual(Exit.die(new Error("boom")))
      broken = false
      expect(yield* cache.get("a")).toEqual(Option.some(1))
    })
  )

  it.scoped("settles everybody at every yield point", () =>
    Effect.gen(function* () {
      for (let budget = 10; budget < 64; budget += 1) {
        const scenario = Effect.gen(function* () {
          const { cache, service } = yield* open<string, number, never>({
            span: { idle: Number.POSITIVE_INFINITY, max: Number.POSITIVE_INFINITY },
            policy: undefined,
            lookup: undefined,
            lookupAll: (keys) =>
              Effect.as(
                Effect.yieldNow(),
                keys.map((key) => [key, Either.right(1)] as const)
              )
          })
          const readers = yield* Effect.forEach(["a", "b", "c"], (key) => Effect.fork(cache.getAll([key, "shared"])))
          yield* cache.delete("shared")
          if (readers[1] !== undefined) yield* Fiber.interrupt(readers[1])
          yield* Effect.forEach([0, 2], (place) => readers[place] ?? Effect.void)
          yield* turns
          expect(structure(service)).toMatchObject({ loads: 0, inFlight: 0, waiters: 0, edges: 0 })
        })
        yield* Effect.scoped(Effect.withMaxOpsBeforeYield(scenario, budget))
      }
    })
  )
})
