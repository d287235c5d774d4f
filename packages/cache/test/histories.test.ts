/** Histories of several fibers on one cache, recorded and checked: with every operation budget between two yields, and by chance. */
import { describe, expect, it } from "@effect/vitest"
import { Cache } from "@effecto/cache"
import { Effect, Fiber, FiberRef, Option, type Scope } from "effect"
import { Succession } from "../src/succession.js"
import { chance, isLinearizable, type Operation, Recorder, tooOld } from "./histories.js"
import { open } from "./structure.js"

const read = (value: number, begin: number, end: number): Operation => ({ kind: "read", value, begin, end })
const write = (value: number, begin: number, end: number): Operation => ({ kind: "write", value, begin, end })

describe("isLinearizable", () => {
  it("takes what one after the other would have done", () => {
    expect(isLinearizable([read(0, 1, 2), write(1, 3, 4), read(1, 5, 6)], 0)).toBe(true)
    expect(isLinearizable([], 0)).toBe(true)
  })

  it("takes either value while a write is under way", () => {
    expect(isLinearizable([write(1, 1, 6), read(0, 2, 3), read(1, 4, 5)], 0)).toBe(true)
  })

  it("refuses an old value after the write was acknowledged", () => {
    expect(isLinearizable([write(1, 1, 2), read(0, 3, 4)], 0)).toBe(false)
  })

  it("refuses the new value and then the old one, though the write is still under way", () => {
    expect(isLinearizable([write(1, 1, 6), read(1, 2, 3), read(0, 4, 5)], 0)).toBe(false)
  })

  it("refuses what nobody wrote, and a value that comes back", () => {
    expect(isLinearizable([read(7, 1, 2)], 0)).toBe(false)
    expect(isLinearizable([write(1, 1, 2), write(2, 3, 4), read(1, 5, 6)], 0)).toBe(false)
  })

  it("finds the one order of writes at the same time that explains the reads", () => {
    const writes = [write(1, 1, 10), write(2, 1, 10), write(3, 1, 10)]
    expect(isLinearizable([...writes, read(3, 11, 12)], 0)).toBe(true)
    expect(isLinearizable([...writes, read(3, 2, 3), read(1, 4, 5), read(2, 11, 12)], 0)).toBe(true)
    expect(isLinearizable([...writes, read(3, 2, 3), read(1, 4, 5), read(3, 11, 12)], 0)).toBe(false)
  })

  it("lets a write of unknown outcome happen late, or never", () => {
    const unknown = write(1, 1, Number.POSITIVE_INFINITY)
    expect(isLinearizable([unknown, read(0, 2, 3), read(0, 4, 5)], 0)).toBe(true)
    expect(isLinearizable([unknown, read(0, 2, 3), read(1, 4, 5)], 0)).toBe(true)
    expect(isLinearizable([unknown, read(1, 2, 3), read(0, 4, 5)], 0)).toBe(false)
  })
})

describe("tooOld", () => {
  it("finds reads that are older than what was acknowledged before they began, and of what was never written", () => {
    expect(tooOld([write(1, 1, 2), read(0, 3, 4)], 0)).toEqual([read(0, 3, 4)])
    expect(tooOld([read(7, 1, 2)], 0)).toEqual([read(7, 1, 2)])
    expect(tooOld([write(1, 3, 4), read(1, 1, 2)], 0)).toEqual([read(1, 1, 2)])
  })

  it("lets a read be old for as long as the write is not acknowledged", () => {
    expect(tooOld([write(1, 1, 6), read(1, 2, 3), read(0, 4, 5), read(0, 5, 7)], 0)).toEqual([])
  })
})

const KEYS = ["a", "b"] as const
type Key = (typeof KEYS)[number]

/** How a cache is told what was written. */
interface Told {
  readonly get: (key: Key) => Effect.Effect<Option.Option<number>>
  readonly disturb: (key: Key, which: number) => Effect.Effect<unknown>
  /** Around a write. */
  readonly writing: (key: Key) => (write: Effect.Effect<void>) => Effect.Effect<void>
}

const BUDGETS = Array.from({ length: 119 }, (_, index) => index + 10)

/** Readers, writers, one who is interrupted, and one who removes, on a database whose answers take their time. */
const record = (
  budget: number,
  seed: number,
  make: (lookup: (key: Key) => Effect.Effect<Option.Option<number>>) => Effect.Effect<Told, never, Scope.Scope>
) => {
  const below = chance(seed * 1_000 + budget)
  const pause = Effect.suspend(() => Effect.repeatN(Effect.yieldNow(), below(4)))
  const key = () => KEYS[below(2)] ?? "a"
  const recorder = new Recorder<Key>()
  const rows = new Map<Key, number>()
  const row = (key: Key) => rows.get(key) ?? 0
  return Effect.scoped(
    Effect.gen(function* () {
      const cache = yield* make((key) =>
        Effect.gen(function* () {
          yield* pause
          const value = row(key)
          yield* pause
          return Option.some(value)
        })
      )
      const reads = Effect.repeatN(
        Effect.gen(function* () {
          const which = key()
          const begin = recorder.tick()
          // One in four asks the database itself, as another process does.
          const value = below(4) === 0 ? row(which) : Option.getOrThrow(yield* cache.get(which))
          recorder.add(which, "read", value, begin)
          yield* pause
        }),
        9
      )
      const writes = Effect.repeatN(
        Effect.gen(function* () {
          const which = key()
          const begin = recorder.tick()
          let written = 0
          yield* Effect.gen(function* () {
            yield* pause
            written = row(which) + 1
            rows.set(which, written) // from here on it is committed
            yield* pause
          }).pipe(cache.writing(which))
          recorder.add(which, "write", written, begin)
          yield* pause
        }),
        4
      )
      const removals = Effect.repeatN(
        Effect.zipRight(
          pause,
          Effect.suspend(() => cache.disturb(key(), below(4)))
        ),
        5
      )
      const victim = yield* Effect.fork(reads)
      const fibers = yield* Effect.forEach([reads, reads, reads, writes, writes, removals], Effect.fork)
      yield* pause
      yield* Fiber.interrupt(victim)
      yield* Fiber.joinAll(fibers)
      for (const which of KEYS) {
        const begin = recorder.tick()
        recorder.add(which, "read", Option.getOrThrow(yield* cache.get(which)), begin)
      }
      return [...recorder.byKey.values()]
    })
  ).pipe(Effect.locally(FiberRef.currentMaxOpsBeforeYield, budget))
}

const disturbing =
  (cache: Cache.Cache<Key, number>, clear: Effect.Effect<unknown> = cache.clear): Told["disturb"] =>
  (key, which) =>
    which === 0
      ? cache.delete(key)
      : which === 1
        ? clear
        : which === 2
          ? Effect.asVoid(cache.refresh(key))
          : cache.expire(key, { max: 0 })

const evicting =
  (capacity?: number) =>
  (lookup: (key: Key) => Effect.Effect<Option.Option<number>>): Effect.Effect<Told, never, Scope.Scope> =>
    Effect.map(Cache.make<Key, number>({ name: "rows", capacity, lookup }), (cache) => ({
      get: cache.get,
      disturb: disturbing(cache),
      writing: (key) => cache.evicting(key)
    }))

/** What `strict` does around a transaction: nobody is served the key from before the write until it has been forgotten after the commit. */
const locking = (
  lookup: (key: Key) => Effect.Effect<Option.Option<number>>
): Effect.Effect<Told, never, Scope.Scope> => {
  const succession = new Succession<Key>()
  const span = { idle: Number.POSITIVE_INFINITY, max: Number.POSITIVE_INFINITY }
  return Effect.map(open<Key, number, never>({ span, policy: undefined, lookup }, succession), ({ cache }) => ({
    get: cache.get,
    disturb: disturbing(cache),
    writing: (key) => (write) =>
      Effect.suspend(() => {
        const end = succession.locks.one(key)
        return Effect.zipRight(
          write,
          Effect.sync(() => {
            succession.evict(key)
            end()
          })
        )
      })
  }))
}

const careless = (lookup: (key: Key) => Effect.Effect<Option.Option<number>>) =>
  Effect.map(evicting()(lookup), (told) => ({
    ...told,
    disturb: () => Effect.void,
    writing: () => (write: Effect.Effect<void>) => write
  }))

const recorded = (make: Parameters<typeof record>[2]) =>
  Effect.map(
    Effect.forEach(BUDGETS, (budget) => Effect.forEach([1, 2, 3], (seed) => record(budget, seed, make))),
    (all) => all.flat(2)
  )

describe("recorded histories at every yield point", () => {
  it.effect("are never older than the last write acknowledged before the read began", () =>
    Effect.gen(function* () {
      const histories = yield* recorded(evicting())
      expect(histories.flatMap((history) => tooOld(history, 0))).toEqual([])
      expect(histories.length).toBe(BUDGETS.length * 3 * KEYS.length)
    })
  )

  it.effect("are never older with room for one entry, either", () =>
    Effect.map(recorded(evicting(1)), (histories) =>
      expect(histories.flatMap((history) => tooOld(history, 0))).toEqual([])
    )
  )

  it.effect("are linearizable by key with strict's locks", () =>
    Effect.map(recorded(locking), (histories) =>
      expect(histories.filter((history) => !isLinearizable(history, 0))).toEqual([])
    )
  )

  it.effect("are not all linearizable without them: the database shows a commit before the cache was told of it", () =>
    Effect.map(recorded(evicting()), (histories) =>
      expect(histories.some((history) => !isLinearizable(history, 0))).toBe(true)
    )
  )

  it.effect("are found to be too old when writes tell the cache nothing", () =>
    Effect.map(recorded(careless), (histories) =>
      expect(histories.some((history) => tooOld(history, 0).length > 0)).toBe(true)
    )
  )
})
