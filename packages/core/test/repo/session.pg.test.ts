/** One connection for an effect, without a transaction. */
import { describe, expect, layer } from "@effect/vitest"
import { Deferred, Effect, Fiber, Stream } from "effect"
import { vi } from "vitest"
import { freshTables, People, TestRepo } from "./people.js"
import { pool } from "./pools.js"

const pid = (sql: Effect.Effect.Success<ReturnType<typeof pool>>["sql"]) =>
  Effect.map(sql<{ readonly pid: number }>`select pg_backend_pid() as pid`, ([row]) => row?.pid)

describe("session", () => {
  layer(TestRepo, { excludeTestServices: true })((it) => {
    it.scoped("is one connection for statements, transactions and forked fibers", () =>
      Effect.gen(function* () {
        yield* freshTables
        const { repo, sql } = yield* pool(4)
        const pids = yield* repo.session(
          Effect.gen(function* () {
            const alone = yield* pid(sql)
            const inside = yield* repo.transact(Effect.zipRight(repo.count(People), pid(sql)))
            const forked = yield* Effect.all(
              Array.from({ length: 5 }, () => repo.transact(pid(sql))),
              { concurrency: "unbounded" }
            )
            return new Set([alone, inside, ...forked, yield* repo.session(pid(sql))])
          })
        )
        expect(pids.size).toBe(1)
      })
    )

    it.scoped("leaves nothing of its own to whoever gets the connection next", () =>
      Effect.gen(function* () {
        const { repo, sql } = yield* pool(1)
        const failure = yield* Effect.flip(
          repo.session(
            Effect.gen(function* () {
              yield* sql`set application_name = 'mine'`
              yield* sql`create temporary table mine (id int)`
              yield* sql`select pg_advisory_lock(1)`
              expect(
                yield* sql`select current_setting('application_name') as name from (select count(*) from mine) as one`
              ).toEqual([{ name: "mine" }])
              return yield* Effect.fail("no" as const)
            })
          )
        )
        expect(failure).toBe("no")
        expect(
          yield* sql`select to_regclass('mine') as mine, current_setting('application_name') = 'mine' as set,
          (select count(*)::int from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()) as locks`
        ).toEqual([{ mine: null, set: false, locks: 0 }])
      })
    )

    it.scoped("lets a transaction have the connection to itself", () =>
      Effect.gen(function* () {
        yield* freshTables
        const { repo, sql } = yield* pool(2)
        const events: Array<string> = []
        yield* repo.session(
          Effect.gen(function* () {
            const begun = yield* Deferred.make<void>()
            const other = yield* Effect.fork(
              Effect.zipRight(
                Deferred.await(begun),
                Effect.map(sql`select 1`, () => events.push("statement"))
              )
            )
            yield* repo.transact(
              Effect.gen(function* () {
                yield* Deferred.succeed(begun, undefined)
                yield* repo.count(People)
                yield* repo.count(People)
                events.push("transaction")
              })
            )
            yield* Fiber.join(other)
          })
        )
        expect(events).toEqual(["transaction", "statement"])
      })
    )

    it.scoped("says so where those who share it wait for each other", () =>
      Effect.gen(function* () {
        yield* freshTables
        const { repo, sql } = yield* pool(1)
        // Real time, which nobody has to wait for.
        yield* Effect.acquireRelease(
          Effect.sync(() => vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance"] })),
          () => Effect.sync(() => vi.useRealTimers())
        )
        const waits: ReadonlyArray<Effect.Effect<unknown, { readonly _tag: string; readonly cause?: unknown }>> = [
          sql`select 1`,
          repo.count(People),
          repo.transact(repo.count(People))
        ]
        for (const wait of waits) {
          const seen = yield* repo.session(
            Effect.gen(function* () {
              const begun = yield* Deferred.make<void>()
              const opened = yield* Deferred.make<void>()
              const other = yield* Effect.fork(
                Effect.zipRight(Deferred.await(begun), Effect.ensuring(wait, Deferred.succeed(opened, undefined)))
              )
              const holder = yield* Effect.fork(
                repo.transact(
                  Effect.gen(function* () {
                    yield* repo.count(People)
                    yield* Deferred.succeed(begun, undefined)
                    yield* Deferred.await(opened)
                    return "held"
                  })
                )
              )
              yield* Deferred.await(begun)
              for (let turn = 0; turn < 20; turn += 1) yield* Effect.yieldNow()
              vi.advanceTimersByTime(29_999)
              expect(yield* Deferred.isDone(opened)).toBe(false)
              vi.advanceTimersByTime(1)
              const error = yield* Effect.flip(Fiber.join(other))
              return [`${error} ${error.cause}`, yield* Fiber.join(holder)]
            })
          )
          expect(seen[0]).toContain("waits for the one connection of its session")
          expect(seen[1]).toBe("held")
        }
        expect(yield* repo.session(sql`select 1 as one`)).toEqual([{ one: 1 }])
      })
    )

    it.scoped("refuses fibers that outlive it, and streams outside of a transaction", () =>
      Effect.gen(function* () {
        yield* freshTables
        const { repo } = yield* pool(1)
        const gate = yield* Deferred.make<void>()
        const late = yield* repo.session(
          Effect.forkDaemon(Effect.zipRight(Deferred.await(gate), Effect.flip(repo.count(People))))
        )
        yield* Deferred.succeed(gate, undefined)
        expect((yield* Fiber.join(late)).message).toContain("the session it belongs to has ended")
        const refused = yield* repo.session(Effect.flip(Stream.runDrain(repo.stream(People))))
        expect(refused.message).toContain("a stream inside of a session needs a transaction")
        expect(yield* repo.session(repo.transact(Stream.runCount(repo.stream(People))))).toBe(0)
        expect(yield* repo.count(People)).toBe(0)
      })
    )

    it.scoped("gives its connection back when it is interrupted while it waits, and while it runs", () =>
      Effect.gen(function* () {
        const { repo, sql } = yield* pool(1)
        for (let round = 0; round < 3; round += 1) {
          const held = yield* Effect.fork(repo.session(Effect.zipRight(sql`select 1`, Effect.never)))
          const waiting = yield* Effect.fork(repo.session(sql`select 1`))
          yield* Effect.yieldNow()
          yield* Fiber.interrupt(waiting)
          yield* Fiber.interrupt(held)
        }
        expect(yield* repo.session(sql`select 1 as one`)).toEqual([{ one: 1 }])
      })
    )
  })
})
