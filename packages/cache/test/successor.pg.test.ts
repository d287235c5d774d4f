/** A table's cache that is made again: what the one before it was still to do. */
import { Model, SqlClient } from "@effect/sql"
import { describe, expect, layer } from "@effect/vitest"
import { RepoCache } from "@effecto/cache"
import { Repo, Table } from "@effecto/core"
import { EmbeddedPostgres } from "@effecto/core/testing"
import { Effect, Exit, Layer, Schema, Scope, TestClock } from "effect"

class Person extends Model.Class<Person>("Person")({
  id: Model.GeneratedByApp(Schema.Number),
  name: Schema.String
}) {}
const People = Table.make(Person, { name: "heirs", key: "id" })

layer(Repo.layer().pipe(Layer.provideMerge(EmbeddedPostgres)))((it) => {
  describe("a transaction of unknown outcome that the server ends late", () => {
    for (const [when, isRestarted] of [
      ["while its cache lives", false],
      ["after its cache was restarted", true]
    ] as const)
      it.scoped(`is seen, at the latest some seconds later: ${when}`, () =>
        Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          yield* sql`drop table if exists heirs`
          yield* sql`create table heirs (id int primary key, name text not null)`
          yield* sql`insert into heirs values (1, 'Ada'), (2, 'Bob')`
          yield* sql`create or replace function die() returns trigger language plpgsql as
            $$ begin perform pg_terminate_backend(pg_backend_pid()); return new; end $$`
          yield* sql`create constraint trigger die after update on heirs deferrable initially deferred for each row execute function die()`
          const make = RepoCache.make(People)
          const scope = yield* Scope.make()
          const first = yield* Scope.extend(make, scope)
          yield* first.fetch(1)
          expect(yield* Effect.flip(Repo.transact(Repo.update(People, 1, { name: "Eve" })))).toMatchObject({
            _tag: "CommitFailed",
            outcome: "unknown"
          })
          yield* Effect.retry(sql`drop trigger die on heirs`, { times: 3 })
          if (isRestarted) yield* Scope.close(scope, Exit.void)
          const cache = isRestarted ? yield* make : first
          const read = Effect.all([
            cache.fetch(1),
            cache.getOrLoad(
              "names",
              Effect.map(Repo.all(People), (rows) =>
                rows
                  .map(({ name }) => name)
                  .sort()
                  .join()
              )
            )
          ])
          const names = Effect.map(read, ([{ name }, all]) => [name, all])
          expect(yield* names).toEqual(["Ada", "Ada,Bob"])
          yield* sql`update heirs set name = 'Eve' where id = 1` // as the server would, and nobody is told
          expect(yield* names).toEqual(["Ada", "Ada,Bob"])
          yield* TestClock.adjust("5 seconds")
          expect(yield* names).toEqual(["Eve", "Bob,Eve"])
          yield* Scope.close(scope, Exit.void)
        })
      )
  })
})
