/** What a change feed does when more than its connection goes: the whole server, the supervised child it lives in, another process. */
import { SqlClient } from "@effect/sql"
import { PgClient } from "@effect/sql-pg"
import { describe, expect, it } from "@effect/vitest"
import { ChangeFeed, RepoCache } from "@effecto/cache"
import { PostgresServer, Repo, RepoError, Supervised, SupervisionTree } from "@effecto/core"
import { EmbeddedPostgres } from "@effecto/core/testing"
import { Context, Deferred, Effect, Layer, Logger, Option, Schedule } from "effect"
import { chronicle, fixture, gated, People, process } from "./processes.js"

const quiet = Logger.remove(Logger.defaultLogger)

describe("a server that restarts", () => {
  it.scopedLive("finds the processes blind, and then coherent again, without anybody's help", () =>
    Effect.gen(function* () {
      const server = yield* PostgresServer.make()
      const client = PostgresServer.client().pipe(Layer.provide(Layer.succeed(PostgresServer.PostgresServer, server)))
      const context = yield* Layer.build(client)
      yield* Effect.gen(function* () {
        const before = yield* fixture
        // Commits of the test server are written behind; a crash would take the last ones with it.
        yield* before`checkpoint`
        const gate = gated()
        const a = yield* process("a", { backoff: Schedule.spaced("20 millis") })
        const b = yield* process("b", { backoff: gate.schedule.pipe(Schedule.addDelay(() => "20 millis")) })
        expect(yield* b.name(1)).toBe("Ada")
        const sql = yield* SqlClient.SqlClient
        // A backend that is killed so takes everybody's with it: the server starts anew, and recovers.
        const [row] = yield* sql<{ pid: number }>`select pg_backend_pid() as pid`
        globalThis.process.kill(row?.pid ?? 0, "SIGKILL")
        yield* Effect.all([a.until("around"), b.until("around")])
        // It may be sent on a connection of which nobody knows yet that it is gone, and then nobody knows whether it was done: to set it once more does no harm.
        yield* a
          .run(Repo.update(People, 1, { name: "after the restart" }))
          .pipe(Effect.retry({ schedule: Schedule.spaced("20 millis") }))
        // Still blind, and not stale.
        expect(
          yield* b.name(1).pipe(Effect.retry({ while: RepoError.isRetryable, schedule: Schedule.spaced("20 millis") }))
        ).toBe("after the restart")
        yield* gate.open
        yield* Effect.all([a.until("served"), b.until("served")])
        expect(b.events).toEqual(["around", "everything", "served"])
        yield* b.clear
        yield* a
          .run(Repo.update(People, 1, { name: "as before" }))
          .pipe(Effect.retry({ schedule: Schedule.spaced("20 millis") }))
        yield* b.until("people [1]")
        expect(yield* b.name(1)).toBe("as before")
      }).pipe(Effect.provide(context))
    }).pipe(Effect.provide(quiet))
  )
})

describe("a supervised feed", () => {
  it.scopedLive("that is restarted holds its caches meanwhile, and tells the others what was written then", () =>
    Effect.gen(function* () {
      yield* fixture
      const b = yield* process("b")
      const { config } = yield* PgClient.PgClient
      const crash = yield* Deferred.make<void>()
      const mayStart = yield* Deferred.make<void>()
      let starts = 0
      const feed = Layer.scoped(
        ChangeFeed.ChangeFeed,
        Effect.gen(function* () {
          starts += 1
          if (starts > 1) yield* Deferred.await(mayStart)
          const made = yield* ChangeFeed.make()
          if (starts === 1) yield* Effect.forkScoped(Effect.zipRight(Deferred.await(crash), Effect.die("crash")))
          return made
        })
      )
      const log = chronicle()
      const Tree = feed.pipe(Supervised.layer({ id: "feed" }), SupervisionTree.layer({ strategy: "one_for_one" }))
      const Live = RepoCache.layer(People).pipe(
        Layer.provideMerge(Tree),
        Layer.provideMerge(Repo.layer()),
        Layer.provideMerge(PgClient.layer({ ...config, applicationName: "supervised" }))
      )
      const context = yield* Layer.build(Live)
      const people = Context.get(context, RepoCache.of(People))
      yield* Context.get(context, ChangeFeed.ChangeFeed).subscribe({
        forget: () => log.add("forget"),
        forgetAll: () => log.add("everything"),
        bypass: () => {
          log.add("around")
          return () => log.add("served")
        }
      })
      const name = Effect.map(people.get(1), (found) => Option.getOrUndefined(found)?.name)
      expect([yield* name, yield* b.name(1)]).toEqual(["Ada", "Ada"])
      yield* Deferred.succeed(crash, undefined)
      yield* log.until("around")
      const sql = yield* SqlClient.SqlClient
      yield* sql`update people set name = 'while nobody listened' where id = 1`
      expect(yield* name).toBe("while nobody listened")
      // The writer's own feed is down; the others hear of it all the same.
      yield* Effect.provide(Repo.update(People, 1, { name: "told all the same" }), context)
      yield* b.until("people [1]")
      expect([yield* name, yield* b.name(1)]).toEqual(["told all the same", "told all the same"])
      yield* Deferred.succeed(mayStart, undefined)
      yield* log.until("served")
      expect(log.events).toEqual(["around", "everything", "served"])
      yield* b.run(Repo.update(People, 1, { name: "heard" }))
      yield* log.until("forget")
      expect(yield* name).toBe("heard")
    }).pipe(Effect.provide(EmbeddedPostgres), Effect.provide(quiet))
  )
})
