/** Invalidation by tag: what carries it goes, and no load that began before brings it back. */
import { describe, expect, it } from "@effect/vitest"
import { Cache } from "@effecto/cache"
import { Deferred, Effect, Exit, Fiber, Option, TestClock } from "effect"
import { Recency } from "../src/eviction.js"
import { open, structure } from "./structure.js"

interface Row {
  readonly id: number
  readonly team: string
}

const FOREVER = { idle: Number.POSITIVE_INFINITY, max: Number.POSITIVE_INFINITY }
const turns = Effect.repeatN(Effect.yieldNow(), 20)

describe("invalidateTag", () => {
  it.scoped("removes what carries the tag and nothing else, and says how much there was", () =>
    Effect.gen(function* () {
      const cache = yield* Cache.make<number, Row>({ name: "rows", tags: (row) => [`team:${row.team}`, "row"] })
      for (const [id, team] of [
        [1, "red"],
        [2, "blue"],
        [3, "red"]
      ] as const)
        yield* cache.put(id, { id, team })
      expect(yield* cache.invalidateTag("team:red")).toBe(2)
      expect(yield* cache.keys).toEqual([2])
      expect(yield* cache.invalidateTag("team:red")).toBe(0)
      expect(yield* cache.invalidateTag("row")).toBe(1)
      expect(yield* cache.size).toBe(0)
    })
  )

  it.scoped("knows the tags of what is there now, not of what was there before", () =>
    Effect.gen(function* () {
      const cache = yield* Cache.make<number, Row>({ name: "rows", tags: (row) => [row.team] })
      yield* cache.put(1, { id: 1, team: "red" })
      yield* cache.update(
        1,
        Option.map((row) => ({ ...row, team: "blue" }))
      )
      expect(yield* cache.invalidateTag("red")).toBe(0)
      expect(yield* cache.invalidateTag("blue")).toBe(1)
    })
  )

  it.scoped("leaves nothing of a tag behind, however its entries went", () =>
    Effect.gen(function* () {
      const { cache, service } = yield* open<number, Row, never>({
        span: { idle: 1_000, max: Number.POSITIVE_INFINITY },
        policy: new Recency(3),
        lookup: undefined,
        tags: (row) => [row.team, "row"]
      })
      const put = (id: number) => cache.put(id, { id, team: `team ${id}` })
      for (let id = 0; id < 10; id += 1) yield* put(id) // evicts
      expect(structure(service)).toMatchObject({ entries: 3, tagged: 3, tags: 4 })
      yield* put(9) // replaces
      yield* cache.delete(9)
      expect(structure(service)).toMatchObject({ entries: 2, tagged: 2, tags: 3 })
      yield* TestClock.adjust("2 seconds") // expires
      expect(structure(service)).toMatchObject({ entries: 0, tagged: 0, tags: 0 })
      yield* put(1)
      yield* cache.clear
      expect(structure(service)).toMatchObject({ entries: 0, tagged: 0, tags: 0 })
      yield* put(1)
      yield* cache.invalidateTag("row")
      expect(structure(service)).toMatchObject({ entries: 0, tagged: 0, tags: 0, filed: 0, ordered: 0 })
    })
  )

  it.scoped("takes along what is only held for grace, and what is known to be absent or failed", () =>
    Effect.gen(function* () {
      const { cache, service } = yield* open<number, Row, string>({
        span: { idle: 1_000, max: Number.POSITIVE_INFINITY },
        policy: undefined,
        grace: 60_000,
        failed: () => 60_000,
        lookup: undefined
      })
      yield* cache.getOrLoad(1, Effect.succeed({ id: 1, team: "red" }), undefined, { tags: ["red"] })
      yield* Effect.ignore(cache.getOrLoad(2, Effect.fail("down"), undefined, { tags: ["red"] }))
      yield* TestClock.adjust("1 second")
      expect(structure(service)).toMatchObject({ entries: 1, absences: 1, tagged: 2 })
      expect(yield* cache.invalidateTag("red")).toBe(0)
      expect(structure(service)).toMatchObject({ entries: 0, absences: 0, tagged: 0, tags: 0, filed: 0 })
    })
  )
})

describe("a load that a tag overtook", () => {
  const make = Effect.gen(function* () {
    const gates: Array<Deferred.Deferred<void>> = []
    const rows = { team: "red" }
    const opened = yield* open<number, Row, never>({
      span: FOREVER,
      policy: undefined,
      tags: (row) => [row.team],
      lookup: (id) =>
        Effect.gen(function* () {
          const row = { id, team: rows.team }
          const gate = yield* Deferred.make<void>()
          gates.push(gate)
          yield* Deferred.await(gate)
          return Option.some(row)
        })
    })
    const end = (load: number) =>
      Effect.flatMap(Effect.fromNullable(gates[load]), (gate) => Deferred.succeed(gate, undefined))
    return { ...opened, rows, gates, end }
  })

  it.scoped("is not kept, though its tags were only known from its value; who waited before gets it", () =>
    Effect.gen(function* () {
      const { cache, end, service } = yield* make
      const early = yield* Effect.fork(cache.get(1))
      yield* turns
      yield* cache.invalidateTag("red")
      yield* end(0)
      expect(yield* Fiber.join(early)).toEqual(Option.some({ id: 1, team: "red" }))
      expect(yield* cache.has(1)).toBe(false)
      expect(yield* cache.stats).toMatchObject({ revokedLoads: 1 })
      expect(structure(service)).toMatchObject({ loads: 0, inFlight: 0, tagged: 0 })
    })
  )

  it.scoped("does not serve who came after: that one gets what a load of its own brings", () =>
    Effect.gen(function* () {
      const { cache, end, gates, rows } = yield* make
      const early = yield* Effect.fork(cache.get(1))
      yield* turns
      yield* cache.invalidateTag("red")
      rows.team = "blue"
      const late = yield* Effect.fork(cache.get(1))
      yield* turns
      yield* end(0)
      yield* turns
      expect(gates).toHaveLength(2)
      yield* end(1)
      expect(yield* Fiber.join(early)).toEqual(Option.some({ id: 1, team: "red" }))
      expect(yield* Fiber.join(late)).toEqual(Option.some({ id: 1, team: "blue" }))
      expect(yield* cache.getOption(1)).toEqual(Option.some({ id: 1, team: "blue" }))
    })
  )

  it.scoped("does not serve who came between two invalidations, either", () =>
    Effect.gen(function* () {
      const { cache, end, rows } = yield* make
      yield* Effect.fork(cache.get(1))
      yield* turns
      yield* cache.invalidateTag("red")
      rows.team = "blue"
      const between = yield* Effect.fork(cache.get(1))
      yield* turns
      yield* cache.invalidateTag("red")
      yield* end(0)
      yield* turns
      yield* end(1)
      expect(yield* Fiber.join(between)).toEqual(Option.some({ id: 1, team: "blue" }))
    })
  )

  for (const call of ["getAll", "getEach"] as const) {
    it.scoped(`does not serve a ${call} that came after, though another of its keys takes longer`, () =>
      Effect.gen(function* () {
        const { cache, end, rows } = yield* make
        const early = yield* Effect.fork(cache.get(2))
        yield* turns
        yield* cache.invalidateTag("red")
        rows.team = "blue"
        const late = yield* Effect.fork<ReadonlyArray<unknown>, never, never>(cache[call]([1, 2]))
        yield* turns
        yield* end(0) // the overtaken one, while 1 is still being waited for
        expect(yield* Fiber.join(early)).toEqual(Option.some({ id: 2, team: "red" }))
        yield* turns
        yield* end(1)
        yield* turns
        yield* end(2)
        const blue = [1, 2].map((id) => Option.some({ id, team: "blue" }))
        expect(yield* Fiber.join(late)).toEqual(call === "getAll" ? blue : blue.map((row) => Exit.succeed(row)))
        expect(yield* cache.getOption(2)).toEqual(Option.some({ id: 2, team: "blue" }))
      })
    )
  }

  it.scoped("serves who began it, though the load itself invalidated its tag", () =>
    Effect.gen(function* () {
      const loads: Array<number> = []
      const invalidate: { red: Effect.Effect<unknown> } = { red: Effect.void }
      const { cache } = yield* open<number, Row, never>({
        span: FOREVER,
        policy: undefined,
        tags: (row) => [row.team],
        lookup: (id) =>
          Effect.gen(function* () {
            if (loads.push(id) > 3) return Option.none()
            yield* invalidate.red // within its very first steps
            yield* Effect.yieldNow()
            return Option.some({ id, team: "red" })
          })
      })
      invalidate.red = cache.invalidateTag("red")
      expect(yield* cache.get(1)).toEqual(Option.some({ id: 1, team: "red" }))
      expect(loads).toEqual([1])
      expect(yield* cache.refresh(1)).toEqual(Option.some({ id: 1, team: "red" }))
      expect(loads).toEqual([1, 1])
    })
  )

  it.scoped("is kept if the tag is none of its value's", () =>
    Effect.gen(function* () {
      const { cache, end } = yield* make
      const reader = yield* Effect.fork(cache.get(1))
      yield* turns
      yield* cache.invalidateTag("blue")
      const late = yield* Effect.fork(cache.get(1))
      yield* end(0)
      yield* Fiber.join(reader)
      expect(yield* Fiber.join(late)).toEqual(Option.some({ id: 1, team: "red" }))
      expect(yield* cache.has(1)).toBe(true)
    })
  )

  it.scoped("is not even joined if it named its tags beforehand", () =>
    Effect.gen(function* () {
      const gate = yield* Deferred.make<void>()
      const cache = yield* Cache.make<string, number>({ name: "lists" })
      const first = yield* Effect.fork(
        cache.getOrLoad("all", Effect.as(Deferred.await(gate), 1), undefined, { tags: ["people"] })
      )
      yield* turns
      yield* cache.invalidateTag("people")
      expect(yield* cache.getOrLoad("all", Effect.succeed(2), undefined, { tags: ["people"] })).toBe(2)
      yield* Deferred.succeed(gate, undefined)
      expect(yield* Fiber.join(first)).toBe(1)
      expect(yield* cache.getOption("all")).toEqual(Option.some(2))
      yield* cache.invalidateTag("people")
      expect(yield* cache.has("all")).toBe(false)
    })
  )
})
