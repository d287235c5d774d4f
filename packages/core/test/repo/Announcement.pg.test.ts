/** Which changes are announced, and when. */
import { SqlClient } from "@effect/sql"
import { PgClient } from "@effect/sql-pg"
import { describe, expect, layer } from "@effect/vitest"
import { Context, Effect, Exit, Layer, Logger, LogLevel, Option, Random, Scope } from "effect"
import * as Announcement from "../../src/repo/Announcement.js"
import * as Repo from "../../src/repo/Repo.js"
import * as Transaction from "../../src/repo/Transaction.js"
import { freshTables, ada as lady, People, PersonId, Pets, TestRepo } from "./people.js"
import { pool } from "./pools.js"

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

    it.scoped("tells of a write that was done and whose row could not be read, alone and in a transaction", () =>
      Effect.gen(function* () {
        yield* freshTables
        const { id } = yield* Repo.insert(People, ada)
        let breaks = false
        const types = {
          getTypeParser: () => (value: string) => {
            if (breaks) throw new Error("that cannot be read")
            return value
          }
        }
        // Sound: it gives what reads a value.
        const { repo } = yield* pool(1, { types: types as never })
        const events = yield* Effect.provideService(heard, Repo.Repo, repo)
        breaks = true
        const write = repo.updateAll(People, { id }, { age: 37 }, { returning: true })
        expect(yield* Effect.flip(write)).toMatchObject({ _tag: "DbError" })
        expect(events.splice(0)).toEqual(["unknown", ["people", "all"]])
        yield* repo.transact(Effect.ignore(write))
        expect(events).toEqual(["committed", ["people", "all"]])
        expect((yield* Repo.fetch(People, id)).age).toBe(37)
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

    it.scoped(
      "is never told before the commit, wherever the writing fiber yields and the transaction ends meanwhile",
      () =>
        Effect.gen(function* () {
          yield* freshTables
          const events: Array<string> = []
          yield* Announcement.listen(({ changes }) => {
            for (const { keys } of changes) events.push(`told of ${keys === "all" ? keys : keys.length}`)
          })
          const logger = Logger.make(({ message }) => {
            if (String(message).endsWith("\ncommit")) events.push("commit")
          })
          for (let operations = 10; operations <= 80; operations += 1) {
            events.length = 0
            yield* Effect.gen(function* () {
              const writing = yield* Effect.fork(
                Effect.withMaxOpsBeforeYield(
                  Repo.insert(People, { ...ada, email: `ada${operations}@example.org` }),
                  operations
                )
              )
              // The row is there; its fiber may still be on the way.
              yield* Effect.repeat(Repo.exists(People, { email: `ada${operations}@example.org` }), {
                until: (is) => is
              })
              return writing
            }).pipe(
              Repo.transact(),
              Effect.flatMap((writing) => writing.await),
              Effect.provide(Logger.replace(Logger.defaultLogger, logger)),
              Logger.withMinimumLogLevel(LogLevel.Debug)
            )
            expect(events).toEqual(["commit", "told of 1"])
          }
        })
    )

    it.scoped(
      "says exactly what was committed, of random transactions in one another that fail and are interrupted",
      () =>
        Effect.gen(function* () {
          const sql = yield* freshTables
          const told = new Set<unknown>()
          const maybe = new Set<unknown>()
          yield* Announcement.listen(({ changes, outcome }) => {
            for (const { keys } of changes)
              for (const key of keys === "all" ? [] : keys) (outcome === "committed" ? told : maybe).add(key)
          })
          const owner = yield* Repo.insert(People, ada)
          told.clear()
          let next = 0
          const some = (depth: number): Effect.Effect<void, unknown, Repo.Repo> =>
            Effect.gen(function* () {
              const steps = yield* Random.nextIntBetween(1, 4)
              for (let step = 0; step < steps; step += 1) {
                next += 1
                const id = yield* Effect.map(
                  Repo.insert(Pets, { ownerId: owner.id, name: `pet ${next}` }),
                  (pet) => pet.id
                )
                const what = yield* Random.nextIntBetween(0, 10)
                if (what < 3 && depth < 3) yield* Effect.ignore(Repo.transact(some(depth + 1)))
                if (what === 4) yield* Repo.delete(Pets, id)
                if (what === 5) yield* Effect.fail("no")
                if (what === 6) yield* Effect.interrupt
              }
            })
          yield* Effect.forEach(Array.from({ length: 150 }), () => Effect.exit(Repo.transact(some(0))), {
            concurrency: 6,
            discard: true
          })
          const rows = yield* sql<{ readonly id: number }>`select id from pets`
          const kept = new Set(rows.map(({ id }) => id))
          expect(kept.size).toBeGreaterThan(50)
          expect([...kept].filter((id) => !told.has(id))).toEqual([])
          // Of those told that are not there, each was inserted and deleted in one transaction that was committed.
          expect(maybe.size).toBe(0)
          const gone = [...told].filter((id) => !kept.has(Number(id)))
          const log = yield* sql<{ readonly id: number }>`select id from pets where id = any(${gone})`
          expect(log).toEqual([])
        }).pipe(Effect.withRandom(Random.make("announced")))
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
