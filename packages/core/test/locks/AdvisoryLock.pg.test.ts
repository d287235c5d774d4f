import { SqlClient } from "@effect/sql"
import { describe, expect, layer } from "@effect/vitest"
import { Cause, type Context, Deferred, Duration, Effect, Exit, Fiber, Layer, Logger, LogLevel } from "effect"
import * as AdvisoryLock from "../../src/locks/AdvisoryLock.js"
import * as Repo from "../../src/repo/Repo.js"
import type { StatementError } from "../../src/repo/RepoError.js"
import { EmbeddedPostgres } from "../../src/testing.js"

const TestRepo = Repo.layer().pipe(Layer.provideMerge(EmbeddedPostgres))

/** The advisory locks of this database, as PostgreSQL shows them. */
const locks = Effect.flatMap(
  SqlClient.SqlClient,
  (sql) =>
    sql<{ classid: string; objid: string; granted: boolean; mode: string }>`
      select classid::text, objid::text, granted, mode from pg_locks
      where locktype = 'advisory' and database = (select oid from pg_database where datname = current_database())
      order by granted desc`
)

/** Asks until somebody waits for a lock. */
const somebodyWaits = Effect.repeat(locks, { until: (rows) => rows.some((row) => !row.granted) })

/** A transaction that holds a lock until it is told to end. */
const holder = (name: string | AdvisoryLock.LockKey) =>
  Effect.gen(function* () {
    const [held, release] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
    const fiber = yield* Effect.fork(
      Repo.transact(
        AdvisoryLock.acquire(name).pipe(
          Effect.zipRight(Deferred.succeed(held, undefined)),
          Effect.zipRight(Deferred.await(release))
        )
      )
    )
    yield* Deferred.await(held)
    return { fiber, release: Effect.zipRight(Deferred.succeed(release, undefined), Fiber.join(fiber)) }
  })

const taken = (name: string) => Repo.transact(AdvisoryLock.tryAcquire(name))

describe("AdvisoryLock", () => {
  layer(TestRepo, { excludeTestServices: true })((it) => {
    describe("key", () => {
      it.effect.each([
        ["foo", "859844163007352795"],
        ["", "-2721964255587120371"],
        ["a", "-8721251224300181508"],
        ["bar", "7119547805428424933"],
        ["ü", "-7735114890893634512"],
        ["hello world", "3075514573807144884"],
        ["Elixir.BC.Item", "8077464733939063604"]
      ])("BE-D2 of %j is BitcrowdEcto's", ([name, value]) =>
        Effect.sync(() => {
          expect(AdvisoryLock.key(name ?? "?").value.toString()).toBe(value)
        })
      )

      it.effect("BE-T22 is what PostgreSQL shows as held", () =>
        Effect.gen(function* () {
          const { release } = yield* holder("foo")
          expect(yield* locks).toEqual([
            { classid: "200198069", objid: "3930001371", granted: true, mode: "ExclusiveLock" }
          ])
          yield* release
          expect(yield* locks).toEqual([])
        })
      )
    })

    describe("with", () => {
      it.effect("holds the lock while the effect runs, in one transaction with it, and not afterwards", () =>
        Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          yield* sql`create table if not exists held (n int)`
          yield* AdvisoryLock.with("with")(sql`insert into held values (1)`)
          expect(yield* AdvisoryLock.with("with")(locks)).toHaveLength(1)
          expect(yield* locks).toEqual([])
          expect(
            yield* Effect.flip(
              AdvisoryLock.with("with")(Effect.zipRight(sql`insert into held values (2)`, Effect.fail("no")))
            )
          ).toBe("no")
          expect(yield* sql`select n from held`).toEqual([{ n: 1 }])
          yield* sql`drop table held`
        })
      )

      it.effect("fails with LockTimeout when the wait is over, and has run nothing", () =>
        Effect.gen(function* () {
          const { release } = yield* holder("with")
          const events: Array<string> = []
          const error = yield* Effect.sync(() => events.push("run")).pipe(
            AdvisoryLock.with("with", { wait: "nowait" }),
            Effect.flip
          )
          expect(error._tag).toBe("LockTimeout")
          expect(events).toEqual([])
          yield* release
        })
      )
    })

    describe("acquire", () => {
      it.effect("BE-D1 waits on another connection until the holder's transaction ends", () =>
        Effect.gen(function* () {
          const events: Array<string> = []
          const { release } = yield* holder("books")
          const second = yield* Effect.fork(
            Repo.transact(
              Effect.zipRight(
                AdvisoryLock.acquire("books"),
                Effect.sync(() => events.push("second holds it"))
              )
            )
          )
          yield* somebodyWaits
          events.push("first ends")
          yield* release
          yield* Fiber.join(second)
          expect(events).toEqual(["first ends", "second holds it"])
        })
      )

      it.effect("is held once however often one transaction takes it", () =>
        Effect.gen(function* () {
          const held = yield* Repo.transact(Effect.zipRight(Effect.repeatN(AdvisoryLock.acquire("books"), 2), locks))
          expect(held).toHaveLength(1)
          expect(yield* locks).toEqual([])
        })
      )

      it.effect("BE-D1 does not wait for another name", () =>
        Effect.gen(function* () {
          const { release } = yield* holder("books")
          yield* Repo.transact(AdvisoryLock.acquire("pens"))
          yield* release
        })
      )

      it.effect("gives up when it is interrupted, and leaves neither a lock nor a transaction", () =>
        Effect.gen(function* () {
          const { release } = yield* holder("books")
          const second = yield* Effect.fork(Repo.transact(AdvisoryLock.acquire("books")))
          yield* somebodyWaits
          yield* Fiber.interrupt(second)
          expect(yield* locks).toHaveLength(1)
          yield* release
          expect(yield* locks).toEqual([])
        })
      )

      it.effect("taken in a savepoint is freed by its rollback, and kept by its success", () =>
        Effect.gen(function* () {
          // Asked from outside of the transaction, on another connection.
          const outside = yield* Effect.context<Repo.Repo>()
          const free = (name: string) => Effect.mapInputContext(taken(name), (_: Context.Context<never>) => outside)
          yield* Repo.transact(
            Effect.gen(function* () {
              yield* Effect.either(Repo.transact(Effect.zipRight(AdvisoryLock.acquire("a"), Effect.fail("no"))))
              yield* Repo.transact(AdvisoryLock.acquire("b"))
              expect([yield* free("a"), yield* free("b")]).toEqual([true, false])
            })
          )
          expect(yield* free("b")).toBe(true)
        })
      )

      it.effect("BE-D3 forced past the types outside of a transaction fails with TransactionClosed", () =>
        Effect.gen(function* () {
          // What a program in JavaScript, or a cast, can do.
          const forced = AdvisoryLock.acquire("books") as unknown as Effect.Effect<void, StatementError>
          const error = yield* Effect.flip(forced)
          expect(error._tag).toBe("TransactionClosed")
          expect(error.message).toBe(
            'could not take the advisory lock "books": there is no transaction. Wrap it in Repo.transact.'
          )
        })
      )
    })

    describe("keyOf", () => {
      it.effect("tells parts apart that look alike, and is not key's space", () =>
        Effect.sync(() => {
          const keys = [
            AdvisoryLock.keyOf("a", "b"),
            AdvisoryLock.keyOf("a/b"),
            AdvisoryLock.keyOf("a", 1),
            AdvisoryLock.keyOf("a", "1"),
            AdvisoryLock.keyOf("a", 1n),
            AdvisoryLock.keyOf("a"),
            AdvisoryLock.key("a")
          ]
          expect(new Set(keys.map((one) => one.value)).size).toBe(keys.length)
          expect(AdvisoryLock.keyOf("a", 1).value).toBe(AdvisoryLock.keyOf("a", 1).value)
        })
      )

      it.each([Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, null, undefined])(
        "refuses %s, which would be the same name as others",
        (part) => {
          expect(() => AdvisoryLock.keyOf("invoice", 1, part as number)).toThrow(
            `part 2 of the lock key "invoice" is ${part}: it has to be a string, a finite number or a bigint`
          )
        }
      )

      it("takes -0 for 0", () => {
        expect(AdvisoryLock.keyOf("a", -0)).toEqual(AdvisoryLock.keyOf("a", 0))
      })
    })

    describe("the options of acquire", () => {
      it.effect.each([Number.POSITIVE_INFINITY, Duration.infinity, "60 days", 2 ** 31] as const)(
        "may wait for %s",
        (wait) =>
          Effect.gen(function* () {
            yield* Repo.transact(
              Effect.gen(function* () {
                yield* AdvisoryLock.acquire("books", { wait })
                expect(yield* locks).toHaveLength(1)
              })
            )
          })
      )

      it.effect("bound the wait for all of several locks together: the later ones get what is left", () =>
        Effect.gen(function* () {
          const lines: Array<string> = []
          const logger = Logger.make(({ message }) => void lines.push(String(message)))
          yield* Repo.transact(AdvisoryLock.acquire(["a", "b", "c"], { wait: "1 hour" })).pipe(
            Effect.provide(Repo.layer({ logParameters: true })),
            Effect.provide(Logger.replace(Logger.defaultLogger, logger)),
            Logger.withMinimumLogLevel(LogLevel.Debug)
          )
          const steps = lines.flatMap(
            (line) => /"(\d+)ms"/.exec(line)?.[1] ?? /(?<= )pg_advisory\w+/.exec(line)?.[0] ?? []
          )
          const [first, , second, , third] = steps.map(Number)
          expect(steps.map((step) => step.replace(/^\d+$/, "limit"))).toEqual([
            "limit",
            "pg_advisory_xact_lock",
            "limit",
            "pg_advisory_xact_lock",
            "limit",
            "pg_advisory_xact_lock"
          ])
          expect(first).toBe(3_600_000)
          expect(second).toBeLessThan(first ?? 0)
          expect(third).toBeLessThanOrEqual(second ?? 0)
        })
      )

      it.effect("die of a mode that does not exist, before anything is sent", () =>
        Effect.gen(function* () {
          for (const lock of [AdvisoryLock.acquire, AdvisoryLock.tryAcquire]) {
            const exit = yield* Effect.exit(Repo.transact(lock("books", { mode: "sharde" as "shared" })))
            expect(Exit.isFailure(exit) && Cause.pretty(exit.cause)).toContain(
              'mode cannot be "sharde": it is one of "exclusive", "shared".'
            )
          }
        })
      )

      it.effect("die of an option that does not exist: a misspelt wait would be one for ever", () =>
        Effect.gen(function* () {
          const dies = <E, R>(self: Effect.Effect<unknown, E, R>) =>
            Effect.map(Effect.exit(self), (exit) => (Exit.isFailure(exit) ? Cause.pretty(exit.cause) : "it succeeded"))
          const options = { mode: "shared", wiat: "nowait" } as const
          expect(yield* dies(Repo.transact(AdvisoryLock.acquire("books", options as object)))).toContain(
            'there is no option "wiat" for an advisory lock: one of "mode", "wait"'
          )
          expect(yield* dies(Repo.transact(AdvisoryLock.tryAcquire("books", options as object)))).toContain(
            'there is no option "wiat" for an advisory lock that is tried: one of "mode"'
          )
          expect(yield* dies(Effect.scoped(AdvisoryLock.session("books", options as object)))).toContain(
            'there is no option "wiat" for a session lock: one of "mode", "wait", "heartbeat"'
          )
        })
      )

      it.effect("end a wait with LockTimeout, and the transaction goes on", () =>
        Effect.gen(function* () {
          const { release } = yield* holder("books")
          const errors = yield* Repo.transact(
            Effect.gen(function* () {
              const both = [
                yield* Effect.flip(AdvisoryLock.acquire("books", { wait: "nowait" })),
                yield* Effect.flip(AdvisoryLock.acquire("books", { wait: "20 millis" }))
              ]
              yield* AdvisoryLock.acquire("pens", { wait: "1 second" })
              expect(yield* locks).toHaveLength(2)
              return both
            })
          )
          expect(errors.map((error) => error._tag)).toEqual(["LockTimeout", "LockTimeout"])
          expect(errors[0]?.message).toBe(
            'could not lock "books": another transaction held it for the whole of the time allowed'
          )
          yield* release
        })
      )

      it.effect("share a lock with others who share it, and not with who does not", () =>
        Effect.gen(function* () {
          const outside = yield* Effect.context<Repo.Repo>()
          const elsewhere = (mode: "shared" | "exclusive") =>
            Effect.mapInputContext(
              Repo.transact(AdvisoryLock.tryAcquire("books", { mode })),
              (_: Context.Context<never>) => outside
            )
          const answers = yield* Repo.transact(
            Effect.zipRight(
              AdvisoryLock.acquire("books", { mode: "shared" }),
              Effect.all([elsewhere("shared"), elsewhere("exclusive")])
            )
          )
          expect(answers).toEqual([true, false])
        })
      )

      it.effect("take several in one order, so that nobody waits in a circle", () =>
        Effect.gen(function* () {
          const both = (names: ReadonlyArray<string>) => Repo.transact(AdvisoryLock.acquire(names))
          yield* Effect.all(
            Array.from({ length: 20 }, (_, at) => both(at % 2 === 0 ? ["foo", "bar", "a"] : ["a", "bar", "foo"])),
            { concurrency: 4 }
          )
          expect(yield* Repo.transact(Effect.zipRight(AdvisoryLock.acquire(["foo", "bar"]), locks))).toHaveLength(2)
        })
      )
    })

    describe("tryAcquire", () => {
      it.effect("says whether it got the lock, without waiting", () =>
        Effect.gen(function* () {
          const { release } = yield* holder("books")
          expect(yield* taken("books")).toBe(false)
          yield* release
          expect(yield* taken("books")).toBe(true)
        })
      )
    })
  })
})
