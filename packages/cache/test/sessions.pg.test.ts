/** Caches in a `Repo.session`: what is read there is read by its connection, and nothing of a session outlives it. */
import { SqlClient } from "@effect/sql"
import { PgClient } from "@effect/sql-pg"
import { describe, expect, layer } from "@effect/vitest"
import { Cache, RepoCache } from "@effecto/cache"
import { Repo } from "@effecto/core"
import { EmbeddedPostgres } from "@effecto/core/testing"
import { Deferred, Effect, Exit, Fiber, Layer, Scope } from "effect"
import { fixture, People } from "./processes.js"

/** People in another schema under the same name. */
const tenant = Effect.gen(function* () {
  const sql = yield* fixture
  yield* sql`drop schema if exists tenant cascade`
  yield* sql`create schema tenant`
  yield* sql`create table tenant.people (id int primary key, name text not null)`
  yield* sql`insert into tenant.people values (1, 'Tess'), (2, 'Tom')`
})

const asTenant = <A, E, R>(self: Effect.Effect<A, E, R>) =>
  Repo.session(Effect.flatMap(SqlClient.SqlClient, (sql) => Effect.zipRight(sql`set search_path = tenant`, self)))

const names = Effect.map(Repo.all(People), (rows) => rows.map(({ name }) => name).sort())

layer(Repo.layer().pipe(Layer.provideMerge(EmbeddedPostgres)), { excludeTestServices: true })((it) => {
  describe("a RepoCache in a session", () => {
    it.scoped("reads by the session's connection, whatever is held, and keeps nothing of it", () =>
      Effect.gen(function* () {
        yield* tenant
        const people = yield* RepoCache.make(People)
        const one = Effect.map(people.fetch(1), ({ name }) => name)
        const two = Effect.map(people.getAll([1, 2]), (rows) =>
          rows.map((row) => row._tag === "Some" && row.value.name)
        )
        const query = people.getOrLoad("names", names)
        const all = Effect.all([one, two, query])
        const outside = ["Ada", ["Ada", "Bob"], ["Ada", "Bob"]]
        const inside = ["Tess", ["Tess", "Tom"], ["Tess", "Tom"]]
        expect(yield* asTenant(all)).toEqual(inside)
        expect(yield* all).toEqual(outside)
        expect(yield* asTenant(all)).toEqual(inside)
        expect(yield* asTenant(Repo.transact(all))).toEqual(inside)
        expect(yield* all).toEqual(outside)
      })
    )

    it.scoped("waits for no second connection: as many sessions as the pool has", () =>
      Effect.gen(function* () {
        yield* fixture
        const { config } = yield* PgClient.PgClient
        const context = yield* Layer.build(
          RepoCache.layer(People).pipe(
            Layer.provideMerge(Repo.layer()),
            Layer.provide(PgClient.layer({ ...config, maxConnections: 2, connectTimeout: "5 seconds" }))
          )
        )
        const plain = yield* Cache.make({ name: "people", lookup: (id: number) => Repo.get(People, id) }).pipe(
          Effect.provide(context)
        )
        const both = yield* Deferred.make<void>()
        let inside = 0
        const one = Repo.session(
          Effect.gen(function* () {
            inside += 1
            const id = inside
            if (id === 2) yield* Deferred.succeed(both, undefined)
            yield* Deferred.await(both)
            yield* plain.get(id)
            const people = yield* RepoCache.of(People)
            yield* people.getOrLoad("names", names)
            return (yield* people.fetch(id)).name
          })
        )
        const started = yield* Effect.exit(Effect.all([one, one], { concurrency: 2 }).pipe(Effect.provide(context)))
        expect(started).toEqual(Exit.succeed(["Ada", "Bob"]))
      })
    )

    it.scoped("made in one goes on when that has ended", () =>
      Effect.gen(function* () {
        yield* tenant
        const scope = yield* Scope.Scope
        const people = yield* asTenant(Scope.extend(RepoCache.make(People), scope))
        expect((yield* people.fetch(1)).name).toBe("Ada")
      })
    )

    it.scoped("of a fiber that outlives the session is served like any other", () =>
      Effect.gen(function* () {
        yield* tenant
        const people = yield* RepoCache.make(People)
        const over = yield* Deferred.make<void>()
        const fiber = yield* asTenant(
          Effect.forkDaemon(Effect.zipRight(Deferred.await(over), Effect.all([people.fetch(1), people.getAll([2])])))
        )
        yield* Deferred.succeed(over, undefined)
        const [ada] = yield* Fiber.join(fiber)
        expect(ada.name).toBe("Ada")
        const before = (yield* people.stats).rows.hits
        yield* people.fetch(1)
        expect((yield* people.stats).rows.hits).toBe(before + 1)
      })
    )
  })

  describe("a load", () => {
    it.scoped("of a caller in a session is nobody else's, and one of nobody's session is not run in one", () =>
      Effect.gen(function* () {
        yield* tenant
        const cache = yield* Cache.make<string, ReadonlyArray<string>>({ name: "names" })
        const reading = yield* Deferred.make<void>()
        const go = yield* Deferred.make<void>()
        const slow = Effect.zipRight(
          Effect.zipRight(Deferred.succeed(reading, undefined), Deferred.await(go)),
          Effect.orDie(names)
        )
        const first = yield* Effect.fork(asTenant(cache.getOrLoad("names", slow)))
        yield* Deferred.await(reading)
        const second = yield* Effect.fork(cache.getOrLoad("names", Effect.orDie(names)))
        expect(yield* Fiber.join(second)).toEqual(["Ada", "Bob"])
        yield* Fiber.interrupt(first)
        yield* Deferred.succeed(go, undefined)
        expect(yield* cache.getOrLoad("names", Effect.orDie(names))).toEqual(["Ada", "Bob"])
      })
    )
  })
})
