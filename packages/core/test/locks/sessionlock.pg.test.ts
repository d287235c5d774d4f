/** Session locks: held for a scope on a connection beside the pool, and lost with it. */
import { SqlClient } from "@effect/sql"
import { PgClient } from "@effect/sql-pg"
import { describe, expect, layer } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Layer, Option, Redacted, Scope } from "effect"
import * as AdvisoryLock from "../../src/locks/AdvisoryLock.js"
import * as Repo from "../../src/repo/Repo.js"
import { EmbeddedPostgres } from "../../src/testing.js"
import { terminated } from "../repo/backends.js"
import { gate } from "../repo/gate.js"

const TestRepo = Repo.layer().pipe(Layer.provideMerge(EmbeddedPostgres))

const locks = Effect.map(
  Effect.flatMap(
    SqlClient.SqlClient,
    (sql) =>
      sql<{ pid: number; granted: boolean; mode: string }>`
      select pid, granted, mode from pg_locks
      where locktype = 'advisory' and database = (select oid from pg_database where datname = current_database())`
  ),
  (rows) => rows
)

const free = Effect.repeat(locks, { until: (rows) => rows.length === 0 })
const somebodyWaits = Effect.repeat(locks, { until: (rows) => rows.some(({ granted }) => !granted) })

const killHolder = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  for (const { granted, pid } of yield* locks) if (granted) yield* terminated(sql, pid)
})

describe("AdvisoryLock", () => {
  layer(TestRepo, { excludeTestServices: true })((it) => {
    describe("session", () => {
      it.effect("holds the lock until its scope is closed, across transactions, and keeps others out meanwhile", () =>
        Effect.gen(function* () {
          const scope = yield* Scope.make()
          yield* AdvisoryLock.session("leader").pipe(Scope.extend(scope))
          expect(yield* Repo.transact(AdvisoryLock.tryAcquire("leader"))).toBe(false)
          expect(yield* Repo.transact(AdvisoryLock.tryAcquire("other"))).toBe(true)
          const refused = yield* Effect.flip(Effect.scoped(AdvisoryLock.session("leader", { wait: "nowait" })))
          expect(refused._tag).toBe("LockTimeout")
          expect(Option.isNone(yield* Effect.scoped(AdvisoryLock.trySession("leader")))).toBe(true)
          yield* Scope.close(scope, Exit.void)
          expect(yield* locks).toEqual([])
          expect(yield* Repo.transact(AdvisoryLock.tryAcquire("leader"))).toBe(true)
          expect(Option.isSome(yield* Effect.scoped(AdvisoryLock.trySession("leader")))).toBe(true)
        })
      )

      it.effect("ends with its scope also where it was taken in a region that cannot be interrupted", () =>
        Effect.gen(function* () {
          const taken = Effect.acquireRelease(AdvisoryLock.session("leader"), () => Effect.void)
          yield* Effect.scoped(Effect.zipRight(taken, Effect.uninterruptible(AdvisoryLock.trySession("other"))))
          expect(yield* locks).toEqual([])
        })
      )

      it.effect("bounds its wait, for several together, and takes them in one order", () =>
        Effect.gen(function* () {
          yield* Effect.scoped(
            Effect.gen(function* () {
              yield* AdvisoryLock.session(["b", "a"])
              const late = yield* Effect.flip(Effect.scoped(AdvisoryLock.session(["a", "b"], { wait: "20 millis" })))
              expect(late).toMatchObject({ _tag: "LockTimeout", resource: '"a", "b"' })
            })
          )
          yield* free
        })
      )

      it.effect("can be shared", () =>
        Effect.scoped(
          Effect.gen(function* () {
            yield* AdvisoryLock.session("books", { mode: "shared" })
            yield* AdvisoryLock.session("books", { mode: "shared" })
            expect((yield* locks).map(({ mode }) => mode)).toEqual(["ShareLock", "ShareLock"])
            expect(Option.isNone(yield* AdvisoryLock.trySession("books"))).toBe(true)
          })
        )
      )

      it.effect("that is not to be had leaves nothing in the scope, however often it is tried", () =>
        Effect.gen(function* () {
          yield* AdvisoryLock.trySession("leader").pipe(
            Effect.zipRight(
              Effect.gen(function* () {
                const scope = yield* Scope.make()
                // Sound: what a Scope of effect keeps while it is open.
                const kept = () =>
                  (scope as unknown as { state: { finalizers: Map<unknown, unknown> } }).state.finalizers.size
                const before = kept()
                for (let round = 0; round < 3; round += 1)
                  expect(Option.isNone(yield* AdvisoryLock.trySession("leader").pipe(Scope.extend(scope)))).toBe(true)
                expect(kept()).toBe(before)
                yield* Scope.close(scope, Exit.void)
              })
            ),
            Effect.scoped
          )
        })
      )

      it.effect("that is interrupted while it waits leaves nothing behind", () =>
        Effect.gen(function* () {
          yield* Effect.scoped(
            Effect.gen(function* () {
              yield* AdvisoryLock.session("leader")
              const waiting = yield* Effect.fork(Effect.scoped(AdvisoryLock.session("leader")))
              yield* somebodyWaits
              yield* Fiber.interrupt(waiting)
              yield* Effect.repeat(locks, { until: (rows) => rows.every(({ granted }) => granted) })
              expect(yield* locks).toHaveLength(1)
            })
          )
          yield* free
        })
      )

      it.effect("takes no place of the pool, and waits for none inside of a transaction", () =>
        Effect.gen(function* () {
          const { config } = yield* PgClient.PgClient
          const one = Repo.layer().pipe(Layer.provideMerge(PgClient.layer({ ...config, maxConnections: 1 })))
          yield* Effect.gen(function* () {
            const sql = yield* SqlClient.SqlClient
            yield* Repo.transact(Effect.scoped(Effect.zipRight(AdvisoryLock.session("inside"), sql`select 1`)))
            yield* Effect.scoped(
              Effect.zipRight(
                Effect.all([AdvisoryLock.session("one"), AdvisoryLock.session("two")]),
                Repo.transact(sql`select 1`)
              )
            )
          }).pipe(Effect.provide(one))
        })
      )
    })

    describe("withSession", () => {
      it.effect("runs the effect while it holds the lock, and gives what that gives", () =>
        Effect.gen(function* () {
          const inside = Repo.transact(AdvisoryLock.tryAcquire("nightly"))
          expect(yield* inside.pipe(AdvisoryLock.withSession("nightly"))).toBe(false)
          expect(yield* inside).toBe(true)
          expect(yield* Effect.flip(Effect.fail("no").pipe(AdvisoryLock.withSession("nightly")))).toBe("no")
          expect(yield* Effect.uninterruptible(inside.pipe(AdvisoryLock.withSession("nightly")))).toBe(false)
          expect(yield* locks).toEqual([])
        })
      )

      it.effect("interrupts its holder and fails with LockLost when the backend of its connection is terminated", () =>
        Effect.gen(function* () {
          const events: Array<string> = []
          const begun = yield* Deferred.make<void>()
          const holder = Deferred.succeed(begun, undefined).pipe(
            Effect.zipRight(Effect.never),
            Effect.onInterrupt(() => Effect.sync(() => void events.push("interrupted"))),
            AdvisoryLock.withSession("nightly")
          )
          const fiber = yield* Effect.fork(Effect.flip(holder))
          yield* Deferred.await(begun)
          yield* killHolder
          const error = yield* Fiber.join(fiber)
          expect(error).toMatchObject({ _tag: "LockLost", resource: '"nightly"' })
          expect(error.message).toContain('the lock "nightly" was lost')
          expect(events).toEqual(["interrupted"])
          expect(yield* Effect.succeed(1).pipe(AdvisoryLock.withSession("nightly", { wait: "1 second" }))).toBe(1)
        })
      )

      it.scoped(
        "notices a network that swallows everything, by asking now and then",
        () =>
          Effect.gen(function* () {
            const { config } = yield* PgClient.PgClient
            const way = yield* gate
            const address = new URL(Redacted.value(config.url ?? Redacted.make("postgres://localhost")))
            const through = PgClient.layer({
              host: "127.0.0.1",
              port: way.port,
              username: config.username ?? decodeURIComponent(address.username),
              database: config.database ?? address.pathname.slice(1),
              maxConnections: 1
            })
            const begun = yield* Deferred.make<void>()
            const fiber = yield* Effect.fork(
              Effect.flip(
                Effect.zipRight(Deferred.succeed(begun, undefined), Effect.never).pipe(
                  AdvisoryLock.withSession("nightly", { heartbeat: "10 millis" })
                )
              ).pipe(Effect.provide(through))
            )
            yield* Effect.raceFirst(Deferred.await(begun), Fiber.join(fiber))
            yield* way.shut
            expect(yield* Fiber.join(fiber)).toMatchObject({ _tag: "LockLost" })
          }),
        20_000
      )

      it.effect("excludes transactions that take the lock of that name, and is excluded by them", () =>
        Effect.gen(function* () {
          const late = yield* Effect.flip(
            Repo.transact(
              Effect.zipRight(
                AdvisoryLock.acquire("books"),
                Effect.void.pipe(AdvisoryLock.withSession("books", { wait: "20 millis" }))
              )
            )
          )
          expect(late._tag).toBe("LockTimeout")
        })
      )

      it.effect("in a scope of its own: what the effect acquires lives in the scope it was given", () =>
        Effect.gen(function* () {
          const events: Array<string> = []
          yield* Effect.scoped(
            Effect.gen(function* () {
              yield* Effect.addFinalizer(() => Effect.sync(() => void events.push("finalized"))).pipe(
                AdvisoryLock.withSession("nightly")
              )
              events.push("still open")
            })
          )
          expect(events).toEqual(["still open", "finalized"])
        })
      )
    })
  })
})
