/** What becomes of the content at the beginning and the end of an instance. */
import { describe, expect, it } from "@effect/vitest"
import { Cache } from "@effecto/cache"
import { Effect, Either, Exit, Option, TestClock } from "effect"

describe("warm", () => {
  it.scoped("fills the cache before it is ready", () =>
    Effect.gen(function* () {
      const cache = yield* Cache.make({
        name: "squares",
        lookupAll: (keys: ReadonlyArray<number>) => Effect.succeed(keys.map((n) => [n, Either.right(n * n)] as const)),
        warm: (cache) => cache.getAll([1, 2, 3])
      })
      expect(yield* cache.entries).toEqual([
        [1, 1],
        [2, 4],
        [3, 9]
      ])
    })
  )

  it.scoped("that fails leaves no cache, and its failure is the one of make", () =>
    Effect.gen(function* () {
      const exit = yield* Effect.exit(
        Effect.scoped(
          Cache.make<string, number, never, never, "no database">({
            name: "rows",
            warm: () => Effect.fail("no database")
          })
        )
      )
      expect(exit).toEqual(Exit.fail("no database"))
    })
  )
})

describe("onRestart", () => {
  const life = <K, V, A>(
    make: ReturnType<typeof Cache.make<K, V>>,
    use: (cache: Cache.Cache<K, V>) => Effect.Effect<A>
  ) => Effect.scoped(Effect.flatMap(make, use))

  it.effect("empty: the next instance begins with nothing", () =>
    Effect.gen(function* () {
      const make = Cache.make<string, number>({ name: "numbers" })
      yield* life(make, (cache) => cache.put("a", 1))
      expect(yield* life(make, (cache) => cache.entries)).toEqual([])
    })
  )

  it.effect("keep: the next instance has the content, with the lifetimes it has left", () =>
    Effect.gen(function* () {
      const make = Cache.make<string, number>({ name: "numbers", onRestart: "keep", max: "10 seconds" })
      yield* life(make, (cache) => cache.put("a", 1))
      yield* TestClock.adjust("6 seconds")
      yield* life(make, (cache) =>
        Effect.gen(function* () {
          expect(yield* cache.get("a")).toEqual(Option.some(1))
          yield* TestClock.adjust("4 seconds")
          expect(yield* cache.get("a")).toEqual(Option.none())
          expect(yield* cache.size).toBe(0)
        })
      )
    })
  )

  it.effect("keep: what was evicted in between is gone, by key, by tag and as a whole", () =>
    Effect.gen(function* () {
      const make = Cache.make<string, number>({ name: "numbers", onRestart: "keep", tags: (value) => [`${value}`] })
      const held: Array<Cache.Cache<string, number>> = []
      yield* life(make, (cache) => {
        held.push(cache)
        return Effect.all([cache.put("a", 1), cache.put("b", 2)])
      })
      const [dead] = held
      yield* Effect.void.pipe(dead?.evicting("a") ?? ((self) => self))
      expect(yield* life(make, (cache) => cache.keys)).toEqual(["b"])
    })
  )

  it.effect("keep: a bound still holds, and nothing is told to have been removed", () =>
    Effect.gen(function* () {
      const told: Array<string> = []
      const make = Cache.make<string, number>({
        name: "numbers",
        onRestart: "keep",
        capacity: 2,
        policy: "lru",
        onRemoval: ({ cause, key }) => Effect.sync(() => told.push(`${key} ${cause}`))
      })
      yield* life(make, (cache) => Effect.all([cache.put("a", 1), cache.put("b", 2)]))
      expect(told).toEqual([])
      yield* life(make, (cache) =>
        Effect.gen(function* () {
          yield* cache.put("c", 3)
          expect(yield* cache.keys).toEqual(["b", "c"])
        })
      )
      expect(told).toEqual(["a evicted"])
    })
  )
})
