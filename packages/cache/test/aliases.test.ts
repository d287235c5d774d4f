/** Keys that are one row to the database and several to a program: what is known of one may be changed under another. */
import { describe, expect, it } from "@effect/vitest"
import { Deferred, Effect, Fiber, Option } from "effect"
import { ALIASED } from "../src/load.js"
import { open, structure } from "./structure.js"

const turns = Effect.repeatN(Effect.yieldNow(), 20)

/** A table whose keys are compared without regard to case, as citext would. */
const make = Effect.gen(function* () {
  const rows = new Map<string, { readonly id: string; readonly name: string }>()
  const gates: Array<Deferred.Deferred<void>> = []
  const opened = yield* open<string, { readonly id: string; readonly name: string }, never>({
    span: { idle: Number.POSITIVE_INFINITY, max: Number.POSITIVE_INFINITY },
    policy: undefined,
    absent: () => 60_000,
    keeps: (key, row) => row.id === key,
    aliased: (key) => key !== "1",
    lookup: (key) =>
      Effect.gen(function* () {
        const row = Option.fromNullable(rows.get(key.toLowerCase()))
        const gate = yield* Deferred.make<void>()
        gates.push(gate)
        yield* Deferred.await(gate)
        return row
      })
  })
  const end = (load: number) =>
    Effect.zipRight(
      Effect.flatMap(Effect.fromNullable(gates[load]), (gate) => Deferred.succeed(gate, undefined)),
      turns
    )
  /** What a commit does: the row is named by its own key. */
  const write = (id: string, name: string) =>
    Effect.sync(() => {
      rows.set(id, { id, name })
      opened.service.succession.evict(id)
      opened.service.succession.evictTag(ALIASED)
    })
  const ask = (key: string) => Effect.zipLeft(Effect.fork(opened.cache.get(key)), turns)
  return { ...opened, gates, end, write, ask }
})

const name = (row: Option.Option<{ readonly name: string }>) => Option.getOrUndefined(row)?.name

describe("a change under another spelling", () => {
  it.scoped("ends what is known to be absent, and not where a key has one spelling", () =>
    Effect.gen(function* () {
      const { ask, cache, end, gates, service, write } = yield* make
      const absent = [yield* ask("A"), yield* ask("b"), yield* ask("1")]
      for (let load = 0; load < 3; load += 1) yield* end(load)
      expect((yield* Effect.forEach(absent, (fiber) => Fiber.join(fiber))).map(name)).toEqual([
        undefined,
        undefined,
        undefined
      ])
      expect(structure(service)).toMatchObject({ absences: 3, tagged: 2, tags: 1 })
      yield* write("a", "new")
      expect(structure(service)).toMatchObject({ absences: 1, tagged: 0, tags: 0 })
      const found = yield* ask("A")
      yield* end(3)
      expect(name(yield* Fiber.join(found))).toBe("new")
      yield* cache.get("1")
      expect(gates).toHaveLength(4)
    })
  )

  it.scoped("keeps a load that began before from keeping that there is nothing, and from serving who came after", () =>
    Effect.gen(function* () {
      const { ask, cache, end, service, write } = yield* make
      const before = yield* ask("A")
      yield* write("a", "new")
      const after = yield* ask("A")
      yield* end(0)
      expect(name(yield* Fiber.join(before))).toBe(undefined)
      expect(structure(service)).toMatchObject({ absences: 0, loads: 1 })
      yield* end(1)
      expect(name(yield* Fiber.join(after))).toBe("new")
      expect(yield* cache.stats).toMatchObject({ loads: 2, revokedLoads: 1 })
    })
  )

  it.scoped("keeps a load of the old row from serving who came after", () =>
    Effect.gen(function* () {
      const { ask, end, write } = yield* make
      yield* write("a", "old")
      const before = yield* ask("A")
      yield* write("a", "new")
      const after = yield* ask("A")
      yield* end(0)
      yield* end(1)
      expect([name(yield* Fiber.join(before)), name(yield* Fiber.join(after))]).toEqual(["old", "new"])
    })
  )

  it.scoped("leaves loads of other rows by their own keys alone", () =>
    Effect.gen(function* () {
      const { ask, cache, end, gates, write } = yield* make
      yield* write("b", "b")
      const before = yield* ask("b")
      yield* write("a", "new")
      const after = yield* ask("b")
      yield* end(0)
      expect([name(yield* Fiber.join(before)), name(yield* Fiber.join(after))]).toEqual(["b", "b"])
      expect(name(yield* cache.getOption("b"))).toBe("b")
      expect(gates).toHaveLength(1)
    })
  )
})
