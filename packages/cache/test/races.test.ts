/** What can overtake a load, a removal or another caller, and what must come of it. */
import { describe, expect, it } from "@effect/vitest"
import { Cache } from "@effecto/cache"
import { Deferred, Effect, Exit, Fiber, FiberRef, Option } from "effect"

/** A row that loads read at once, and hand over when the test opens their gate. */
const makeSlowTable = () => {
  const gates: Array<Deferred.Deferred<void>> = []
  const table = {
    row: 1,
    gates,
    find: (_: string): Effect.Effect<Option.Option<number>> =>
      Effect.gen(function* () {
        const read = table.row
        const gate = yield* Deferred.make<void>()
        gates.push(gate)
        yield* Deferred.await(gate)
        return Option.some(read)
      }),
    open: (load: number) => {
      const gate = gates[load]
      return gate === undefined ? Effect.die(`load ${load} has not begun`) : Deferred.succeed(gate, undefined)
    }
  }
  return table
}

const settle = Effect.repeatN(Effect.yieldNow(), 20)

const scenario = Effect.gen(function* () {
  const table = makeSlowTable()
  const cache = yield* Cache.make({ name: "rows", lookup: table.find })
  const first = yield* Effect.fork(cache.get("k"))
  yield* settle
  table.row = 2
  return { table, cache, first }
})

describe("a load that is overtaken", () => {
  for (const [what, overtake] of [
    ["delete", (cache: Cache.Cache<string, number>) => Effect.asVoid(cache.delete("k"))],
    ["clear", (cache: Cache.Cache<string, number>) => cache.clear],
    ["evicting", (cache: Cache.Cache<string, number>) => Effect.void.pipe(cache.evicting("k"))]
  ] as const) {
    it.scoped(`by ${what} does not bring the old value back`, () =>
      Effect.gen(function* () {
        const { table, cache, first } = yield* scenario
        yield* overtake(cache)
        yield* table.open(0)
        expect(yield* Fiber.join(first)).toEqual(Option.some(1))
        expect(yield* cache.has("k")).toBe(false)
        const next = yield* Effect.fork(cache.get("k"))
        yield* settle
        yield* table.open(1)
        expect(yield* Fiber.join(next)).toEqual(Option.some(2))
      })
    )

    it.scoped(
      `by ${what} is not joined by who asks afterwards, and the new load's value stays whichever ends last`,
      () =>
        Effect.gen(function* () {
          for (const order of [
            [0, 1],
            [1, 0]
          ]) {
            const { table, cache, first } = yield* scenario
            yield* overtake(cache)
            const late = yield* Effect.fork(cache.get("k"))
            yield* settle
            for (const load of order) {
              yield* table.open(load)
              yield* settle
            }
            expect([yield* Fiber.join(first), yield* Fiber.join(late)]).toEqual([Option.some(1), Option.some(2)])
            expect(yield* cache.getOption("k")).toEqual(Option.some(2))
          }
        })
    )
  }

  it.scoped("by put does not replace what was put", () =>
    Effect.gen(function* () {
      const { table, cache, first } = yield* scenario
      yield* cache.put("k", 99)
      expect(yield* cache.get("k")).toEqual(Option.some(99))
      yield* table.open(0)
      expect(yield* Fiber.join(first)).toEqual(Option.some(1))
      expect(yield* cache.get("k")).toEqual(Option.some(99))
    })
  )

  it.scoped("by put and delete leaves nothing behind", () =>
    Effect.gen(function* () {
      const { table, cache, first } = yield* scenario
      yield* cache.put("k", 99)
      yield* cache.delete("k")
      yield* table.open(0)
      yield* Fiber.join(first)
      expect(yield* cache.has("k")).toBe(false)
    })
  )
})

describe("a caller that is interrupted", () => {
  it.scoped("takes neither the load nor the others with it, be it the first or the last of them", () =>
    Effect.gen(function* () {
      const { table, cache, first } = yield* scenario
      const second = yield* Effect.fork(cache.get("k"))
      yield* settle
      yield* Fiber.interrupt(first)
      yield* table.open(0)
      expect(yield* Fiber.join(second)).toEqual(Option.some(1))
      expect(yield* cache.getOption("k")).toEqual(Option.some(1))
      expect(table.gates.length).toBe(1)
    })
  )

  it.scoped("leaves a load that is still kept when nobody waits any more", () =>
    Effect.gen(function* () {
      const { table, cache, first } = yield* scenario
      yield* Fiber.interrupt(first)
      yield* table.open(0)
      yield* settle
      expect(yield* cache.getOption("k")).toEqual(Option.some(1))
    })
  )
})

describe("a load that interrupts or kills itself", () => {
  for (const [how, end] of [
    ["interrupts itself", Effect.interrupt],
    ["dies", Effect.die("bug")]
  ] as const) {
    it.scoped(`and ${how} ends its callers' waiting, and the key can be loaded again`, () =>
      Effect.gen(function* () {
        let broken = true
        const cache = yield* Cache.make({
          name: "rows",
          lookup: (_: string) => Effect.suspend(() => (broken ? end : Effect.succeedSome(1)))
        })
        expect(Exit.isFailure(yield* Effect.exit(cache.get("k")))).toBe(true)
        broken = false
        expect(yield* cache.get("k")).toEqual(Option.some(1))
      })
    )
  }
})

/**
 * The yield sweep: three readers (one of them interrupted), a writer and a remover, with every operation budget between two yields from 10 to 128, so that each
 * point at which a fiber can yield is met. Whatever the order, what is served at the end is what the row was after the last write, or nothing.
 */
describe("at every yield point", () => {
  const sweep = (operations: number) =>
    Effect.scoped(
      Effect.gen(function* () {
        const source = { row: 0 }
        const cache = yield* Cache.make({
          name: "rows",
          lookup: (_: string) =>
            Effect.gen(function* () {
              yield* Effect.yieldNow()
              const read = source.row
              yield* Effect.yieldNow()
              return Option.some(read)
            })
        })
        const write = Effect.gen(function* () {
          for (let version = 1; version <= 5; version += 1) {
            yield* Effect.sync(() => {
              source.row = version
            }).pipe(version % 2 === 0 ? cache.evicting("k") : Effect.tap(() => cache.put("k", version)))
            yield* Effect.yieldNow()
          }
        })
        const seen: Array<number> = []
        const read = Effect.gen(function* () {
          for (let turn = 0; turn < 6; turn += 1) {
            const before = source.row
            const value = Option.getOrThrow(yield* cache.get("k"))
            // A value is never older than the last write whose eviction was over when the read began.
            seen.push(value - (before - 1))
            yield* Effect.yieldNow()
          }
        })
        const victim = yield* Effect.fork(read)
        const fibers = yield* Effect.forEach([write, read, read], Effect.fork)
        yield* Effect.yieldNow()
        yield* Fiber.interrupt(victim)
        yield* Fiber.joinAll(fibers)
        expect(Math.min(...seen)).toBeGreaterThanOrEqual(0)
        expect(Option.getOrElse(yield* cache.getOption("k"), () => 5)).toBe(5)
        expect(yield* cache.get("k")).toEqual(Option.some(5))
        const stats = yield* cache.stats
        expect(stats.hits + stats.misses).toBeGreaterThanOrEqual(seen.length)
      })
    ).pipe(Effect.locally(FiberRef.currentMaxOpsBeforeYield, operations))

  it.effect("nothing old is served and nobody hangs", () =>
    Effect.forEach(
      Array.from({ length: 119 }, (_, index) => index + 10),
      sweep,
      { discard: true }
    )
  )

  it.effect("a loop of nothing but hits lets others run", () =>
    Effect.scoped(
      Effect.gen(function* () {
        const cache = yield* Cache.make<string, number>({ name: "rows" })
        yield* cache.put("k", 1)
        const events: Array<string> = []
        const reader = yield* Effect.fork(
          Effect.gen(function* () {
            for (let turn = 0; turn < 3_000; turn += 1) yield* cache.get("k")
            events.push("the reader is done")
          })
        )
        yield* Effect.fork(Effect.sync(() => events.push("another fiber ran")))
        yield* Fiber.join(reader)
        expect(events).toEqual(["another fiber ran", "the reader is done"])
      })
    )
  )
})
