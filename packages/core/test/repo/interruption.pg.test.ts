/** What interruption and a server that does not answer do to connections. */
import { Model, SqlClient } from "@effect/sql"
import { PgClient } from "@effect/sql-pg"
import { describe, expect, layer } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Redacted, Schema, TestContext } from "effect"
import { afterEach, beforeEach, vi } from "vitest"
import * as Table from "../../src/repo/Table.js"
import * as Transaction from "../../src/repo/Transaction.js"
import { EmbeddedPostgres } from "../../src/testing.js"
import { gate } from "./gate.js"
import { pool, sendingPool } from "./pools.js"

class Mark extends Model.Class<Mark>("Mark")({ id: Model.GeneratedByApp(Schema.Number) }) {}
const Marks = Table.make(Mark, { name: "marks", key: "id" })

const running = Effect.map(
  Effect.flatMap(
    SqlClient.SqlClient,
    (sql) => sql<{ pid: number; state: string; query: string }>`
      select pid, state, query from pg_stat_activity
      where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend'`
  ),
  (rows) => rows
)

/** The backends that sleep, once there are so many. */
const sleeping = (count: number) =>
  Effect.map(
    Effect.repeat(running, {
      until: (rows) => rows.filter((row) => row.state === "active" && row.query.includes("pg_sleep")).length === count
    }),
    (rows) => rows.filter((row) => row.query.includes("pg_sleep")).map((row) => row.pid)
  )

const pidOf = (sql: SqlClient.SqlClient) =>
  Effect.map(sql<{ pid: number }>`select pg_backend_pid() as pid`, (rows) => rows[0]?.pid)

const idleInTransaction = Effect.map(running, (rows) => rows.filter((row) => row.state.startsWith("idle in")))

/** Enough for whatever needs no answer. */
const turns = Effect.repeatN(
  Effect.promise(() => new Promise(setImmediate)),
  20
)

/** A pool whose way to the server can be shut. */
const shuttable = (maxConnections: number) =>
  Effect.gen(function* () {
    const { config } = yield* PgClient.PgClient
    const { port, ...way } = yield* gate
    const address = new URL(Redacted.value(config.url ?? Redacted.make("postgres://localhost")))
    const made = yield* pool(maxConnections, {
      url: undefined,
      host: "127.0.0.1",
      port,
      username: config.username ?? decodeURIComponent(address.username),
      database: config.database ?? address.pathname.slice(1)
    })
    return { ...made, ...way }
  })

describe("a statement that is interrupted", () => {
  layer(EmbeddedPostgres, { excludeTestServices: true })((it) => {
    it.scoped("is stopped on the server although the pool has no other connection, and keeps its connection", () =>
      Effect.gen(function* () {
        const { sql } = yield* pool(1)
        const pid = yield* pidOf(sql)
        const fiber = yield* Effect.fork(sql`select pg_sleep(600)`)
        expect(yield* sleeping(1)).toEqual([pid])
        expect(Exit.isInterrupted(yield* Fiber.interrupt(fiber))).toBe(true)
        yield* sleeping(0)
        expect(yield* pidOf(sql)).toBe(pid)
      })
    )

    it.scoped("in a transaction ends that at once although the pool has no other connection", () =>
      Effect.gen(function* () {
        const { repo, sql } = yield* pool(1)
        const pid = yield* pidOf(sql)
        const fiber = yield* Effect.fork(repo.transact(sql`select pg_sleep(600)`))
        expect(yield* sleeping(1)).toEqual([pid])
        yield* Fiber.interrupt(fiber)
        expect(yield* idleInTransaction).toEqual([])
        expect(yield* pidOf(sql)).toBe(pid)
      })
    )

    it.scoped("in a savepoint leaves the transaction around it usable", () =>
      Effect.gen(function* () {
        const { repo, sql } = yield* pool(1)
        const begun = yield* Deferred.make<Fiber.Fiber<unknown, unknown>>()
        const outer = yield* Effect.fork(
          repo.transact(
            Effect.gen(function* () {
              const inner = yield* Effect.fork(repo.transact(sql`select pg_sleep(600)`))
              yield* Deferred.succeed(begun, inner)
              yield* Fiber.await(inner)
              return yield* sql`select 1 as one`
            })
          )
        )
        yield* sleeping(1)
        yield* Fiber.interrupt(yield* Deferred.await(begun))
        const value = yield* Fiber.join(outer)
        expect(value).toEqual([{ one: 1 }])
      })
    )

    it.scoped("together with all others of its pool is stopped", () =>
      Effect.gen(function* () {
        const { repo, sql } = yield* pool(3)
        const fibers = yield* Effect.forEach(
          [sql`select pg_sleep(600)`, repo.transact(sql`select pg_sleep(600)`), sql`select pg_sleep(600)`.values],
          (effect) => Effect.fork(effect as Effect.Effect<unknown, unknown>)
        )
        yield* sleeping(3)
        yield* Fiber.interruptAll(fibers)
        yield* sleeping(0)
        expect(yield* Effect.all([pidOf(sql), pidOf(sql), pidOf(sql)], { concurrency: 3 })).toHaveLength(3)
      })
    )

    it.scoped("is stopped while the clock of a test stands still", () =>
      Effect.gen(function* () {
        const { repo, sql } = yield* pool(1)
        const fiber = yield* Effect.fork(
          Effect.provide(repo.transact(sql`select pg_sleep(600)`), TestContext.TestContext)
        )
        yield* sleeping(1)
        yield* Fiber.interrupt(fiber)
        expect(yield* idleInTransaction).toEqual([])
      })
    )

    it.scoped("is stopped although the request to stop it arrives before it does", () =>
      Effect.gen(function* () {
        const { delay, open, sql } = yield* shuttable(1)
        const pid = yield* pidOf(sql)
        yield* delay
        const fiber = yield* Effect.fork(sql`select pg_sleep(600)`)
        yield* turns
        const interrupted = yield* Effect.fork(Fiber.interrupt(fiber))
        yield* turns
        yield* open
        yield* Fiber.join(interrupted)
        expect(yield* pidOf(sql)).toBe(pid)
      })
    )

    it.scoped(
      "is not sent any more where its connection is still at what the program sent, and leaves that alone",
      () =>
        Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          yield* sql`create table marks (id int primary key)`
          const held = yield* sql.reserve
          yield* held.executeRaw("select pg_advisory_lock(77)", [])
          const sent: Array<Promise<unknown>> = []
          const repo = yield* sendingPool(1, (client) => {
            const done = client.query("select pg_advisory_lock(77)")
            sent.push(done)
            return done
          })
          const fiber = yield* Effect.fork(repo.insert(Marks, { id: 1 }))
          yield* Effect.repeat(running, {
            until: (rows) => rows.some(({ query, state }) => state === "active" && query.includes("pg_advisory_lock"))
          })
          yield* turns
          const interrupting = yield* Effect.fork(Fiber.interrupt(fiber))
          yield* turns
          yield* held.executeRaw("select pg_advisory_unlock(77)", [])
          expect(Exit.isInterrupted(yield* Fiber.join(interrupting))).toBe(true)
          expect((yield* Effect.promise(() => Promise.allSettled(sent))).map(({ status }) => status)).toEqual([
            "fulfilled"
          ])
          expect(yield* sql`select id from marks`).toEqual([])
          yield* repo.insert(Marks, { id: 3 })
          expect(yield* sql`select id from marks`).toEqual([{ id: 3 }])
        })
    )

    it.scoped("never takes a later statement of its connection along", () =>
      Effect.gen(function* () {
        const { repo, sql } = yield* pool(1)
        for (let yields = 0; yields < 150; yields++) {
          const fiber = yield* Effect.fork(
            yields % 2 === 0 ? sql`select pg_sleep(0.001)` : repo.transact(sql`select pg_sleep(0.001)`)
          )
          for (let each = 0; each < yields; each++) yield* Effect.promise(() => new Promise(setImmediate))
          yield* Fiber.interrupt(fiber)
          expect(yield* sql`select pg_sleep(0.001), 1 as one`).toMatchObject([{ one: 1 }])
        }
      })
    )
  })
})

describe("a server that does not answer", () => {
  layer(EmbeddedPostgres, { excludeTestServices: true })((it) => {
    beforeEach(() => {
      vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] })
    })
    afterEach(() => {
      vi.useRealTimers()
    })

    /** Lets time go by, in seconds, until the fiber has ended. */
    const outlast = <A, E>(fiber: Fiber.Fiber<A, E>) =>
      Effect.gen(function* () {
        let seconds = 0
        const over = yield* Effect.fork(Fiber.await(fiber))
        while ((yield* Fiber.poll(over))._tag === "None") {
          yield* turns
          if ((yield* Fiber.poll(over))._tag === "Some") break
          vi.advanceTimersByTime(1000)
          seconds += 1
          if (seconds > 60) return yield* Effect.die("it waits for ever")
        }
        return { exit: yield* Fiber.join(over), seconds }
      })

    it.scoped("keeps nobody who is interrupted, and its connection is replaced", () =>
      Effect.gen(function* () {
        const { open, shut, sql } = yield* shuttable(1)
        const pid = yield* pidOf(sql)
        yield* shut
        const fiber = yield* Effect.fork(sql`select pg_sleep(0)`)
        yield* turns
        const interrupted = yield* Effect.fork(Fiber.interrupt(fiber))
        const { seconds } = yield* outlast(interrupted)
        expect(seconds).toBeLessThanOrEqual(2)
        yield* open
        expect(yield* pidOf(sql)).not.toBe(pid)
      })
    )

    it.scoped("keeps no transaction that is interrupted: its connection is closed, and the server rolls back", () =>
      Effect.gen(function* () {
        const { open, repo, shut, sql } = yield* shuttable(1)
        const events: Array<string> = []
        const entered = yield* Deferred.make<void>()
        const fiber = yield* Effect.fork(
          repo.transact(
            Effect.gen(function* () {
              yield* sql`create table frozen (id int)`
              yield* Transaction.afterRollback(Effect.sync(() => events.push("rolled back")))
              yield* Deferred.succeed(entered, undefined)
              return yield* Effect.never
            })
          )
        )
        yield* Deferred.await(entered)
        yield* shut
        const { seconds } = yield* outlast(yield* Effect.fork(Fiber.interrupt(fiber)))
        expect(seconds).toBeLessThanOrEqual(6)
        expect(events).toEqual(["rolled back"])
        yield* open
        expect(yield* repo.transact(sql`select to_regclass('frozen') as found`)).toEqual([{ found: null }])
      })
    )

    it.scoped("fails a savepoint that has to be undone, and with it the whole", () =>
      Effect.gen(function* () {
        const { repo, shut } = yield* shuttable(1)
        const isShut = yield* Deferred.make<void>()
        const fiber = yield* Effect.fork(
          repo.transact(
            Effect.either(
              repo.transact(
                shut.pipe(Effect.zipRight(Deferred.succeed(isShut, undefined)), Effect.zipRight(Effect.fail("no")))
              )
            )
          )
        )
        yield* Deferred.await(isShut)
        const { exit, seconds } = yield* outlast(fiber)
        expect(seconds).toBeLessThanOrEqual(12)
        expect(Exit.isFailure(exit) && String(exit.cause)).toContain("could not commit")
      })
    )

    it.scoped("fails BEGIN as a connection that was lost", () =>
      Effect.gen(function* () {
        const { repo, shut, sql } = yield* shuttable(1)
        yield* pidOf(sql)
        yield* shut
        const { exit } = yield* outlast(yield* Effect.fork(Effect.flip(repo.transact(Effect.void))))
        expect(exit).toMatchObject({ value: { _tag: "DbError", kind: "connection", retryable: true } })
      })
    )
  })
})

describe("a connection whose state is not known", () => {
  layer(EmbeddedPostgres, { excludeTestServices: true })((it) => {
    it.scoped("because nobody waited for the answer to COMMIT is not lent again", () =>
      Effect.gen(function* () {
        const { config } = yield* PgClient.PgClient
        const url = `${Redacted.value(config.url ?? Redacted.make(""))}`
        const { repo, sql } = yield* pool(1, {
          url: Redacted.make(`${url}${url.includes("?") ? "&" : "?"}query_timeout=300`)
        })
        yield* sql`create table slow (id int)`
        yield* sql`create function dawdle() returns trigger language plpgsql as 'begin perform pg_sleep(600); return new; end'`
        yield* sql`create constraint trigger dawdle after insert on slow deferrable initially deferred for each row execute function dawdle()`
        const pid = yield* pidOf(sql)
        const error = yield* Effect.flip(repo.transact(sql`insert into slow values (1)`))
        expect(error).toMatchObject({ _tag: "CommitFailed", outcome: "unknown" })
        expect(yield* pidOf(sql)).not.toBe(pid)
        const outside = yield* SqlClient.SqlClient
        yield* outside`select pg_terminate_backend(${pid ?? 0})`
      })
    )
  })
})
