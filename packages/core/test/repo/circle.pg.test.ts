/** A savepoint that waits for a fiber which waits for the savepoint's end is told so. */
import { SqlClient } from "@effect/sql"
import { describe, expect, layer } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber } from "effect"
import { vi } from "vitest"
import * as Repo from "../../src/repo/Repo.js"
import { TestRepo } from "./people.js"

const turns = Effect.repeatN(
  Effect.promise(() => new Promise((resolve) => setImmediate(resolve))),
  20
)

/** From here on the clock of timers is moved by the test alone; two connections are there by then, because the pool has a timer for each that it opens. */
const stillTimers = Effect.flatMap(SqlClient.SqlClient, (sql) =>
  Effect.zipRight(
    Effect.scoped(Effect.zipRight(sql.reserve, sql.reserve)),
    Effect.acquireRelease(
      Effect.sync(() => vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] })),
      () => Effect.sync(() => vi.useRealTimers())
    )
  )
)

describe("a savepoint that waits for a fiber around it", () => {
  layer(TestRepo, { excludeTestServices: true })((it) => {
    it.scoped("is told so after thirty seconds, by the failure of that fiber's statement", () =>
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        yield* stillTimers
        const isOpen = yield* Deferred.make<void>()
        const running = yield* Effect.fork(
          Repo.transact(
            Effect.gen(function* () {
              const go = yield* Deferred.make<void>()
              const around = yield* Effect.fork(Effect.zipRight(Deferred.await(go), sql`select 1`))
              return yield* Repo.transact(
                Effect.zipRight(
                  Effect.zipRight(Deferred.succeed(isOpen, undefined), Deferred.succeed(go, undefined)),
                  Effect.exit(Fiber.join(around))
                )
              )
            })
          )
        )
        yield* Deferred.await(isOpen)
        yield* turns
        vi.advanceTimersByTime(29_999)
        yield* turns
        expect(running.unsafePoll()).toBe(null)
        vi.advanceTimersByTime(1)
        const exit = yield* Fiber.join(running)
        expect(Exit.isFailure(exit) && String(exit.cause)).toMatch(/who opened that waits for this fiber/)
        expect(yield* sql`select 1 as one`).toEqual([{ one: 1 }])
      })
    )

    it.scoped("is left alone where it waits for something else, however long", () =>
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        yield* stillTimers
        const end = yield* Deferred.make<void>()
        const isOpen = yield* Deferred.make<void>()
        const running = yield* Effect.fork(
          Repo.transact(
            Effect.gen(function* () {
              const open = yield* Deferred.make<void>()
              const inner = yield* Effect.fork(
                Repo.transact(Effect.zipRight(Deferred.succeed(open, undefined), Deferred.await(end)))
              )
              yield* Deferred.await(open)
              yield* Deferred.succeed(isOpen, undefined)
              const rows = yield* sql`select 1 as one`
              yield* Fiber.join(inner)
              return rows
            })
          )
        )
        yield* Deferred.await(isOpen)
        for (let minute = 0; minute < 10; minute += 1) {
          yield* turns
          vi.advanceTimersByTime(60_000)
        }
        yield* turns
        expect(running.unsafePoll()).toBe(null)
        yield* Deferred.succeed(end, undefined)
        expect(yield* Fiber.join(running)).toEqual([{ one: 1 }])
      })
    )
  })
})
