/** What the Repo says while its server goes away, on a server of its own. */
import { describe, expect, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Layer, Option, Schedule, Scope } from "effect"
import * as AdvisoryLock from "../../src/locks/AdvisoryLock.js"
import * as PostgresServer from "../../src/postgres/PostgresServer.js"
import * as Repo from "../../src/repo/Repo.js"
import { isRetryable } from "../../src/repo/RepoError.js"
import * as Transaction from "../../src/repo/Transaction.js"
import { ada, freshTables, People, PersonId } from "./people.js"

describe("a server that stops", () => {
  it.live(
    "fails everything that waits for it, and everything that comes after, and nothing hangs",
    () =>
      Effect.gen(function* () {
        const power = yield* Scope.make()
        const server = yield* PostgresServer.make().pipe(Scope.extend(power))
        const program = Effect.gen(function* () {
          const sql = yield* freshTables
          const events: Array<string> = []
          const started = yield* Effect.all(Array.from({ length: 4 }, () => Deferred.make<void>()))
          const [first, second, third, fourth] = started as [
            Deferred.Deferred<void>,
            Deferred.Deferred<void>,
            Deferred.Deferred<void>,
            Deferred.Deferred<void>
          ]
          const stopped = yield* Deferred.make<void>()
          const fibers = yield* Effect.forEach(
            [
              // In the middle of a statement.
              Repo.transact(Effect.zipRight(Deferred.succeed(first, undefined), sql`select pg_sleep(60)`)),
              // Between two statements.
              Repo.transact(
                Effect.gen(function* () {
                  yield* Repo.insert(People, { ...ada, nickName: Option.none() })
                  yield* Transaction.afterCommit(Effect.sync(() => events.push("committed")))
                  yield* Deferred.succeed(second, undefined)
                  yield* Deferred.await(stopped)
                })
              ),
              // In a savepoint that holds a lock.
              Repo.transact(
                Repo.transact(
                  Effect.zipRight(
                    AdvisoryLock.acquire("books"),
                    Effect.zipRight(
                      Deferred.succeed(third, undefined),
                      Effect.zipRight(Deferred.await(stopped), Repo.count(People))
                    )
                  )
                )
              ),
              // Waiting for that lock.
              Deferred.await(third).pipe(
                Effect.zipRight(Deferred.succeed(fourth, undefined)),
                Effect.zipRight(Repo.transact(AdvisoryLock.acquire("books")))
              )
            ] as ReadonlyArray<Effect.Effect<unknown, { readonly _tag: string; readonly message: string }, Repo.Repo>>,
            (effect) => Effect.fork(Effect.exit(effect))
          )
          yield* Effect.forEach(started, Deferred.await)
          yield* Scope.close(power, Exit.void)
          yield* Deferred.succeed(stopped, undefined)
          const exits = yield* Effect.forEach(fibers, Fiber.join)
          const errors = yield* Effect.forEach(exits, (exit) => Effect.flip(exit))
          expect(errors.map((error) => error._tag)).toEqual(["SqlError", "CommitFailed", "DbError", "DbError"])
          expect(events).toEqual([])
          const late = yield* Effect.flip(Repo.get(People, PersonId.make(1)))
          expect(late).toMatchObject({ _tag: "DbError", kind: "connection", retryable: true })
          expect(late.message).toMatch(
            /^could not read people: PostgreSQL cannot be reached \(ENOENT .*start the server/
          )
          const begun = yield* Effect.flip(Repo.transact(Effect.void))
          expect(begun.message).toMatch(/^could not begin a transaction: PostgreSQL cannot be reached \(ENOENT/)
        })
        yield* Effect.provide(
          program,
          Repo.layer().pipe(
            Layer.provideMerge(PostgresServer.client({ maxConnections: 4 })),
            Layer.provide(Layer.succeed(PostgresServer.PostgresServer, server))
          )
        )
      }),
    60_000
  )
})

describe("a server that crashes and starts again", () => {
  it.live(
    "keeps exactly what was reported as committed, and is found again by the same pool",
    () =>
      Effect.gen(function* () {
        const server = yield* PostgresServer.make()
        const program = Effect.gen(function* () {
          const sql = yield* freshTables
          const events: Array<string> = []
          const insert = (email: string) =>
            Effect.gen(function* () {
              yield* Transaction.afterCommit(Effect.sync(() => events.push(`${email} committed`)))
              yield* Transaction.afterRollback(Effect.sync(() => events.push(`${email} rolled back`)))
              yield* Repo.insert(People, { ...ada, email, nickName: Option.none() })
            })
          yield* Repo.transact(insert("before"))
          // The servers of tests are in no hurry to write to the disk (synchronous_commit is off), and a crash would take that along.
          yield* sql`checkpoint`
          const [inserted, crashed] = yield* Effect.all([Deferred.make<number>(), Deferred.make<void>()])
          const backend = Effect.map(sql<{ pid: number }>`select pg_backend_pid() as pid`, (rows) => rows[0]?.pid ?? 0)
          const open = yield* Effect.fork(
            Effect.exit(
              Repo.transact(
                insert("during").pipe(
                  Effect.zipRight(Effect.flatMap(backend, (pid) => Deferred.succeed(inserted, pid))),
                  Effect.zipRight(Deferred.await(crashed))
                )
              )
            )
          )
          const during = yield* Deferred.await(inserted)
          // What loses one backend this way cannot trust its memory any more: PostgreSQL ends all of them, and recovers.
          process.kill(yield* backend, "SIGKILL")
          // Until that of the transaction is gone it could still commit.
          yield* Effect.repeat(Effect.option(Effect.try(() => process.kill(during, 0))), {
            until: Option.isNone,
            schedule: Schedule.spaced("5 millis")
          })
          yield* Deferred.succeed(crashed, undefined)
          const error = yield* Effect.flip(yield* Fiber.join(open))
          expect(["CommitFailed", "DbError"]).toContain(error._tag)
          const count = yield* Effect.retry(Repo.count(People), {
            while: isRetryable,
            schedule: Schedule.spaced("20 millis")
          })
          expect(count).toBe(1)
          yield* Repo.transact(insert("after"))
          // Whether COMMIT was still sent is a matter of luck; without an answer neither end is believed.
          expect(events.filter((event) => event !== "during rolled back")).toEqual([
            "before committed",
            "after committed"
          ])
        })
        yield* Effect.provide(
          program,
          Repo.layer().pipe(
            Layer.provideMerge(PostgresServer.client({ maxConnections: 4 })),
            Layer.provide(Layer.succeed(PostgresServer.PostgresServer, server))
          )
        )
      }).pipe(Effect.scoped),
    60_000
  )
})
