/** Statements that were written by hand and reach for what `transact` decides. */
import { SqlClient } from "@effect/sql"
import { describe, expect, layer } from "@effect/vitest"
import { Effect, Option, Stream } from "effect"
import * as Repo from "../../src/repo/Repo.js"
import * as Table from "../../src/repo/Table.js"
import * as Transaction from "../../src/repo/Transaction.js"
import { EmbeddedPostgres } from "../../src/testing.js"
import { isAtLeast } from "./backends.js"
import { ada, freshTables, People } from "./people.js"
import { pool } from "./pools.js"

const table = Effect.flatMap(
  SqlClient.SqlClient,
  (sql) => sql`drop table if exists notes; create table notes (id int primary key)`
)

const ids = Effect.map(
  Effect.flatMap(SqlClient.SqlClient, (sql) => sql<{ id: number }>`select id from notes order by id`),
  (rows) => rows.map((row) => row.id)
)

describe("inside of a transaction", () => {
  layer(EmbeddedPostgres, { excludeTestServices: true })((it) => {
    it.effect.each([
      "commit",
      "COMMIT WORK;",
      "end",
      "rollback",
      "rollback and chain",
      "abort",
      "begin",
      "start transaction",
      "prepare transaction 'x'",
      "start /* */ transaction",
      "prepare -- it\n transaction 'x'",
      "-- it looks harmless\n /* and so /* does this */ */ commit"
    ])("%j is refused, and nothing of the transaction is lost or kept by it", (text) =>
      Effect.gen(function* () {
        yield* table
        const sql = yield* SqlClient.SqlClient
        const error = yield* Effect.flip(
          Transaction.transact(Effect.zipRight(sql`insert into notes values (1)`, sql.unsafe(text)))
        )
        expect(error).toMatchObject({ _tag: "SqlError" })
        expect(String(error.cause)).toContain("transact alone begins and ends its transaction")
        expect(yield* ids).toEqual([])
        // It was never sent, so the rest can go on.
        yield* Transaction.transact(Effect.zipRight(Effect.ignore(sql.unsafe(text)), sql`insert into notes values (2)`))
        expect(yield* ids).toEqual([2])
      })
    )

    it.effect("savepoints may be made and gone back to by hand", () =>
      Effect.gen(function* () {
        yield* table
        const sql = yield* SqlClient.SqlClient
        yield* Transaction.transact(
          Effect.gen(function* () {
            yield* sql`insert into notes values (1)`
            yield* sql`savepoint mine`
            yield* sql`insert into notes values (2)`
            yield* sql`rollback to savepoint mine`
            yield* sql`rollback work to mine`
            yield* sql`release mine`
          })
        )
        expect(yield* ids).toEqual([1])
      })
    )

    it.effect("words of its own are no reason to refuse a statement", () =>
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const rows = yield* Transaction.transact(sql`select 'commit' as commit, 'rollback' as "end"`)
        expect(rows).toEqual([{ commit: "commit", end: "rollback" }])
        yield* Transaction.transact(sql.unsafe("do $$ begin perform 1; end $$"))
        yield* Transaction.transact(sql.unsafe("/* a */ select case when true then 1 /* b */ end"))
      })
    )

    it.effect.each([
      "insert into notes values (1); commit",
      "insert into notes values (1); commit; begin",
      "select 1;\n-- and then\n/* /* really */ */ end; begin",
      "-- nothing to see\rcommit",
      "select '\\''; commit; begin; select '\\''",
      "insert into notes values (1); commit and chain",
      "insert into notes values (1); rollback and chain",
      "insert into notes values (1); rollback; begin",
      "select E'a'\n'\\'', '\\'; rollback and chain; select 1 -- '",
      "create function pg_temp.f(begin int) returns int language sql return 1; rollback and chain",
      "create function pg_temp.f() returns int begin atomic select 1 as case; end; rollback and chain"
    ])("%j is found behind what it hides in, and not sent", (text) =>
      Effect.gen(function* () {
        yield* table
        const sql = yield* SqlClient.SqlClient
        const events: Array<string> = []
        const hidden = Effect.gen(function* () {
          yield* sql`insert into notes values (7)`
          yield* Transaction.afterCommit(Effect.sync(() => events.push("committed")))
          yield* Transaction.afterRollback(Effect.sync(() => events.push("rolled back")))
          yield* sql.unsafe(text)
        })
        for (const error of [
          yield* Effect.flip(Transaction.transact(hidden)),
          yield* Effect.flip(Transaction.transact(Transaction.transact(hidden)))
        ]) {
          expect(error).toMatchObject({ _tag: "SqlError" })
          expect(String(Object(error).cause)).toContain("transact alone begins and ends its transaction")
        }
        expect(events).toEqual(["rolled back", "rolled back"])
        expect(yield* ids).toEqual([])
        const streamed = Transaction.transact(Stream.runDrain(sql.unsafe(`select 1; ${text}`).stream))
        expect(String(Object(yield* Effect.flip(streamed)).cause)).toContain("transact alone begins and ends")
        expect(yield* ids).toEqual([])
      })
    )

    it.effect("statements in one text that only look like it are sent", () =>
      Effect.gen(function* () {
        yield* table
        const sql = yield* SqlClient.SqlClient
        yield* Transaction.transact(
          Effect.gen(function* () {
            yield* sql.unsafe("select 'a; commit; b', $$; commit;$$; insert into notes values (1) /* ; commit; */")
            yield* sql.unsafe("savepoint mine; insert into notes values (2); rollback to mine; release mine")
            yield* sql.unsafe("prepare three as insert into notes values (3); deallocate three")
            if (yield* isAtLeast(14))
              yield* sql.unsafe(
                "create or replace function one() returns int language sql begin atomic select 0; select case when true then 1 end; end; select one()"
              )
          })
        )
        expect(yield* ids).toEqual([1])
      })
    )
  })
})

describe("outside of a transaction", () => {
  layer(EmbeddedPostgres, { excludeTestServices: true })((it) => {
    it.scoped("begin is refused, in a session too, and nobody's later write is lost with it", () =>
      Effect.gen(function* () {
        yield* table
        const { repo, sql } = yield* pool(1)
        for (const run of [sql.unsafe("begin"), repo.session(sql.unsafe("begin; insert into notes values (9)"))]) {
          const error = yield* Effect.flip(run)
          expect(String(error.cause)).toContain("transact alone begins and ends")
          yield* sql`insert into notes values (1)`
          expect(yield* ids).toEqual([1])
          yield* sql`delete from notes`
        }
      })
    )

    it.scoped.each([
      ["a pool", (run: Effect.Effect<unknown, unknown, SqlClient.SqlClient>) => run],
      ["a session", undefined]
    ] as const)(
      "a transaction that hides in several statements fails them, and is over for whoever comes next: %s",
      ([_, alone]) =>
        Effect.gen(function* () {
          yield* table
          const { repo, sql } = yield* pool(1)
          const within = alone ?? ((run: Effect.Effect<unknown, unknown, SqlClient.SqlClient>) => repo.session(run))
          yield* within(
            Effect.gen(function* () {
              const open = yield* Effect.flip(sql.unsafe("select 1; begin; insert into notes values (1)"))
              expect(String(open.cause)).toContain("one of which begins a transaction that none of them ends")
              yield* sql`insert into notes values (2)`
              yield* Effect.flip(sql.unsafe("select 1; begin; insert into notes values (3); select 1 / 0; commit"))
              yield* sql`insert into notes values (4)`
              expect(yield* ids).toEqual([2, 4])
            })
          )
          yield* sql`insert into notes values (5)`
          expect(yield* ids).toEqual([2, 4, 5])
        })
    )

    it.scoped("a connection that was reserved by hand goes back without what was begun on it", () =>
      Effect.gen(function* () {
        yield* table
        const { repo, sql } = yield* pool(1)
        for (const text of ["insert into notes values (1)", "select 1 / 0"]) {
          yield* Effect.scoped(
            Effect.flatMap(sql.reserve, (connection) =>
              Effect.zipRight(connection.executeRaw("begin", []), Effect.ignore(connection.executeRaw(text, [])))
            )
          )
          yield* repo.transact(sql`insert into notes values (2)`)
          expect(yield* ids).toEqual([2])
          yield* sql`delete from notes`
        }
      })
    )

    it.scoped("several statements that leave nothing open are run", () =>
      Effect.gen(function* () {
        yield* table
        const { sql } = yield* pool(1)
        yield* sql.unsafe("insert into notes values (1); insert into notes values (2);")
        expect(yield* ids).toEqual([1, 2])
      })
    )
  })
})

describe("a hook", () => {
  layer(EmbeddedPostgres, { excludeTestServices: true })((it) => {
    it.scoped("that fails with the CommitFailed of a transaction of its own is reported as it fails", () =>
      Effect.gen(function* () {
        const sql = yield* freshTables
        const { repo, sql: other } = yield* pool(2)
        const Hooked = People.pipe(
          Table.hooks({
            beforeInsert: (row) => Effect.as(Repo.transact(Effect.ignore(other`select 1 / 0`)), row)
          })
        )
        const error = yield* Effect.flip(repo.insert(Hooked, { ...ada, nickName: Option.none() }))
        expect(error).toMatchObject({ _tag: "CommitFailed", code: "25P02", outcome: "rolledBack" })
        expect(yield* sql`select 1 from people`).toEqual([])
      })
    )

    it.scoped("whose write is refused at the commit fails the call as that write", () =>
      Effect.gen(function* () {
        const sql = yield* freshTables
        const { repo } = yield* pool(2)
        yield* sql`alter table people drop constraint people_email_key, add constraint people_email_key unique (email) deferrable initially deferred`
        const Hooked = People.pipe(Table.hooks({ beforeInsert: (row) => Effect.succeed(row) }))
        yield* repo.insert(Hooked, { ...ada, nickName: Option.none() })
        const error = yield* Effect.flip(repo.insert(Hooked, { ...ada, nickName: Option.none() }))
        expect(error).toMatchObject({ _tag: "UniqueViolation", constraint: "people_email_key" })
      })
    )
  })
})
