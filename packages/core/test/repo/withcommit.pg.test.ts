/** What is sent together with a COMMIT, or with a write that is a transaction by itself: both or none. */
import { Model, SqlClient } from "@effect/sql"
import { PgClient } from "@effect/sql-pg"
import { describe, expect, layer } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Layer, Option, Schema, Scope } from "effect"
import * as Announcement from "../../src/repo/Announcement.js"
import * as Repo from "../../src/repo/Repo.js"
import * as Table from "../../src/repo/Table.js"
import * as Transaction from "../../src/repo/Transaction.js"
import { logged, TestRepo } from "./people.js"
import { pool } from "./pools.js"

/** What a driver takes, as far as it is looked into here. */
interface Submitted {
  query_timeout?: number
  handleError(error: Error): void
}

class Room extends Model.Class<Room>("Room")({
  id: Model.GeneratedByApp(Schema.Number),
  name: Schema.String
}) {}
const Rooms = Table.make(Room, { name: "rooms", key: "id", constraints: { rooms_name_key: Table.unique("name") } })

class Word extends Model.Class<Word>("Word")({
  text: Model.GeneratedByApp(Schema.String),
  at: Schema.DateFromSelf
}) {}
const Words = Table.make(Word, { name: "words", key: "text" })

const fixture = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  yield* sql`drop table if exists rooms, words, told cascade`
  yield* sql`create table rooms (id int primary key, name text not null constraint rooms_name_key unique deferrable initially immediate, written bigint)`
  yield* sql`create table words (text text primary key, at timestamptz not null)`
  yield* sql`create table told (n serial, keys text not null, transaction bigint not null)`
  yield* sql`create or replace function stamp() returns trigger language plpgsql as 'begin new.written := txid_current(); return new; end'`
  yield* sql`create trigger stamp before insert or update on rooms for each row execute function stamp()`
  yield* sql`insert into rooms values (1, 'a'), (2, 'b')`
  return sql
})

const INSERT = "insert into told (keys, transaction) values ($1, txid_current())"

/** Writes into a table, with each commit, what it is about. */
const telling = (text = INSERT, made?: (keys: string) => ReadonlyArray<string>) =>
  Effect.gen(function* () {
    const events: Array<string> = []
    yield* Announcement.withCommit((changes, onEnd) => {
      const keys = changes.map(({ keys, table }) => `${table} ${keys === "all" ? keys : keys.join()}`).join("; ")
      onEnd((outcome) => events.push(`${keys}: ${outcome}`))
      return { text, parameters: made === undefined ? [keys] : made(keys) }
    })
    yield* Announcement.listen(({ changes, outcome }) =>
      events.push(`heard ${outcome} ${changes.map(({ keys, table }) => `${table} ${keys}`).join("; ")}`)
    )
    return events
  })

const told = Effect.flatMap(SqlClient.SqlClient, (sql) =>
  Effect.map(sql<{ keys: string }>`select keys from told order by n`, (rows) => rows.map(({ keys }) => keys))
)
const names = Effect.map(Repo.all(Rooms), (rows) =>
  rows
    .map(({ id, name }) => `${id} ${name}`)
    .sort()
    .join()
)

describe("Announcement.withCommit", () => {
  layer(TestRepo, { excludeTestServices: true })((it) => {
    it.scoped("sends it with a write by itself, as one transaction and without begin and commit", () =>
      Effect.gen(function* () {
        const sql = yield* fixture
        const events = yield* telling()
        for (const name of ["x", "y"]) yield* Repo.update(Rooms, 1, { name })
        const { lines } = yield* logged(Repo.delete(Rooms, 2))
        expect(lines.filter((line) => /begin|commit/.test(line))).toEqual([])
        expect(yield* told).toEqual(["rooms 1", "rooms 1", "rooms 2"])
        expect(events).toEqual([
          "rooms 1: committed",
          "heard committed rooms 1",
          "rooms 1: committed",
          "heard committed rooms 1",
          "rooms 2: committed",
          "heard committed rooms 2"
        ])
        expect(yield* sql`select 1 from rooms join told on told.transaction = rooms.written where told.n = 2`).toEqual([
          { "?column?": 1 }
        ])
        // Nothing was there to be changed: it is told all the same, and by nobody here.
        expect(yield* Effect.flip(Repo.update(Rooms, 9, { name: "z" }))).toMatchObject({ _tag: "NotFound" })
        expect(events.slice(6)).toEqual(["rooms 9: committed"])
      })
    )

    it.scoped("sends it with the COMMIT of a write whose keys are not known before, and of a transaction", () =>
      Effect.gen(function* () {
        const sql = yield* fixture
        const events = yield* telling()
        yield* Repo.insert(Rooms, { id: 3, name: "c" })
        yield* Repo.insert(Words, { text: "word", at: new Date(0) })
        yield* Repo.update(Words, "word", { at: new Date(5) })
        yield* Repo.transact(
          Effect.zipRight(Repo.update(Rooms, 1, { name: "x" }), Repo.update(Rooms, 2, { name: "y" }))
        )
        yield* Repo.transact(Repo.fetch(Rooms, 1))
        yield* Repo.updateAll(Rooms, { id: 99 }, { name: "nobody" })
        yield* Announcement.touch(Rooms, [7])
        expect(yield* told).toEqual(["rooms 3", "words word", "words word", "rooms 1,2", "rooms 7"])
        expect(events.filter((event) => !event.endsWith("committed") && !event.startsWith("heard"))).toEqual([])
        const [found] = yield* sql`select count(*)::int as n from rooms join told on told.transaction = rooms.written`
        expect(found).toEqual({ n: 3 })
      })
    )

    it.scoped("begins the transaction of one write together with that, whatever becomes of it", () =>
      Effect.gen(function* () {
        const sql = yield* fixture
        const events = yield* telling()
        for (let n = 0; n < 3; n += 1)
          expect(yield* Effect.flip(Repo.insert(Rooms, { id: 3, name: "b" }))).toMatchObject({
            _tag: "UniqueViolation"
          })
        expect(events).toEqual([])
        yield* Repo.insert(Rooms, { id: 3, name: "c" })
        // What is logged takes the long way.
        const { lines } = yield* logged(Repo.insert(Rooms, { id: 5, name: "f" }))
        expect(lines.map((line) => line.split("\n")[1]?.replace(/ into .*/, ""))).toEqual([
          "begin",
          "insert",
          `${INSERT.replace(/ into .*/, "")}`
        ])
        // A statement that was prepared for the table as it was is prepared anew, as without.
        yield* sql`alter table rooms alter name type varchar(20)`
        yield* Repo.insert(Rooms, { id: 4, name: "d" })
        yield* sql`alter table rooms alter name type text`
        yield* Repo.update(Rooms, 4, { name: "e" })
        yield* Effect.flip(logged(Repo.insert(Rooms, { id: 5, name: "g" })))
        expect(yield* told).toEqual(["rooms 3", "rooms 5", "rooms 4", "rooms 4"])
        expect(events.filter((event) => !event.endsWith("committed") && !event.startsWith("heard"))).toEqual([])
        yield* sql`create or replace function stamp() returns trigger language plpgsql as 'begin perform pg_terminate_backend(pg_backend_pid()); return new; end'`
        expect(yield* Effect.flip(Repo.insert(Rooms, { id: 6, name: "h" }))).toMatchObject({ kind: "connection" })
        yield* sql`create or replace function stamp() returns trigger language plpgsql as 'begin perform pg_sleep(10); return new; end'`
        const writer = yield* Effect.fork(Repo.insert(Rooms, { id: 6, name: "h" }))
        yield* sql`select 1 from pg_stat_activity where wait_event = 'PgSleep' and datname = current_database()`.pipe(
          Effect.repeat({ until: (rows) => rows.length > 0 })
        )
        yield* Fiber.interrupt(writer)
        yield* sql`drop trigger stamp on rooms`
        yield* Repo.insert(Rooms, { id: 6, name: "h" })
        const [left] =
          yield* sql`select count(*)::int as n from pg_stat_activity where state like 'idle in%' and datname = current_database()`
        expect(left).toEqual({ n: 0 })
      })
    )

    it.scoped("writes nothing when it fails, with a write by itself or in a transaction", () =>
      Effect.gen(function* () {
        yield* fixture
        const events = yield* telling("select 1 / $1::int", () => ["0"])
        const ends: Array<string> = []
        expect(yield* Effect.flip(Repo.update(Rooms, 1, { name: "x" }))).toMatchObject({
          _tag: "DbError",
          code: "22012"
        })
        expect(yield* Effect.flip(Repo.insert(Rooms, { id: 3, name: "c" }))).toMatchObject({ code: "22012" })
        const inTransaction = Effect.gen(function* () {
          yield* Transaction.afterRollback(Effect.sync(() => ends.push("rolled back")))
          yield* Transaction.afterCommit(Effect.sync(() => ends.push("committed")))
          yield* Repo.update(Rooms, 1, { name: "x" })
        })
        const failure = yield* Effect.flip(Repo.transact(inTransaction))
        expect(failure).toMatchObject({ _tag: "DbError", code: "22012" })
        expect(failure.message).toMatch(/announce what this transaction changed/)
        expect(ends).toEqual(["rolled back"])
        expect(events).toEqual(["rooms 1: rolledBack", "rooms 3: rolledBack", "rooms 1: rolledBack"])
        expect(yield* names).toBe("1 a,2 b")
      })
    )

    it.scoped("does not end the transaction that it goes with: then nothing is written, and that is said", () =>
      Effect.gen(function* () {
        yield* fixture
        for (const text of ["rollback", " -- at once\n commit", "begin", "prepare transaction 'one'"]) {
          const writes = Effect.gen(function* () {
            const events = yield* telling(text, () => [])
            for (const write of [
              Repo.update(Rooms, 1, { name: "x" }),
              Repo.transact(Repo.update(Rooms, 2, { name: "y" }))
            ]) {
              const exit = yield* Effect.exit(write)
              expect(Exit.isFailure(exit) && String(exit.cause)).toMatch(/begins or ends a transaction/)
            }
            expect(events).toEqual(["rooms 1: rolledBack", "rooms 2: rolledBack"])
          })
          yield* Effect.scoped(writes)
        }
        expect(yield* names).toBe("1 a,2 b")
        yield* Repo.update(Rooms, 1, { name: "x" })
      })
    )

    it.scoped("may be nothing at all: a text without a statement is sent, and what goes with it is committed", () =>
      Effect.gen(function* () {
        yield* fixture
        const events = yield* telling("-- nothing", () => [])
        yield* Repo.update(Rooms, 1, { name: "x" })
        yield* Repo.insert(Rooms, { id: 3, name: "c" })
        yield* Repo.transact(Repo.update(Rooms, 2, { name: "y" }))
        expect(events.filter((event) => !event.startsWith("heard"))).toEqual([
          "rooms 1: committed",
          "rooms 3: committed",
          "rooms 2: committed"
        ])
        expect(yield* names).toBe("1 x,2 y,3 c")
      })
    )

    it.scoped("does not know of a write that the driver did not wait for, and knows its statements afterwards", () =>
      Effect.gen(function* () {
        const sql = yield* fixture
        const one = yield* pool(1)
        const reserved: unknown = yield* Effect.scoped(one.sql.reserve)
        // Sound: it is a connection of @effect/sql-pg's.
        const { pg } = reserved as { readonly pg: { query(submitted: Submitted, ...rest: Array<unknown>): unknown } }
        const query = pg.query.bind(pg)
        const gaveUp = yield* Deferred.make<void>()
        pg.query = (submitted, ...rest) => {
          pg.query = query
          const handleError = submitted.handleError.bind(submitted)
          submitted.handleError = (error) => {
            handleError(error)
            Deferred.unsafeDone(gaveUp, Effect.void)
          }
          submitted.query_timeout = 1
          return query(submitted, ...rest)
        }
        const events = yield* Effect.provideService(telling(), Repo.Repo, one.repo)
        const locked = yield* Deferred.make<void>()
        const lock = Effect.zipRight(Deferred.succeed(locked, undefined), Deferred.await(gaveUp))
        const other = yield* Effect.fork(sql.withTransaction(Effect.zipRight(sql`lock table rooms`, lock)))
        yield* Deferred.await(locked)
        expect((yield* Effect.flip(one.repo.update(Rooms, 1, { name: "x" }))).message).toMatch(/read timeout/)
        yield* Fiber.join(other)
        expect(events.splice(0)).toEqual(["rooms 1: unknown", "heard unknown rooms 1"])
        yield* one.repo.update(Rooms, 2, { name: "y" })
        expect(events).toEqual(["rooms 2: committed", "heard committed rooms 2"])
        expect(yield* names).toBe("1 x,2 y")
      })
    )

    it.scoped("tells nobody of a write that failed, however often, and goes on", () =>
      Effect.gen(function* () {
        const sql = yield* fixture
        const events = yield* telling()
        for (let n = 0; n < 3; n += 1)
          expect(yield* Effect.flip(Repo.update(Rooms, 1, { name: "b" }))).toMatchObject({ _tag: "UniqueViolation" })
        expect(events.splice(0)).toEqual(["rooms 1: rolledBack", "rooms 1: rolledBack", "rooms 1: rolledBack"])
        // Only when both are through.
        yield* sql`alter table rooms drop constraint rooms_name_key, add constraint rooms_name_key unique (name) deferrable initially deferred`
        expect(yield* Effect.flip(Repo.update(Rooms, 1, { name: "b" }))).toMatchObject({ _tag: "UniqueViolation" })
        expect(events.splice(0)).toEqual(["rooms 1: rolledBack"])
        expect(yield* Effect.flip(Repo.transact(Repo.update(Rooms, 1, { name: "b" })))).toMatchObject({
          _tag: "CommitFailed",
          outcome: "rolledBack"
        })
        expect(events.splice(0)).toEqual(["rooms 1: rolledBack"])
        yield* Repo.update(Rooms, 1, { name: "c" })
        expect(events).toEqual(["rooms 1: committed", "heard committed rooms 1"])
        expect(yield* told).toEqual(["rooms 1"])
      })
    )

    it.scoped("says of a transaction whose failure was swallowed what COMMIT would have said", () =>
      Effect.gen(function* () {
        const sql = yield* fixture
        const events = yield* telling()
        const failure = yield* Effect.flip(
          Repo.transact(Effect.zipRight(Repo.update(Rooms, 1, { name: "x" }), Effect.ignore(sql`select 1 / 0`)))
        )
        expect(failure).toMatchObject({ _tag: "CommitFailed", outcome: "rolledBack", code: "25P02" })
        expect(events).toEqual(["rooms 1: rolledBack"])
        expect(yield* names).toBe("1 a,2 b")
      })
    )

    it.scoped("knows that a write which was interrupted while it waited has done nothing", () =>
      Effect.gen(function* () {
        const sql = yield* fixture
        const events = yield* telling()
        const isLocked = yield* Deferred.make<void>()
        const go = yield* Deferred.make<void>()
        const holder = yield* Effect.fork(
          Repo.transact(
            Effect.zipRight(
              sql`select 1 from rooms where id = 1 for update`,
              Effect.zipRight(Deferred.succeed(isLocked, undefined), Deferred.await(go))
            )
          )
        )
        yield* Deferred.await(isLocked)
        const writer = yield* Effect.fork(Repo.update(Rooms, 1, { name: "x" }))
        yield* sql`select 1 from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()`.pipe(
          Effect.repeat({ until: (rows) => rows.length > 0 })
        )
        yield* Fiber.interrupt(writer)
        expect(events).toEqual(["rooms 1: rolledBack"])
        yield* Deferred.succeed(go, undefined)
        yield* Fiber.join(holder)
        expect(yield* names).toBe("1 a,2 b")
      })
    )

    it.scoped("does not know of a write whose connection ended", () =>
      Effect.gen(function* () {
        const sql = yield* fixture
        const events = yield* telling()
        yield* sql`create or replace function stamp() returns trigger language plpgsql as 'begin perform pg_terminate_backend(pg_backend_pid()); return new; end'`
        expect(yield* Effect.flip(Repo.update(Rooms, 1, { name: "x" }))).toMatchObject({ kind: "connection" })
        expect(events).toEqual(["rooms 1: unknown", "heard unknown rooms 1"])
      })
    )

    it.scoped("does not know of a COMMIT whose connection ended, and has nobody wait for it", () =>
      Effect.gen(function* () {
        const sql = yield* fixture
        const events = yield* telling()
        yield* sql`create or replace function ending() returns trigger language plpgsql as 'begin perform pg_terminate_backend(pg_backend_pid()); return null; end'`
        yield* sql`create constraint trigger ending after insert or update on rooms deferrable initially deferred for each row execute function ending()`
        expect(yield* Effect.flip(Repo.transact(Repo.update(Rooms, 1, { name: "x" })))).toMatchObject({
          _tag: "CommitFailed",
          outcome: "unknown"
        })
        expect(yield* Effect.flip(Repo.update(Rooms, 1, { name: "x" }))).toMatchObject({
          kind: "connection",
          retryable: false
        })
        expect(yield* Effect.flip(Repo.insert(Rooms, { id: 3, name: "x" }))).toMatchObject({
          kind: "connection",
          retryable: false
        })
        expect(events).toEqual(
          ["1", "1", "3"].flatMap((key) => [`rooms ${key}: unknown`, `heard unknown rooms ${key}`])
        )
        yield* sql`drop trigger ending on rooms`
        yield* Repo.transact(Repo.update(Rooms, 1, { name: "x" }))
        expect(yield* told).toEqual(["rooms 1"])
      })
    )

    it.scoped("rolls back where it cannot be made, and loses no connection by it", () =>
      Effect.gen(function* () {
        const sql = yield* fixture
        const scope = yield* Scope.make()
        yield* Scope.extend(
          Announcement.withCommit(() => {
            throw new Error("not made")
          }),
          scope
        )
        for (let n = 0; n < 20; n += 1) {
          const exit = yield* Effect.exit(Repo.transact(Repo.update(Rooms, 1, { name: "x" })))
          expect(Exit.isFailure(exit) && String(exit.cause)).toMatch(/not made/)
          expect(Exit.isFailure(yield* Effect.exit(Repo.update(Rooms, 1, { name: "x" })))).toBe(true)
        }
        yield* Scope.close(scope, Exit.void)
        expect(yield* names).toBe("1 a,2 b")
        const [left] =
          yield* sql`select count(*)::int as n from pg_stat_activity where state like 'idle in%' and datname = current_database()`
        expect(left).toEqual({ n: 0 })
      })
    )

    it.scoped("tells of a write that was on its way when the effect of its transaction ended", () =>
      Effect.gen(function* () {
        const sql = yield* fixture
        yield* telling()
        yield* sql`create or replace function stamp() returns trigger language plpgsql as 'begin perform pg_sleep(0.2); return new; end'`
        yield* Repo.transact(
          Effect.gen(function* () {
            yield* Effect.forkDaemon(Repo.update(Rooms, 2, { name: "late" }))
            yield* Effect.yieldNow()
            yield* Effect.yieldNow()
            yield* Announcement.touch(Rooms, [1])
          })
        )
        expect(yield* names).toBe("1 a,2 late")
        expect(yield* told).toEqual(["rooms 1,2"])
      })
    )

    it.scoped("goes by the connection of a session, and without prepared statements", () =>
      Effect.gen(function* () {
        yield* fixture
        yield* telling()
        yield* Repo.session(Repo.update(Rooms, 1, { name: "s" }))
        const unprepared = yield* Layer.build(
          Repo.layer({ prepare: false }).pipe(
            Layer.provide(Layer.succeed(SqlClient.SqlClient, yield* PgClient.PgClient))
          )
        )
        for (const name of ["t", "u"])
          yield* Effect.provide(
            Effect.zipRight(
              Repo.update(Rooms, 1, { name }),
              Repo.transact(Repo.update(Rooms, 2, { name: `${name}2` }))
            ),
            unprepared
          )
        expect(yield* names).toBe("1 u,2 u2")
        yield* Effect.provide(Repo.insert(Rooms, { id: 3, name: "v" }), unprepared)
        yield* Repo.session(Repo.insert(Rooms, { id: 4, name: "w" }))
        expect(yield* told).toEqual(["rooms 1", "rooms 1", "rooms 2", "rooms 1", "rooms 2", "rooms 3", "rooms 4"])
      })
    )

    it.scoped("is prepared anew where a program has thrown away what its connection had prepared", () =>
      Effect.gen(function* () {
        yield* fixture
        const { config } = yield* PgClient.PgClient
        const context = yield* Layer.build(
          Repo.layer().pipe(Layer.provideMerge(PgClient.layer({ ...config, maxConnections: 1 })))
        )
        yield* Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          yield* telling()
          const writes = [
            Repo.update(Rooms, 1, { name: "x" }),
            Repo.insert(Rooms, { id: 3, name: "c" }),
            Repo.delete(Rooms, 3),
            Repo.transact(Repo.update(Rooms, 2, { name: "y" }), { retry: { times: 1, base: 1 } })
          ]
          for (const write of writes) yield* write
          yield* Repo.delete(Rooms, 1)
          for (const write of [Repo.insert(Rooms, { id: 1, name: "a" }), ...writes]) {
            yield* sql`deallocate all`
            yield* write
          }
        }).pipe(Effect.provide(context))
        expect(yield* names).toBe("1 x,2 y")
      })
    )

    it.scoped(
      "is prepared anew where its table has got other types: that fails one transaction, and no write by itself",
      () =>
        Effect.gen(function* () {
          const sql = yield* fixture
          yield* telling("insert into told (keys, transaction) values ($1, 1)", () => ["1"])
          const write = (name: string) => Repo.update(Rooms, 1, { name })
          yield* write("w")
          yield* Repo.transact(write("x"))
          yield* sql`alter table told alter column keys type jsonb using keys::jsonb`
          yield* write("y")
          yield* Repo.transact(write("yy"))
          yield* sql`alter table told alter column keys type int using 0`
          expect(yield* Effect.flip(Repo.transact(write("z")))).toMatchObject({ code: "42804" })
          yield* Repo.transact(write("z"))
          yield* write("zz")
          expect(yield* names).toBe("1 zz,2 b")
          expect(yield* sql`select count(*)::int as n from told`).toEqual([{ n: 6 }])
        })
    )

    it.scoped("leaves a write in the kind of transaction that its Repo was made for", () =>
      Effect.gen(function* () {
        const sql = yield* fixture
        yield* telling()
        yield* sql`create or replace function stamp() returns trigger language plpgsql as 'begin new.name := new.name || current_setting(''transaction_isolation'') || current_setting(''lock_timeout''); return new; end'`
        const client = yield* PgClient.PgClient
        for (const [id, transactions, seen] of [
          [3, { isolation: "serializable" }, "serializable0"],
          [4, { isolation: "repeatable read", lockTimeout: "3 seconds" }, "repeatable read3s"]
        ] as const) {
          const context = yield* Layer.build(
            Repo.layer({ transactions }).pipe(Layer.provide(Layer.succeed(SqlClient.SqlClient, client)))
          )
          const written = Effect.zip(Repo.insert(Rooms, { id, name: "i" }), Repo.update(Rooms, id, { name: "u" })).pipe(
            Effect.provide(context)
          )
          expect((yield* written).map(({ name }) => name)).toEqual([`i${seen}`, `u${seen}`])
        }
        expect(yield* told).toEqual(["rooms 3", "rooms 3", "rooms 4", "rooms 4"])
      })
    )

    it.scoped("sends nothing from a sandbox, whose work is observed all the same", () =>
      Effect.gen(function* () {
        yield* fixture
        const events = yield* telling()
        yield* Effect.zipRight(
          Repo.update(Rooms, 1, { name: "x" }),
          Repo.transact(Repo.update(Rooms, 2, { name: "y" }))
        ).pipe(Effect.provide(Repo.sandbox))
        expect(events).toEqual(["heard committed rooms 1", "heard committed rooms 2"])
        expect(yield* told).toEqual([])
      })
    )

    it.scoped("is sent behind each write inside of a transaction that is not ours", () =>
      Effect.gen(function* () {
        yield* fixture
        const events = yield* telling()
        const client = yield* PgClient.PgClient
        yield* client.withTransaction(Repo.update(Rooms, 1, { name: "x" }))
        expect(yield* told).toEqual(["rooms 1"])
        expect(events.filter((event) => !event.startsWith("heard"))).toEqual(["rooms 1: committed"])
      })
    )

    it.scoped("comes behind what runs before the commit, which is a transaction's own", () =>
      Effect.gen(function* () {
        yield* fixture
        yield* telling()
        yield* Announcement.beforeCommit(() => Effect.orDie(Announcement.touch(Rooms, [8])))
        yield* Repo.update(Rooms, 1, { name: "x" })
        expect(yield* told).toEqual(["rooms 1,8"])
        const exit = yield* Effect.exit(
          Effect.scoped(
            Announcement.withCommit(() => ({ text: "nonsense", parameters: [] })).pipe(
              Effect.zipRight(Repo.update(Rooms, 1, { name: "y" }))
            )
          )
        )
        expect(Exit.isFailure(exit)).toBe(true)
        expect(Option.getOrUndefined(yield* Repo.get(Rooms, 1))?.name).toBe("x")
      })
    )
  })
})
