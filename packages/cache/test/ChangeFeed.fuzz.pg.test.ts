/** Three processes that write and read at random: when all is quiet they agree with the database, and nobody has forgotten more than was told. */
import { describe, expect, layer } from "@effect/vitest"
import { Repo } from "@effecto/core"
import { EmbeddedPostgres } from "@effecto/core/testing"
import { Effect, FastCheck, Fiber, Schedule } from "effect"
import { fixture, People, process } from "./processes.js"

type Process = Effect.Effect.Success<ReturnType<typeof process>>

const ids = Array.from({ length: 8 }, (_, at) => at + 1)

/** One of the ways to write, with which row, and what becomes of it. */
interface Act {
  readonly by: number
  readonly way: "update" | "delete" | "insert" | "upsert" | "all" | "savepoint"
  readonly id: number
  readonly fate: "alone" | "in a transaction" | "rolled back" | "interrupted" | "refused"
}

const acts: FastCheck.Arbitrary<ReadonlyArray<Act>> = FastCheck.array(
  FastCheck.record({
    by: FastCheck.nat(2),
    way: FastCheck.constantFrom("update", "delete", "insert", "upsert", "all", "savepoint"),
    id: FastCheck.constantFrom(...ids),
    fate: FastCheck.constantFrom("alone", "alone", "in a transaction", "rolled back", "interrupted", "refused")
  }),
  { minLength: 120, maxLength: 120 }
)

const written = ({ fate, id, way }: Act, at: number): Effect.Effect<unknown, unknown, Repo.Repo> => {
  // The database refuses it when it is to be committed.
  const name = fate === "refused" ? `bad ${at}` : `${at}`
  switch (way) {
    case "update":
      return Repo.update(People, id, { name })
    case "delete":
      return Repo.delete(People, id)
    case "insert":
      return Repo.insert(People, { id, name })
    case "upsert":
      return Repo.upsert(People, { id, name }, { target: ["id"] })
    case "all":
      return Repo.updateAll(People, { id }, { name })
    case "savepoint":
      return Repo.transact(
        Effect.zipRight(
          Effect.ignore(Repo.transact(Effect.zipRight(Repo.update(People, id, { name: "gone" }), Effect.fail("no")))),
          Repo.transact(Repo.update(People, (id % ids.length) + 1, { name }))
        )
      )
  }
}

const done = (act: Act, at: number): Effect.Effect<unknown, unknown, Repo.Repo> => {
  const write = written(act, at)
  switch (act.fate) {
    case "in a transaction":
      return Repo.transact(write)
    case "rolled back":
      return Repo.transact(Effect.zipRight(write, Effect.fail("no")))
    case "interrupted":
      // However far it has come by then.
      return Effect.flatMap(Effect.fork(write), (fiber) =>
        Effect.zipRight(
          Effect.promise(() => new Promise((resolve) => setImmediate(resolve))),
          Fiber.interrupt(fiber)
        )
      )
    default:
      return write
  }
}

layer(EmbeddedPostgres, { excludeTestServices: true })((it) => {
  describe("what processes hold", () => {
    it.scoped("is what the database has, when all has been heard, and nothing was taken for lost", () =>
      Effect.gen(function* () {
        const sql = yield* fixture
        yield* sql`create or replace function refuse() returns trigger language plpgsql as 'begin if new.name like ''bad%'' then raise exception ''no''; end if; return null; end'`
        yield* sql`create constraint trigger refuse after insert or update on people deferrable initially deferred for each row execute function refuse()`
        const all: ReadonlyArray<Process> = yield* Effect.forEach(["a", "b", "c"], (name) => process(name))
        for (const [round, sample] of FastCheck.sample(acts, 4).entries()) {
          const before = sample.map((act, at) =>
            Effect.gen(function* () {
              const one = all[act.by]
              if (one === undefined) return
              yield* Effect.exit(one.run(done(act, at)))
              yield* Effect.exit(one.name(act.id))
            })
          )
          yield* Effect.all(before, { concurrency: 9, discard: true })
          // Whoever hears this has heard everything before it.
          for (const [at, one] of all.entries()) {
            const id = 1_000 + round * 10 + at
            yield* one.run(Repo.insert(People, { id, name: "last" }))
            for (const other of all) if (other !== one) yield* other.until(`people [${id}]`)
          }
          const rows = yield* sql<{ id: number; name: string }>`select * from people`
          const truth = new Map(rows.map(({ id, name }) => [id, name]))
          for (const one of all) expect(yield* Effect.forEach(ids, one.name)).toEqual(ids.map((id) => truth.get(id)))
        }
        expect(all.flatMap(({ events }) => events.filter((event) => event === "everything"))).toEqual([])
        const idle = sql<{
          n: number
        }>`select count(*)::int as n from pg_stat_activity where state like 'idle in%' and datname = current_database()`
        yield* Effect.repeat(idle, { until: ([found]) => found?.n === 0, schedule: Schedule.recurs(50) })
        expect(yield* idle).toEqual([{ n: 0 }])
      })
    )
  })
})
