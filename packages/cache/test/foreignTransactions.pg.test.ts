/** Writes of a Repo inside of a `withTransaction` of the client below it, whose end nothing of ours runs at. */
import { SqlClient } from "@effect/sql"
import { PgClient } from "@effect/sql-pg"
import { expect, layer } from "@effect/vitest"
import { Cache, ChangeFeed, RepoCache } from "@effecto/cache"
import { Announcement, Repo } from "@effecto/core"
import { EmbeddedPostgres } from "@effecto/core/testing"
import { Context, Deferred, Effect, Exit, Fiber, Layer, Logger, Option } from "effect"
import { fixture, People, process } from "./processes.js"

/** A Repo, a cache and a feed over a client, and that client itself, for whoever does not know of the Repo. */
const setup = (options?: RepoCache.Options) =>
  Effect.gen(function* () {
    yield* fixture
    const { config } = yield* PgClient.PgClient
    const below = yield* Layer.build(PgClient.layer({ ...config, maxConnections: 4, applicationName: "below" }))
    const context = yield* Layer.build(
      RepoCache.layer(People, options).pipe(
        Layer.provideMerge(ChangeFeed.layer()),
        Layer.provideMerge(Repo.layer()),
        Layer.provide(Layer.succeedContext(below)),
        Layer.provide(Logger.remove(Logger.defaultLogger))
      )
    )
    const people = Context.get(context, RepoCache.of(People))
    const run = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.provide(effect, context)
    const raw = Context.get(below, SqlClient.SqlClient)
    return {
      people,
      name: Effect.map(people.fetch(1), ({ name }) => name),
      count: people.getOrLoad("count", run(Repo.count(People))),
      run,
      raw,
      transact: <A, E, R>(effect: Effect.Effect<A, E, R>) => run(raw.withTransaction(effect))
    }
  })

/** A transaction that waits, after its writes, until it is told to end. */
const held = <A, E, R>(
  { transact }: { readonly transact: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, unknown, unknown> },
  work: Effect.Effect<A, E, R>,
  end: Effect.Effect<void, string> = Effect.void
) =>
  Effect.gen(function* () {
    const written = yield* Deferred.make<A>()
    const go = yield* Deferred.make<void>()
    const fiber = yield* Effect.fork(
      // Sound: what it needs is in the context of the one that runs it.
      transact(
        work.pipe(
          Effect.flatMap((found) => Deferred.succeed(written, found)),
          Effect.zipRight(Deferred.await(go)),
          Effect.zipRight(end)
        )
      ) as Effect.Effect<void, unknown>
    )
    const inside = yield* Deferred.await(written)
    return { inside, end: Effect.zipRight(Deferred.succeed(go, undefined), Fiber.await(fiber)) }
  })

layer(EmbeddedPostgres, { excludeTestServices: true })((it) => {
  it.scoped("are read by who made them, served to nobody before the commit, and to all after it", () =>
    Effect.gen(function* () {
      const one = yield* setup()
      expect([yield* one.name, yield* one.count]).toEqual(["Ada", 2])
      const write = Effect.gen(function* () {
        yield* Repo.update(People, 1, { name: "Eve" })
        yield* Repo.insert(People, { id: 3, name: "Cyd" })
        return [yield* one.name, yield* one.count]
      })
      const { end, inside } = yield* held(one, write)
      expect(inside).toEqual(["Eve", 3])
      const { rows } = yield* one.people.stats
      expect([yield* one.name, yield* one.count]).toEqual(["Ada", 2])
      expect((yield* one.people.stats).rows.hits).toBe(rows.hits + 1)
      expect(Exit.isSuccess(yield* end)).toBe(true)
      expect([yield* one.name, yield* one.count]).toEqual(["Eve", 3])
    })
  )

  it.scoped("are heard by other processes, with the commit", () =>
    Effect.gen(function* () {
      const one = yield* setup()
      const other = yield* process("other")
      expect(yield* other.name(1)).toBe("Ada")
      const { end } = yield* held(one, Repo.update(People, 1, { name: "Eve" }))
      expect(other.events).toEqual([])
      yield* end
      yield* other.until("people [1]")
      expect(yield* other.name(1)).toBe("Eve")
      // And nothing is missing in what comes then.
      yield* one.run(Repo.update(People, 2, { name: "Rob" }))
      yield* other.until("people [2]")
      expect(other.events).toEqual(["people [1]", "people [2]"])
    })
  )

  it.scoped("that are rolled back are announced to nobody, here and elsewhere", () =>
    Effect.gen(function* () {
      const one = yield* setup()
      const other = yield* process("other")
      const events: Array<string> = []
      yield* one.run(Announcement.listen(({ outcome }) => events.push(outcome)))
      yield* one.name
      const { end } = yield* held(one, Repo.update(People, 1, { name: "Eve" }), Effect.fail("no"))
      expect(Exit.isFailure(yield* end)).toBe(true)
      // Nor if PostgreSQL refuses the COMMIT, or answers it with ROLLBACK.
      yield* Effect.ignore(
        one.transact(
          Effect.zipRight(Repo.update(People, 1, { name: "Eve" }), Effect.ignore(Effect.exit(one.raw`select 1 / 0`)))
        )
      )
      expect([events, yield* one.name]).toEqual([[], "Ada"])
      yield* one.run(Repo.update(People, 2, { name: "Rob" }))
      yield* other.until("people [2]")
      expect([events, other.events]).toEqual([["committed"], ["people [2]"]])
    })
  )

  it.scoped("hold the row until the transaction is over, where the cache is strict", () =>
    Effect.gen(function* () {
      const one = yield* setup({ strict: true })
      yield* one.name
      const { end } = yield* held(one, Repo.update(People, 1, { name: "Eve" }))
      const { rows } = yield* one.people.stats
      yield* one.name
      expect((yield* one.people.stats).rows.hits).toBe(rows.hits)
      yield* end
      yield* one.name
      yield* one.name
      expect((yield* one.people.stats).rows.hits).toBe(rows.hits + 1)
    })
  )

  it.scoped("are forgotten when the connection ends, for nobody knows", () =>
    Effect.gen(function* () {
      const one = yield* setup()
      const told = yield* Deferred.make<string>()
      yield* one.run(Announcement.listen(({ outcome }) => Deferred.unsafeDone(told, Effect.succeed(outcome))))
      yield* one.name
      const pid = Effect.map(one.raw<{ pid: number }>`select pg_backend_pid() as pid`, ([row]) => row?.pid ?? 0)
      const { end, inside } = yield* held(one, Effect.zipRight(Repo.update(People, 1, { name: "Eve" }), pid))
      const sql = yield* SqlClient.SqlClient
      yield* sql`select pg_terminate_backend(${inside})`
      expect(Exit.isFailure(yield* end)).toBe(true)
      expect([yield* Deferred.await(told), yield* one.name]).toEqual(["unknown", "Ada"])
    })
  )

  it.scoped("have a Cache evict after the commit, and not after a rollback", () =>
    Effect.gen(function* () {
      const one = yield* setup()
      const name = Effect.map(one.run(Effect.orDie(Repo.fetch(People, 1))), ({ name }) => Option.some(name))
      const cache = yield* Cache.make({ name: "names", idle: "1 hour", lookup: (_: number) => name })
      const write = (name: string) =>
        Repo.update(People, 1, { name }).pipe(cache.evicting(1), Effect.zipRight(cache.fetch(1)))
      const seen: Array<unknown> = [yield* cache.fetch(1)]
      const rolledBack = yield* held(one, write("Eve"), Effect.fail("no"))
      seen.push(rolledBack.inside, yield* cache.fetch(1))
      yield* rolledBack.end
      const { loads } = yield* cache.stats
      seen.push(yield* cache.fetch(1))
      expect((yield* cache.stats).loads).toBe(loads)
      const committed = yield* held(one, write("Eve"))
      seen.push(committed.inside, yield* cache.fetch(1))
      yield* committed.end
      seen.push(yield* cache.fetch(1))
      expect(seen).toEqual(["Ada", "Eve", "Ada", "Ada", "Eve", "Ada", "Eve"])
    })
  )
})
