/** Histories of several fibers, each on whichever connection it gets, on a cache before a table of a real PostgreSQL. */
import { Model, SqlClient } from "@effect/sql"
import { expect, layer } from "@effect/vitest"
import { RepoCache } from "@effecto/cache"
import { Repo, Table } from "@effecto/core"
import { EmbeddedPostgres } from "@effecto/core/testing"
import { Effect, Exit, Layer, Option, Schema } from "effect"
import { chance, isLinearizable, Recorder, tooOld } from "./histories.js"

class Counter extends Model.Class<Counter>("Counter")({
  id: Model.GeneratedByApp(Schema.Number),
  value: Schema.Number
}) {}

const Counters = Table.make(Counter, { name: "counters", key: "id" })
const KEYS = [1, 2] as const

/** A value says the how manieth version of its row it is, and who wrote it: nobody else ever writes the same. */
const VERSION = 10_000

const history = (options: RepoCache.Options, seed: number) =>
  Effect.scoped(
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      yield* sql`drop table if exists counters`
      yield* sql`create table counters (id int primary key, value int not null)`
      yield* sql`insert into counters values (1, 0), (2, 0)`
      const counters = yield* RepoCache.make(Counters, options)
      const below = chance(seed)
      const key = () => KEYS[below(2)] ?? 1
      const pause = Effect.suspend(() => Effect.repeatN(Effect.yieldNow(), below(6)))
      const recorder = new Recorder<number>()
      let writers = 0

      const reads = Effect.repeatN(
        Effect.gen(function* () {
          const id = key()
          // One in five asks the database itself, as another process does.
          const find = below(5) === 0 ? Repo.get(Counters, id) : counters.get(id)
          const begin = recorder.tick()
          const found = yield* find
          recorder.add(id, "read", Option.getOrThrow(found).value, begin)
          yield* pause
        }),
        24
      )
      const writes = Effect.repeatN(
        Effect.gen(function* () {
          const id = key()
          const [isRolledBack, isNested] = [below(4) === 0, below(3) === 0]
          writers += 1
          const me = writers
          const begin = recorder.tick()
          const exit = yield* Effect.exit(
            Repo.transact(
              Effect.gen(function* () {
                const [row] = yield* sql<{
                  readonly value: number
                }>`select value from counters where id = ${id} for update`
                const next = (Math.floor((row?.value ?? 0) / VERSION) + 1) * VERSION + me
                const update = Repo.update(Counters, id, { value: next })
                yield* isNested ? Repo.transact(update) : update
                yield* pause
                // Its own write, and nobody else's.
                expect(Option.getOrThrow(yield* counters.get(id)).value).toBe(next)
                yield* pause
                return isRolledBack ? yield* Effect.fail("no") : next
              })
            )
          )
          if (Exit.isSuccess(exit)) recorder.add(id, "write", exit.value, begin)
          else expect(exit).toEqual(Exit.fail("no"))
          yield* pause
        }),
        7
      )
      yield* Effect.all([reads, reads, reads, reads, writes, writes, writes], {
        concurrency: "unbounded",
        discard: true
      })
      for (const id of KEYS) {
        const begin = recorder.tick()
        recorder.add(id, "read", Option.getOrThrow(yield* counters.get(id)).value, begin)
      }
      return [...recorder.byKey.values()]
    })
  )

const SEEDS = Array.from({ length: 12 }, (_, index) => index + 1)

const TestRepo = Repo.layer().pipe(Layer.provideMerge(EmbeddedPostgres))

layer(TestRepo, { excludeTestServices: true })("recorded histories on PostgreSQL", (it) => {
  it.effect("are never older than the last commit acknowledged before the read began", () =>
    Effect.gen(function* () {
      const histories = (yield* Effect.forEach(SEEDS, (seed) => history({ idle: "1 minute" }, seed))).flat()
      expect(histories.flatMap((each) => tooOld(each, 0))).toEqual([])
    })
  )

  it.effect("are linearizable by key where the cache is strict", () =>
    Effect.gen(function* () {
      const histories = (yield* Effect.forEach(SEEDS, (seed) => history({ strict: true }, seed))).flat()
      expect(histories.filter((each) => !isLinearizable(each, 0))).toEqual([])
    })
  )
})
