/** Which changes are announced, and when. */
import { SqlClient } from "@effect/sql"
import { PgClient } from "@effect/sql-pg"
import { describe, expect, layer } from "@effect/vitest"
import { Context, Effect, Exit, Layer, Option, Scope } from "effect"
import * as Announcement from "../../src/repo/Announcement.js"
import * as Repo from "../../src/repo/Repo.js"
import * as Transaction from "../../src/repo/Transaction.js"
import { freshTables, ada as lady, People, PersonId, Pets, TestRepo } from "./people.js"

const ada = { ...lady, nickName: Option.none<string>() }

/** What is announced from here on. */
const heard = Effect.gen(function* () {
  const events: Array<unknown> = []
  yield* Announcement.listen(({ changes, outcome }) => {
    events.push(outcome, ...changes.map(({ keys, table }) => [table, keys]))
  })
  return events
})

describe("Announcement", () => {
  layer(TestRepo, { excludeTestServices: true })((it) => {
    it.scoped("tells of each write that stands alone, with its key", () =>
      Effect.gen(function* () {
        yield* freshTables
        const events = yield* heard
        const person = yield* Repo.insert(People, ada)
        expect(events).toEqual(["committed", ["people", [1]]])
        yield* Repo.update(People, person, { age: 37 })
        yield* Repo.update(People, person, {})
        yield* Repo.delete(People, person.id)
        expect(events.length).toBe(6)
        expect(yield* Effect.flip(Repo.delete(People, person.id))).toMatchObject({ _tag: "NotFound" })
        yield* Effect.flip(Repo.insert(People, { ...ada, age: -1 }))
        expect(events.slice(6)).toEqual([])
      })
    )

    it.scoped("tells of a transaction once, after its commit and before work registered for then", () =>
      Effect.gen(function* () {
        yield* freshTables
        const events = yield* heard
        yield* Repo.transact(
          Effect.gen(function* () {
            const person = yield* Repo.insert(People, ada)
            yield* Repo.update(People, person, { age: 37 })
            yield* Repo.insert(Pets, { ownerId: person.id, name: "Rex" })
            yield* Transaction.afterCommit(Effect.sync(() => events.push("after commit")))
            expect(events).toEqual([])
            expect(yield* Announcement.pending).toEqual([
              { schema: undefined, table: "people", keys: [1] },
              { schema: undefined, table: "pets", keys: [1] }
            ])
          })
        )
        expect(events).toEqual(["committed", ["people", [1]], ["pets", [1]], "after commit"])
        expect(yield* Announcement.pending).toEqual([])
      })
    )

    it.scoped("tells nothing of what was rolled back, savepoints included", () =>
      Effect.gen(function* () {
        yield* freshTables
        const events = yield* heard
        yield* Effect.flip(Repo.transact(Effect.zipRight(Repo.insert(People, ada), Effect.fail("no"))))
        expect(events).toEqual([])
        yield* Repo.transact(
          Effect.gen(function* () {
            const { id } = yield* Repo.insert(People, ada)
            yield* Effect.flip(
              Repo.transact(Effect.zipRight(Repo.insert(Pets, { ownerId: id, name: "Rex" }), Effect.fail("no")))
            )
            yield* Repo.transact(Repo.update(People, id, { age: 1 }))
          })
        )
        expect(events).toEqual(["committed", ["people", [2]]])
      })
    )

    it.scoped("tells of what a statement written by hand changed when it is touched", () =>
      Effect.gen(function* () {
        const sql = yield* freshTables
        const events = yield* heard
        yield* Announcement.touch(People)
        yield* Repo.transact(
          Effect.gen(function* () {
            yield* sql`update people set age = 1`
            yield* Announcement.touch(Pets, [1, 2, 1])
            yield* Announcement.touch(People, [PersonId.make(3)])
            expect(events.length).toBe(2)
          })
        )
        expect(events).toEqual(["committed", ["people", "all"], "committed", ["pets", [1, 2]], ["people", [3]]])
      })
    )

    it.scoped("remembers a table instead of more than a thousand keys", () =>
      Effect.gen(function* () {
        yield* freshTables
        const events = yield* heard
        yield* Announcement.touch(
          Pets,
          Array.from({ length: 1001 }, (_, at) => at)
        )
        expect(events).toEqual(["committed", ["pets", "all"]])
      })
    )

    it.scoped("says that the outcome is not known when the connection is lost in COMMIT or in a single write", () =>
      Effect.gen(function* () {
        const sql = yield* freshTables
        const events = yield* heard
        yield* sql`create or replace function die() returns trigger language plpgsql as
          $$ begin perform pg_terminate_backend(pg_backend_pid()); return new; end $$`
        yield* sql`create trigger die after insert on pets for each row execute function die()`
        const { id } = yield* Repo.insert(People, ada)
        events.length = 0
        yield* Effect.flip(Repo.insert(Pets, { ownerId: id, name: "Rex" }))
        expect(events).toEqual(["unknown", ["pets", "all"]])
        // The pool may lend the dead connection once more.
        yield* Effect.retry(sql`drop trigger die on pets`, { times: 3 })
        yield* sql`create constraint trigger die after insert on pets deferrable initially deferred for each row execute function die()`
        events.length = 0
        const failure = yield* Effect.flip(
          Repo.transact(
            Effect.gen(function* () {
              yield* Repo.update(People, id, { age: 1 })
              yield* Repo.insert(Pets, { ownerId: id, name: "Rex" })
            })
          )
        )
        expect(failure).toMatchObject({ _tag: "CommitFailed", outcome: "unknown" })
        expect(events[0]).toBe("unknown")
        expect(events.length).toBe(3)
      })
    )

    it.scoped("says so for a write that is interrupted while it waits", () =>
      Effect.gen(function* () {
        const sql = yield* freshTables
        const { id } = yield* Repo.insert(People, ada)
        const events = yield* heard
        yield* Repo.transact(
          Effect.gen(function* () {
            yield* sql`select from people where id = ${id} for update`
            const { config } = yield* PgClient.PgClient
            const other = yield* Layer.build(Repo.layer().pipe(Layer.provideMerge(PgClient.layer(config))))
            const { announcer } = Context.get(other, Repo.Repo)
            const end = announcer.listen(({ outcome }) => events.push(`other: ${outcome}`))
            const fiber = yield* Effect.fork(
              Effect.provide(Repo.update(People, id, { age: 2 }), Context.omit(Transaction.Transaction)(other))
            )
            const blocked = sql`select 1 from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()`
            yield* Effect.repeat(blocked, { until: (rows) => rows.length > 0 })
            yield* Effect.asVoid(Effect.flatMap(Effect.succeed(fiber), (one) => one.interruptAsFork(one.id())))
            yield* fiber.await
            end()
          })
        )
        expect(events).toContain("other: unknown")
      })
    )

    it.scoped("runs what goes before a commit inside of the transaction, and fails with it", () =>
      Effect.gen(function* () {
        const sql = yield* freshTables
        const events: Array<unknown> = []
        const scope = yield* Scope.make()
        yield* Announcement.beforeCommit((changes) =>
          Effect.gen(function* () {
            const client = yield* SqlClient.SqlClient
            const rows = yield* client<{ n: number }>`select count(*)::int as n from people`
            events.push(
              changes.map(({ table }) => table),
              rows[0]?.n,
              yield* Transaction.inTransaction
            )
          })
        ).pipe(Scope.extend(scope))
        yield* Repo.insert(People, ada)
        expect(events).toEqual([["people"], 1, true])
        yield* Repo.transact(sql`select 1`)
        expect(events.length).toBe(3)
        yield* Announcement.beforeCommit(() => Effect.asVoid(sql`select 1 / 0`)).pipe(Scope.extend(scope))
        expect(yield* Effect.flip(Repo.update(People, PersonId.make(1), { age: 99 }))).toMatchObject({ code: "22012" })
        yield* Scope.close(scope, Exit.void)
        expect((yield* Repo.update(People, PersonId.make(1), { firstName: "B" })).age).toBe(36)
        expect(events.length).toBe(6)
      })
    )

    it.scoped("a listener that throws harms neither the write nor the others", () =>
      Effect.gen(function* () {
        yield* freshTables
        yield* Announcement.listen(() => {
          throw new Error("no")
        })
        const events = yield* heard
        yield* Repo.insert(People, ada)
        expect(events).toEqual(["committed", ["people", [1]]])
      })
    )
  })
})
