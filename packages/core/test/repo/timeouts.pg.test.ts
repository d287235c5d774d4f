/** Transactions that may only take so long. */
import { describe, expect, layer } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Option, TestClock } from "effect"
import * as Repo from "../../src/repo/Repo.js"
import { TransactionTimeout } from "../../src/repo/RepoError.js"
import * as Transaction from "../../src/repo/Transaction.js"
import { ada, freshTables, People, TestRepo } from "./people.js"

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
