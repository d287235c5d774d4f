import { SqlClient } from "@effect/sql"
import { PgClient } from "@effect/sql-pg"
import { describe, expect, layer } from "@effect/vitest"
import { type Context, Deferred, Effect, Exit, Fiber, Layer, Option } from "effect"
import * as Repo from "../../src/repo/Repo.js"
import { isRetryable } from "../../src/repo/RepoError.js"
import * as Transaction from "../../src/repo/Transaction.js"
import { terminated } from "./backends.js"
import { ada, freshTables, People, PersonId, TestRepo } from "./people.js"

const row = { ...ada, nickName: Option.none() }
const nobody = PersonId.make(4242)

const backend = Effect.map(
  Effect.flatMap(SqlClient.SqlClient, (sql) => sql<{ pid: number }>`select pg_backend_pid() as pid`),
  (rows) => rows[0]?.pid ?? 0
)

/** On a connection that is in no transaction. */
const terminate = (pid: number, outside: SqlClient.SqlClient) =>
  Effect.mapInputContext(terminated(outside, pid), (_: Context.Context<never>) => nothing)
const nothing = Effect.runSync(Effect.context<never>())

const idleInTransaction = Effect.map(
  Effect.flatMap(
    SqlClient.SqlClient,
    (sql) =>
      sql<{
        state: string
      }>`select state from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid() and state like 'idle in transaction%'`
  ),
  (rows) => rows.map(({ state }) => state)
)

describe("a connection that is lost", () => {
  layer(TestRepo, { excludeTestServices: true })((it) => {
    it.effect("between two statements of a transaction fails the next one with DbError, and keeps nothing", () =>
      Effect.gen(function* () {
        const sql = yield* freshTables
        const events: Array<string> = []
        const error = yield* Effect.flip(
          Repo.transact(
            Effect.gen(function* () {
              yield* Repo.insert(People, row)
              yield* Transaction.afterCommit(Effect.sync(() => events.push("committed")))
              yield* Transaction.afterRollback(Effect.sync(() => events.push("rolled back")))
              yield* terminate(yield* backend, sql)
              yield* Repo.get(People, nobody)
            })
          )
        )
        expect(error).toMatchObject({ _tag: "DbError", kind: "connection" })
        expect(error.message).toContain("could not read people: the connection to PostgreSQL was lost (")
        expect(events).toEqual(["rolled back"])
        expect(yield* Repo.count(People)).toBe(0)
      })
    )

    /** Work for every end of a transaction. */
    const noting = (events: Array<string>) =>
      Effect.all([
        Transaction.afterCommit(Effect.sync(() => events.push("committed"))),
        Transaction.afterRollback(Effect.sync(() => events.push("rolled back"))),
        Transaction.onCommitOrNow(Effect.sync(() => events.push("to be forgotten")))
      ])

    it.effect("before COMMIT is sent is a rollback, and is said to be one", () =>
      Effect.gen(function* () {
        const sql = yield* freshTables
        const events: Array<string> = []
        const error = yield* Effect.flip(
          Repo.transact(
            Effect.gen(function* () {
              yield* Repo.insert(People, row)
              yield* noting(events)
              yield* terminate(yield* backend, sql)
              yield* Effect.ignore(Repo.count(People))
            })
          )
        )
        expect(error).toMatchObject({ _tag: "CommitFailed", outcome: "rolledBack" })
        expect(error.message).toContain("the connection to PostgreSQL was lost before it could commit")
        expect(events).toEqual(["rolled back"])
        expect(yield* Repo.count(People)).toBe(0)
      })
    )

    it.effect("between COMMIT and its answer leaves the outcome unknown, and that is what is said", () =>
      Effect.gen(function* () {
        const sql = yield* freshTables
        yield* sql`create or replace function die() returns trigger language plpgsql as 'begin perform pg_terminate_backend(pg_backend_pid()); return new; end'`
        yield* sql`create constraint trigger die after insert on people deferrable initially deferred for each row execute function die()`
        const events: Array<string> = []
        const error = yield* Effect.flip(Repo.transact(Effect.zipRight(Repo.insert(People, row), noting(events))))
        expect(error).toMatchObject({ _tag: "CommitFailed", outcome: "unknown" })
        expect(error.message).toContain("Whether the transaction was committed is not known")
        expect(events).toEqual(["to be forgotten"])
        expect(yield* Repo.count(People)).toBe(0)
      })
    )

    it.effect("after COMMIT was answered changes nothing about what was reported, and the pool goes on", () =>
      Effect.gen(function* () {
        const sql = yield* freshTables
        const events: Array<string> = []
        const inserted = yield* Repo.transact(
          Effect.gen(function* () {
            const pid = yield* backend
            yield* Transaction.afterCommit(Effect.ignore(terminate(pid, sql)))
            yield* noting(events)
            return yield* Repo.insert(People, row)
          })
        )
        expect(events).toEqual(["committed", "to be forgotten"])
        // Whoever is next may get the dead connection, and is told that trying again will do.
        const found = yield* Effect.retry(Repo.fetch(People, inserted.id), { while: isRetryable, times: 2 })
        expect(found.email).toBe(row.email)
      })
    )

    it.effect("while the transaction has already failed changes nothing about that failure", () =>
      Effect.gen(function* () {
        const sql = yield* freshTables
        const exit = yield* Effect.exit(
          Repo.transact(
            Effect.gen(function* () {
              yield* terminate(yield* backend, sql)
              return yield* Effect.fail("mine")
            })
          )
        )
        expect(exit).toEqual(Exit.fail("mine"))
        expect(yield* Repo.count(People)).toBe(0)
      })
    )

    it.effect("inside of a savepoint fails it and the whole", () =>
      Effect.gen(function* () {
        const sql = yield* freshTables
        const error = yield* Effect.flip(
          Repo.transact(
            Effect.gen(function* () {
              yield* Repo.insert(People, row)
              const inner = yield* Effect.exit(Repo.transact(Effect.flatMap(backend, (pid) => terminate(pid, sql))))
              expect(Exit.isFailure(inner)).toBe(true)
            })
          )
        )
        expect(error).toMatchObject({ _tag: "CommitFailed", outcome: "rolledBack" })
        expect(yield* Repo.count(People)).toBe(0)
      })
    )

    it.effect("during a write outside of a transaction says that it may have been done", () =>
      Effect.gen(function* () {
        const sql = yield* freshTables
        yield* sql`create or replace function die() returns trigger language plpgsql as 'begin perform pg_terminate_backend(pg_backend_pid()); return new; end'`
        yield* sql`create trigger die before insert on people for each row execute function die()`
        const error = yield* Effect.flip(Repo.insert(People, row))
        expect(error).toMatchObject({ _tag: "DbError", kind: "connection", retryable: false })
        expect(error.message).toContain("Whether it was done is not known")
      })
    )
  })
})

describe("a pool of one connection", () => {
  const Small = Repo.layer().pipe(
    Layer.provideMerge(
      Layer.unwrapEffect(
        Effect.map(PgClient.PgClient, ({ config }) => PgClient.layer({ ...config, maxConnections: 1 }))
      )
    ),
    Layer.provide(TestRepo)
  )
  layer(Small, { excludeTestServices: true })((it) => {
    const inside = Effect.gen(function* () {
      const [entered, leave] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
      const fiber = yield* Effect.fork(
        Repo.transact(Effect.zipRight(Deferred.succeed(entered, undefined), Deferred.await(leave)))
      )
      yield* Deferred.await(entered)
      return Effect.zipRight(Deferred.succeed(leave, undefined), Fiber.join(fiber))
    })

    it.effect("lets go of whoever is interrupted while waiting for it, and loses nothing", () =>
      Effect.gen(function* () {
        yield* freshTables
        const sql = yield* SqlClient.SqlClient
        const end = yield* inside
        const waiting = yield* Effect.forEach(
          [Repo.transact(Effect.void), Effect.scoped(sql.reserve), Repo.count(People), sql`select 1`],
          (effect) => Effect.fork(Effect.exit(Effect.asVoid(effect as Effect.Effect<unknown, unknown>)))
        )
        yield* Effect.yieldNow()
        yield* Effect.forEach(waiting, Fiber.interrupt)
        yield* end
        yield* Repo.transact(Repo.insert(People, row))
        expect(yield* Repo.count(People)).toBe(1)
        expect(yield* idleInTransaction).toEqual([])
      })
    )

    it.effect("is replaced when it is lost", () =>
      Effect.gen(function* () {
        const sql = yield* freshTables
        yield* Effect.ignore(Repo.transact(sql`select pg_terminate_backend(pg_backend_pid())`))
        yield* Repo.transact(Repo.insert(People, row))
        expect(yield* Repo.count(People)).toBe(1)
      })
    )
  })
})
