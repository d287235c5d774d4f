/** Whether what is served is looked at, on a real PostgreSQL: what is counted, what is not, and what it costs who reads. */
import { Model, SqlClient } from "@effect/sql"
import { describe, expect, layer } from "@effect/vitest"
import { RepoCache } from "@effecto/cache"
import { Repo, Table } from "@effecto/core"
import { EmbeddedPostgres } from "@effecto/core/testing"
import { Deferred, Effect, Layer, Logger, Option, Schema } from "effect"

class Person extends Model.Class<Person>("Person")({
  id: Model.GeneratedByApp(Schema.Number),
  name: Schema.String,
  born: Schema.DateFromSelf
}) {}
const People = Table.make(Person, { name: "people", key: "id" })

const fixture = (options: Partial<RepoCache.SampleOptions>, table: typeof People = People) =>
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    yield* sql`drop table if exists people`
    yield* sql`create table people (id int primary key, name text not null, born timestamptz not null)`
    yield* sql`insert into people values (1, 'Ada', '1815-12-10'), (2, 'Bob', '2000-01-01')`
    const found: Array<RepoCache.Disagreement> = []
    const first = yield* Deferred.make<void>()
    const people = yield* RepoCache.make(table, {
      sample: {
        every: 1,
        within: "1 millis",
        log: false,
        onDisagreement: (one) =>
          Effect.suspend(() => {
            found.push(one)
            return Deferred.succeed(first, undefined)
          }),
        ...options
      }
    })
    return { sql, people, found, first }
  })

layer(Repo.layer().pipe(Layer.provideMerge(EmbeddedPostgres)), { excludeTestServices: true })((it) => {
  describe("sample", () => {
    it.scoped("tells of a row that was changed behind the cache's back, and has it forgotten", () =>
      Effect.gen(function* () {
        const { first, found, people, sql } = yield* fixture({})
        yield* people.fetch(1)
        yield* sql`update people set name = 'by hand' where id = 1`
        expect((yield* people.fetch(1)).name).toBe("Ada")
        yield* Deferred.await(first)
        expect(
          found.map(({ cache, key, served, stored }) => [cache, key, served, Option.getOrUndefined(stored)])
        ).toEqual([
          ["people", 1, expect.objectContaining({ name: "Ada" }), expect.objectContaining({ name: "by hand" })]
        ])
        expect((yield* people.fetch(1)).name).toBe("by hand")
      })
    )

    it.scoped("tells of a row that is gone, with get as well", () =>
      Effect.gen(function* () {
        const { first, found, people, sql } = yield* fixture({})
        yield* people.get(2)
        yield* sql`delete from people where id = 2`
        yield* people.get(2)
        yield* Deferred.await(first)
        expect(found.map(({ stored }) => stored)).toEqual([Option.none()])
        expect(yield* people.get(2)).toEqual(Option.none())
      })
    )

    it.scoped(
      "says nothing where row and database agree, nor of what the Repo has written meanwhile; one in so many, one at a time",
      () =>
        Effect.gen(function* () {
          const reads: Array<number> = []
          const gate = yield* Deferred.make<void>()
          const arrived = yield* Deferred.make<void>()
          let isShut = false
          const Watched = People.pipe(
            Table.hooks({
              afterGet: (rows) =>
                Effect.suspend(() => {
                  reads.push(rows.length)
                  return isShut
                    ? Effect.as(Effect.zipRight(Deferred.succeed(arrived, undefined), Deferred.await(gate)), rows)
                    : Effect.succeed(rows)
                })
            })
          )
          const { found, people } = yield* fixture({ every: 3 }, Watched as unknown as typeof People)
          yield* people.fetch(1)
          reads.length = 0
          isShut = true
          for (let n = 0; n < 3; n += 1) yield* people.fetch(1)
          yield* Deferred.await(arrived)
          // While the one waits at the gate nobody who reads does, and no other is begun.
          for (let n = 0; n < 30; n += 1) yield* people.fetch(1)
          expect(reads).toEqual([1])
          isShut = false
          yield* Repo.update(People, 1, { name: "by the Repo" })
          yield* Deferred.succeed(gate, undefined)
          expect((yield* people.fetch(1)).name).toBe("by the Repo")
          yield* Repo.fetch(People, 2)
          expect(found).toEqual([])
        })
    )

    it.scoped("logs it unless told not to, and refuses to look at less than one in one", () =>
      Effect.gen(function* () {
        const lines: Array<string> = []
        const logger = Logger.replace(
          Logger.defaultLogger,
          Logger.make(({ message }) => {
            lines.push(String(message))
          })
        )
        const { first, people, sql } = yield* fixture({ log: true }).pipe(Effect.provide(logger))
        yield* people.fetch(1)
        yield* sql`update people set name = 'by hand' where id = 1`
        yield* people.fetch(1)
        yield* Deferred.await(first)
        expect(lines).toEqual([
          expect.stringContaining('cache "people" held a row for 1ms that the database has otherwise')
        ])
        const defect = yield* Effect.sandbox(fixture({ every: 0 })).pipe(Effect.flip)
        expect(String(defect)).toContain("cannot sample every 0 hits")
      })
    )
  })
})
