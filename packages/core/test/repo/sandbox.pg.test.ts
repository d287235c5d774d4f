/** The Repo of one test: nothing of it stays, and nothing of it is missed. */
import { inspect } from "node:util"
import { SqlClient } from "@effect/sql"
import { PgClient } from "@effect/sql-pg"
import { describe, expect, layer } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Layer, Option } from "effect"
import { Announcement } from "../../src/index.js"
import * as Repo from "../../src/repo/Repo.js"
import * as Table from "../../src/repo/Table.js"
import * as Transaction from "../../src/repo/Transaction.js"
import { EmbeddedPostgres } from "../../src/testing.js"
import { ada, freshTables, People } from "./people.js"

const row = { ...ada, nickName: Option.none() }

/** One pool for all tests of a suite, as users have it; each test has a sandbox in it. */
layer(EmbeddedPostgres, { excludeTestServices: true })("a sandbox", (it) => {
  const sandboxed = <A, E>(self: Effect.Effect<A, E, Repo.Repo | SqlClient.SqlClient>) =>
    Effect.provide(self, Repo.sandbox)

  it.effect("keeps nothing of what a test does, its tables neither", () =>
    Effect.gen(function* () {
      const test = Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        yield* sql`create table once (id int primary key)`
        yield* sql`insert into once values (1)`
        yield* Repo.transact(sql`insert into once values (2)`)
        return yield* sql`select id from once order by id`
      })
      expect(yield* sandboxed(test)).toEqual([{ id: 1 }, { id: 2 }])
      expect(yield* sandboxed(test)).toEqual([{ id: 1 }, { id: 2 }])
      const outside = yield* SqlClient.SqlClient
      expect(yield* outside`select to_regclass('once') as once`).toEqual([{ once: null }])
      expect(
        yield* outside`select state from pg_stat_activity where datname = current_database() and state like 'idle in%'`
      ).toEqual([])
    })
  )

  it.effect("runs after-commit work, and hooks after a commit, when the outermost transaction ends well", () =>
    sandboxed(
      Effect.gen(function* () {
        yield* freshTables
        const events: Array<unknown> = []
        const note = (event: unknown) => Effect.sync(() => void events.push(event))
        const Hooked = People.pipe(Table.hooks({ afterCommit: (changes) => note(changes.length) }))
        yield* Effect.scoped(
          Effect.gen(function* () {
            yield* Announcement.listen(({ changes, outcome }) => void events.push([outcome, changes[0]?.table]))
            yield* Repo.transact(
              Effect.gen(function* () {
                yield* Transaction.afterCommit(note("outer"))
                expect(yield* Transaction.inTransaction).toBe(true)
                expect((yield* Transaction.Transaction).depth).toBe(0)
                yield* Repo.transact(Transaction.afterCommit(note("inner")))
                yield* Effect.ignore(
                  Repo.transact(Effect.zipRight(Transaction.afterCommit(note("never")), Effect.fail("rolled back")))
                )
                yield* Repo.insert(Hooked, row)
                expect(events).toEqual([])
              })
            )
          })
        )
        expect(yield* Transaction.inTransaction).toBe(false)
        expect(events).toEqual([["committed", "people"], "outer", "inner", 1])
        yield* Effect.ignore(
          Repo.transact(
            Effect.zipRight(
              Effect.all([Transaction.afterCommit(note("never")), Transaction.afterRollback(note("rolled back"))]),
              Effect.fail("rolled back")
            )
          )
        )
        expect(events.slice(4)).toEqual(["rolled back"])
      })
    )
  )

  it.effect("reports what COMMIT would: deferred constraints and swallowed failures", () =>
    sandboxed(
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        yield* sql`create table nodes (id int primary key, next int constraint nodes_next_fkey references nodes deferrable initially deferred)`
        const deferred = yield* Effect.flip(Repo.transact(sql`insert into nodes values (1, 7)`))
        expect(deferred).toMatchObject({ _tag: "CommitFailed", outcome: "rolledBack", code: "23503" })
        expect(deferred.message).toContain("deferred constraint nodes_next_fkey on nodes is not satisfied")
        const swallowed = yield* Effect.flip(Repo.transact(Effect.ignore(sql`select nothing`)))
        expect(swallowed).toMatchObject({ _tag: "CommitFailed", outcome: "rolledBack", code: "25P02" })
        // Still deferred, and usable.
        yield* Repo.transact(
          Effect.zipRight(sql`insert into nodes values (1, 2)`, sql`insert into nodes values (2, 1)`)
        )
        expect(yield* sql`select count(*)::int as count from nodes`).toEqual([{ count: 2 }])
      })
    )
  )

  it.effect("undoes a transaction that fails, dies or is interrupted, and goes on", () =>
    sandboxed(
      Effect.gen(function* () {
        yield* freshTables
        for (const end of [Effect.fail("failed"), Effect.die("died"), Effect.interrupt])
          expect(
            Exit.isFailure(yield* Effect.exit(Repo.transact(Effect.zipRight(Repo.insert(People, row), end))))
          ).toBe(true)
        expect(yield* Repo.count(People)).toBe(0)
        yield* Repo.insert(People, row)
        // A statement that fails on its own undoes nothing but itself.
        expect((yield* Effect.flip(Repo.insert(People, row)))._tag).toBe("UniqueViolation")
        const sql = yield* SqlClient.SqlClient
        const slow = yield* Effect.fork(sql`select pg_sleep(600)`)
        yield* Effect.yieldNow()
        yield* Fiber.interrupt(slow)
        expect(yield* Repo.count(People)).toBe(1)
      })
    )
  )

  it.effect("lets concurrent transactions take turns, each with its own end", () =>
    sandboxed(
      Effect.gen(function* () {
        yield* freshTables
        const events: Array<string> = []
        const exits = yield* Effect.forEach(
          ["a", "b", "c", "d"],
          (email) =>
            Effect.exit(
              Repo.transact(
                Effect.gen(function* () {
                  yield* Repo.insert(People, { ...row, email })
                  yield* Transaction.afterCommit(Effect.sync(() => void events.push(email)))
                  yield* Effect.yieldNow()
                  if (email === "b") return yield* Effect.fail("no")
                  yield* Repo.count(People)
                })
              )
            ),
          { concurrency: "unbounded" }
        )
        expect(exits.map(Exit.isSuccess)).toEqual([true, false, true, true])
        expect(events.toSorted()).toEqual(["a", "c", "d"])
        expect((yield* Repo.all(People)).map(({ email }) => email).toSorted()).toEqual(["a", "c", "d"])
      })
    )
  )

  it.effect(
    "says so where a transaction waits for a fiber that waits for the connection",
    () =>
      sandboxed(
        Effect.gen(function* () {
          yield* freshTables
          const begun = yield* Deferred.make<void>()
          const other = yield* Effect.fork(Effect.zipRight(Deferred.await(begun), Repo.count(People)))
          const exit = yield* Effect.exit(
            Repo.transact(Effect.zipRight(Deferred.succeed(begun, undefined), Effect.exit(Fiber.join(other))))
          )
          expect(inspect(exit, { depth: 9 })).toContain("a statement waits for the one connection of its sandbox")
          expect(yield* Repo.count(People)).toBe(0)
        })
      ),
    20_000
  )

  it.effect("ends what outlives it", () =>
    Effect.gen(function* () {
      const fiber = yield* sandboxed(
        Effect.gen(function* () {
          yield* freshTables
          return yield* Effect.forkDaemon(Effect.zipRight(Effect.yieldNow(), Effect.exit(Repo.count(People))))
        })
      )
      expect(Exit.isFailure(yield* Fiber.join(fiber))).toBe(true)
    })
  )

  it.effect("gives back its connection, to a pool of one too", () =>
    Effect.gen(function* () {
      const { config } = yield* PgClient.PgClient
      const one = Repo.sandbox.pipe(Layer.provideMerge(PgClient.layer({ ...config, maxConnections: 1 })))
      const test = Effect.zipRight(freshTables, Repo.transact(Repo.insert(People, row)))
      yield* Effect.provide(Effect.provide(test, Repo.sandbox), PgClient.layer({ ...config, maxConnections: 1 }))
      yield* Effect.provide(test, one)
      yield* Effect.gen(function* () {
        yield* test.pipe(Effect.provide(Repo.sandbox))
        yield* test.pipe(Effect.provide(Repo.sandbox))
      }).pipe(Effect.provide(PgClient.layer({ ...config, maxConnections: 1 })))
    })
  )
})

describe("a sandbox over a Repo's own client", () => {
  layer(Repo.layer().pipe(Layer.provideMerge(EmbeddedPostgres)), { excludeTestServices: true })((it) => {
    it.effect("is beside that, and not inside of its transaction", () =>
      Effect.gen(function* () {
        yield* freshTables
        yield* Effect.provide(Repo.transact(Repo.insert(People, row)), Repo.sandbox)
        expect(yield* Repo.count(People)).toBe(0)
      })
    )
  })
})
