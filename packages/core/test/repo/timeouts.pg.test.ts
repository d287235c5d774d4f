/** Transactions that may only take so long. */
import { SqlClient } from "@effect/sql"
import { PgClient } from "@effect/sql-pg"
import { describe, expect, layer } from "@effect/vitest"
import { Cause, Deferred, Duration, Effect, Exit, Fiber, Layer, Option, TestClock } from "effect"
import * as Repo from "../../src/repo/Repo.js"
import { TransactionTimeout } from "../../src/repo/RepoError.js"
import * as Transaction from "../../src/repo/Transaction.js"
import { EmbeddedPostgres } from "../../src/testing.js"
import { ada, freshTables, People, TestRepo } from "./people.js"
import { pool } from "./pools.js"

const row = { ...ada, nickName: Option.none() }

describe("the timeout of a transaction", () => {
  layer(TestRepo)((it) => {
    it.effect("interrupts the effect, rolls it back, and is a typed failure", () =>
      Effect.gen(function* () {
        yield* freshTables
        const events: Array<string> = []
        const begun = yield* Deferred.make<void>()
        const fiber = yield* Effect.fork(
          Effect.exit(
            Repo.transact(
              Effect.gen(function* () {
                yield* Repo.insert(People, row)
                yield* Transaction.afterCommit(Effect.sync(() => void events.push("committed")))
                yield* Transaction.afterRollback(Effect.sync(() => void events.push("rolled back")))
                yield* Deferred.succeed(begun, undefined)
                yield* Effect.onInterrupt(Effect.never, () => Effect.sync(() => void events.push("interrupted")))
              }),
              { timeout: "2 seconds" }
            )
          )
        )
        yield* Deferred.await(begun)
        yield* TestClock.adjust("1999 millis")
        expect(events).toEqual([])
        yield* TestClock.adjust("1 millis")
        const exit = yield* Fiber.join(fiber)
        expect(exit).toEqual(Exit.fail(new TransactionTimeout({ millis: 2000 })))
        expect(events).toEqual(["interrupted", "rolled back"])
        expect(yield* Repo.count(People)).toBe(0)
      })
    )

    it.effect("stops a statement that runs, and leaves a savepoint's transaction usable", () =>
      Effect.gen(function* () {
        const sql = yield* freshTables
        const begun = yield* Deferred.make<void>()
        const fiber = yield* Effect.fork(
          Repo.transact(
            Effect.gen(function* () {
              const inner = Repo.transact(
                Effect.zipRight(Deferred.succeed(begun, undefined), sql`select pg_sleep(600)`),
                { timeout: "1 second" }
              )
              const error = yield* Effect.flip(inner)
              yield* Repo.insert(People, row)
              return error._tag
            })
          )
        )
        yield* Deferred.await(begun)
        yield* TestClock.adjust("1 second")
        expect(yield* Fiber.join(fiber)).toBe("TransactionTimeout")
        expect(yield* Repo.count(People)).toBe(1)
      })
    )

    it.effect("does nothing to who is in time", () =>
      Effect.gen(function* () {
        yield* freshTables
        yield* Repo.transact(Repo.insert(People, row), { timeout: "1 second" })
        yield* TestClock.adjust("1 minute")
        expect(yield* Repo.count(People)).toBe(1)
      })
    )

    it.effect("of statements and of waits for locks are PostgreSQL's own, for this transaction only", () =>
      Effect.gen(function* () {
        const sql = yield* freshTables
        const settings = sql`select current_setting('statement_timeout') as s, current_setting('lock_timeout') as l`
        const inside = yield* Repo.transact(settings, { statementTimeout: "3 seconds", lockTimeout: "20 millis" })
        expect(inside).toEqual([{ s: "3s", l: "20ms" }])
        expect(yield* settings).toEqual([{ s: "0", l: "0" }])
        yield* Repo.insert(People, row)
        const slow = yield* Effect.flip(
          Repo.transact(Repo.one(People, sql`pg_sleep(600) is null`), {
            statementTimeout: "5 millis",
            isolation: "serializable"
          })
        )
        expect(slow).toMatchObject({ _tag: "DbError", code: "57014" })
      })
    )
  })
})

const limits = Effect.map(
  Effect.flatMap(
    SqlClient.SqlClient,
    (sql) =>
      sql<{
        readonly of: string
      }>`select current_setting('statement_timeout') || ' ' || current_setting('lock_timeout') as of`
  ),
  ([row]) => row?.of
)

describe("PostgreSQL's own limits of a nested transaction", () => {
  layer(TestRepo, { excludeTestServices: true })((it) => {
    it.effect("hold inside of it, and are what they were when it ends, however it does", () =>
      Effect.gen(function* () {
        const sql = yield* freshTables
        const seen: Array<unknown> = []
        const note = Effect.map(limits, (one) => void seen.push(one))
        yield* Repo.transact(
          Effect.gen(function* () {
            yield* note
            yield* Repo.transact(
              Effect.gen(function* () {
                yield* note
                yield* Repo.transact(note, { statementTimeout: "3 seconds" })
                yield* sql`set local statement_timeout = 1234`
                yield* note
              }),
              { statementTimeout: "2 minutes", lockTimeout: "500 millis" }
            )
            yield* note
            yield* Effect.ignore(
              Repo.transact(Effect.zipRight(note, Effect.fail("no")), { lockTimeout: Duration.infinity })
            )
            yield* note
          }),
          { lockTimeout: "7 seconds" }
        )
        yield* note
        expect(seen).toEqual(["0 7s", "2min 500ms", "3s 500ms", "1234ms 500ms", "0 7s", "0 0", "0 7s", "0 0"])
      })
    )

    it.effect("end a statement with its code, and leave the transaction around it usable", () =>
      Effect.gen(function* () {
        const sql = yield* freshTables
        yield* Repo.transact(
          Effect.gen(function* () {
            const late = yield* Effect.flip(Repo.transact(sql`select pg_sleep(600)`, { statementTimeout: "20 millis" }))
            expect(Object(late.cause).code).toBe("57014")
            yield* Repo.insert(People, row)
          })
        )
        expect(yield* Repo.count(People)).toBe(1)
      })
    )

    it.effect("are refused where the transaction is that of others too, and given to one that begins", () =>
      Effect.gen(function* () {
        const joined = Repo.transact(limits, { nested: "join", lockTimeout: "7 seconds" })
        expect(yield* joined).toBe("0 7s")
        const error = yield* Effect.flip(Repo.transact(joined))
        expect(error).toMatchObject({ _tag: "DbError" })
        expect(error.message).toContain("lockTimeout")
        expect(yield* Repo.transact(Repo.transact(limits, { nested: "join" }))).toBe("0 0")
      })
    )

    it.effect("hold in a sandbox too, for what is looked at on commit as well", () =>
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        yield* sql`create table if not exists slow (id int primary key, other int references slow deferrable initially deferred)`
        yield* sql`create or replace function slowly() returns trigger language plpgsql as $$ begin perform pg_sleep(600); return null; end $$`
        yield* sql`create constraint trigger slow after insert on slow deferrable initially deferred for each row execute function slowly()`
        const seen: Array<unknown> = []
        yield* Effect.gen(function* () {
          seen.push(yield* Repo.transact(limits, { statementTimeout: "3 seconds", lockTimeout: "4 seconds" }))
          seen.push(yield* limits)
          const own = yield* SqlClient.SqlClient
          const late = yield* Effect.flip(
            Repo.transact(own`insert into slow values (1)`, { statementTimeout: "50 millis" })
          )
          expect(late).toMatchObject({ _tag: "CommitFailed", outcome: "rolledBack", code: "57014" })
          seen.push(yield* limits)
          seen.push(yield* own`select * from slow`)
        }).pipe(Effect.provide(Repo.sandbox))
        expect(seen).toEqual(["3s 4s", "0 0", "0 0", []])
      })
    )
  })
})

describe("the transactions of a Repo's layer", () => {
  const Strict = Repo.layer({
    transactions: { isolation: "serializable", statementTimeout: "9 seconds", lockTimeout: "8 seconds" }
  }).pipe(Layer.provideMerge(EmbeddedPostgres))
  layer(Strict, { excludeTestServices: true })((it) => {
    it.effect("have its limits and isolation, unless they ask for others, and nothing outside of them has", () =>
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const all = Effect.map(
          Effect.zip(limits, sql<{ readonly of: string }>`select current_setting('transaction_isolation') as of`),
          ([text, [row]]) => `${text} ${row?.of}`
        )
        const seen = [
          yield* Repo.transact(all),
          yield* sql.withTransaction(all),
          yield* Repo.transact(all, {
            isolation: "read committed",
            lockTimeout: undefined,
            statementTimeout: "1 second"
          }),
          yield* Repo.transact(Repo.transact(all, { lockTimeout: "1 second" })),
          yield* all
        ]
        expect(seen).toEqual([
          "9s 8s serializable",
          "9s 8s serializable",
          "1s 8s read committed",
          "9s 1s serializable",
          "0 0 read committed"
        ])
      })
    )

    it.scoped("are defects where they are none, and take no connection with them", () =>
      Effect.gen(function* () {
        const { config } = yield* PgClient.PgClient
        const own = PgClient.layer({ ...config, maxConnections: 1, connectTimeout: "1 second" })
        const died = <E>(exit: Exit.Exit<unknown, E>) =>
          Exit.isFailure(exit) && Cause.isDie(exit.cause) ? String(Cause.squash(exit.cause)) : "it did not die"
        const { repo, sql } = yield* pool(1, { connectTimeout: "1 second" })
        const wrong = [
          [{ statementTimeout: "a while" as never }, 'statementTimeout is "a while"; it has to be a duration'],
          [{ lockTimeout: -1 }, "lockTimeout is -1; it has to be a duration"],
          [{ timeout: Number.NaN }, "timeout is NaN; it has to be a duration"],
          [{ retry: { times: 1, base: -5 } }, "retry.base is -5; it has to be a duration"],
          [{ retry: { times: 1, base: "Infinity" as never } }, 'retry.base is "Infinity"; it has to be a duration'],
          [{ retry: { times: 1, base: Number.POSITIVE_INFINITY } }, "retry.base is not a finite duration"],
          [{ retry: { times: -1 } }, "retry.times is -1; it has to be an integer from 0 up"]
        ] as const
        for (const [options, problem] of wrong) {
          // Nobody waits for a connection to hear of it.
          const meanwhile = Effect.zipRight(sql.reserve, Effect.exit(repo.transact(Effect.void, options)))
          expect(died(yield* Effect.scoped(meanwhile))).toContain(problem)
          expect(died(yield* Effect.exit(repo.transact(repo.transact(Effect.void, options))))).toContain(problem)
        }
        expect(yield* sql`select 1 as one`).toEqual([{ one: 1 }])
        const Odd = Repo.layer({ transactions: { isolation: "serializable; create table odd()" as never } })
        expect(
          died(yield* Effect.exit(Effect.provide(Repo.transact(Effect.void), Odd.pipe(Layer.provide(own)))))
        ).toContain("isolation cannot be")
        expect(yield* sql`select to_regclass('odd') as odd`).toEqual([{ odd: null }])
      })
    )
  })
})
