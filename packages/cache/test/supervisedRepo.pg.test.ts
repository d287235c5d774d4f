/** Caches, feeds and locks over a Repo, or a client, that is a child of a tree, on a real PostgreSQL: they see it through a handle, and it is restarted. */

import { SqlClient } from "@effect/sql"
import { PgClient } from "@effect/sql-pg"
import { expect, layer } from "@effect/vitest"
import { ChangeFeed, RepoCache } from "@effecto/cache"
import {
  AdvisoryLock,
  Announcement,
  Notification,
  Repo,
  Supervised,
  SupervisionTree,
  TestSupervision
} from "@effecto/core"
import { EmbeddedPostgres } from "@effecto/core/testing"
import { Cause, Deferred, Effect, Exit, Layer, Logger, Option, Stream } from "effect"
import { fixture, People, process } from "./processes.js"

const restart = (path: string) => Effect.zipRight(TestSupervision.crash(path), TestSupervision.awaitRestart(path))

const clientLayer = Layer.unwrapEffect(
  Effect.map(PgClient.PgClient, ({ config }) => PgClient.layer({ ...config, maxConnections: 3 }))
)

/** The ways in which a Repo and its client may be children, and what is restarted then. */
const compositions = {
  "the Repo and its client are one child": {
    path: "app/repo",
    data: (client: typeof clientLayer) => Repo.layer().pipe(Layer.provide(client), Supervised.layer({ id: "repo" }))
  },
  "the client is a child, and the Repo another one": {
    path: "app/client",
    data: (client: typeof clientLayer) =>
      Repo.layer().pipe(
        Supervised.layer({ id: "repo" }),
        Layer.provide(client.pipe(Supervised.layer({ id: "client" })))
      )
  },
  "the client is a child, and the Repo is none": {
    path: "app/client",
    data: (client: typeof clientLayer) =>
      Repo.layer().pipe(Layer.provide(client.pipe(Supervised.layer({ id: "client" }))))
  },
  "both are in a tree inside of a child": {
    path: "app/data",
    data: (client: typeof clientLayer) =>
      Repo.layer().pipe(
        Layer.provide(client),
        Supervised.layer({ id: "repo" }),
        SupervisionTree.layer({ name: "inner" }),
        Supervised.layer({ id: "data" })
      )
  }
}

const cacheChild = RepoCache.layer(People).pipe(Supervised.layer({ id: "people" }))
const feedChild = ChangeFeed.layer({ probe: "1 minute" }).pipe(Supervised.layer({ id: "feed" }))

const strategies = ["one_for_one", "rest_for_dependents"] as const

const silent = Effect.provide(Logger.remove(Logger.defaultLogger))

layer(EmbeddedPostgres, { excludeTestServices: true })((it) => {
  for (const [composition, { data, path }] of Object.entries(compositions)) {
    it.effect(`a transaction reads its own writes: ${composition}`, () =>
      Effect.gen(function* () {
        yield* fixture
        const base = yield* Effect.context<PgClient.PgClient>()
        const tree = cacheChild.pipe(
          Layer.provideMerge(data(clientLayer)),
          Layer.provide(Layer.succeedContext(base)),
          SupervisionTree.layer({ name: "app", intensity: 100 })
        )
        const seen = yield* Effect.gen(function* () {
          const people = yield* RepoCache.of(People)
          const names = people.getOrLoad(
            "names",
            Effect.map(Repo.all(People), (rows) => rows.map(({ name }) => name).sort())
          )
          yield* people.fetch(1)
          yield* names
          const inside = yield* Repo.transact(
            Effect.gen(function* () {
              yield* Repo.update(People, 1, { name: "Eve" })
              const pending = yield* Announcement.pending
              return [(yield* people.fetch(1)).name, yield* names, pending.map(({ keys }) => keys)]
            })
          )
          return [inside, [(yield* people.fetch(1)).name, yield* names]]
        }).pipe(SupervisionTree.provide(tree), silent)
        expect(seen).toEqual([
          ["Eve", ["Bob", "Eve"], [[1]]],
          ["Eve", ["Bob", "Eve"]]
        ])
      })
    )

    for (const strategy of strategies) {
      it.effect(`a restart leaves no cache behind, ${strategy}: ${composition}`, () =>
        Effect.gen(function* () {
          const sql = yield* fixture
          const base = yield* Effect.context<PgClient.PgClient>()
          const tree = cacheChild.pipe(
            Layer.provideMerge(data(clientLayer)),
            Layer.provide(Layer.succeedContext(base)),
            SupervisionTree.layer({ name: "app", intensity: 100, strategy })
          )
          const seen = yield* Effect.gen(function* () {
            const people = yield* RepoCache.of(People)
            const name = (id: number) => Effect.map(people.fetch(id), ({ name }) => name)
            const seen: Array<unknown> = [yield* name(1)]
            for (const round of [1, 2]) {
              yield* restart(path)
              // What was held is of the instance before; what it missed is not to be served.
              yield* sql`update people set name = ${`after ${round}`} where id = 1`
              yield* Repo.all(People)
              seen.push(yield* name(1), yield* name(2))
              yield* Repo.update(People, 1, { name: `Ada ${round}` })
              yield* Repo.transact(Repo.update(People, 2, { name: `Bob ${round}` }))
              seen.push(yield* name(1), yield* name(2))
            }
            return seen
          }).pipe(SupervisionTree.provide(tree), silent)
          expect(seen).toEqual([
            "Ada",
            ...["after 1", "Bob", "Ada 1", "Bob 1"],
            ...["after 2", "Bob 1", "Ada 2", "Bob 2"]
          ])
        })
      )
    }

    it.effect(`a feed listens, and listens again after a restart: ${composition}`, () =>
      Effect.gen(function* () {
        yield* fixture
        const base = yield* Effect.context<PgClient.PgClient>()
        const tree = cacheChild.pipe(
          Layer.provideMerge(feedChild),
          Layer.provideMerge(data(clientLayer)),
          Layer.provide(Layer.succeedContext(base)),
          SupervisionTree.layer({ name: "app", intensity: 100, strategy: "one_for_one" })
        )
        yield* Effect.scoped(
          Effect.gen(function* () {
            const other = yield* process("other")
            yield* other.name(1)
            yield* Effect.gen(function* () {
              const people = yield* RepoCache.of(People)
              const name = Effect.map(people.fetch(1), ({ name }) => name)
              const { events, feed } = yield* heard
              for (const round of [1, 2]) {
                // What others write is heard here,
                yield* name
                yield* other.run(Repo.update(People, 1, { name: `theirs ${round}` }))
                yield* events.until(`[1]`)
                expect(yield* name).toBe(`theirs ${round}`)
                // and there what is written here.
                yield* Repo.update(People, 1, { name: `ours ${round}` })
                yield* other.until("people [1]")
                expect(yield* other.name(1)).toBe(`ours ${round}`)
                yield* other.clear
                if (round === 2) break
                events.clear()
                yield* restart(path)
                yield* Repo.all(People)
                yield* events.until("everything")
                yield* awaitListening(feed)
                events.clear()
              }
            }).pipe(SupervisionTree.provide(tree))
          })
        ).pipe(silent)
      })
    )

    it.effect(`what needs a connection beside the pool gets it, before a restart and after it: ${composition}`, () =>
      Effect.gen(function* () {
        const base = yield* Effect.context<PgClient.PgClient>()
        const tree = data(clientLayer).pipe(
          Layer.provide(Layer.succeedContext(base)),
          SupervisionTree.layer({ name: "app", intensity: 100 })
        )
        const seen = yield* Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          const seen: Array<unknown> = []
          for (const round of [1, 2]) {
            if (round === 2) yield* restart(path)
            yield* Effect.scoped(
              Effect.gen(function* () {
                const first = yield* Deferred.make<string>()
                yield* Notification.listen("news", (payload) => Deferred.unsafeDone(first, Effect.succeed(payload)))
                yield* Notification.notify("news", `round ${round}`)
                seen.push(yield* Deferred.await(first))
              })
            )
            seen.push(Option.isSome(yield* Effect.scoped(AdvisoryLock.trySession("one"))))
            yield* Repo.transact(Effect.zipRight(AdvisoryLock.acquire("two"), sql`select 1`))
            seen.push(yield* Repo.session(Effect.zipRight(sql`set application_name = 's'`, sql`show application_name`)))
            // A sandbox over it, whose transaction is of its own.
            const inSandbox = Effect.flatMap(SqlClient.SqlClient, (own) =>
              Repo.transact(own<{ n: number }>`select 1 as n`)
            )
            seen.push(yield* Effect.provide(inSandbox, Repo.sandbox))
          }
          return seen
        }).pipe(SupervisionTree.provide(tree), silent)
        const one = [true, [{ application_name: "s" }], [{ n: 1 }]]
        expect(seen).toEqual(["round 1", ...one, "round 2", ...one])
      })
    )
  }

  it.effect(
    "a middleware around a Repo that is a child goes around its next instance, and so does one around that",
    () =>
      Effect.gen(function* () {
        yield* fixture
        const base = yield* Effect.context<PgClient.PgClient>()
        const seen: Array<unknown> = []
        const watching = (name: string) =>
          Repo.middleware((call, next) => {
            seen.push(`${name} ${call.operation}`)
            return next()
          })
        const tree = watching("outer").pipe(
          Layer.provideMerge(watching("inner")),
          Layer.provideMerge(compositions["the Repo and its client are one child"].data(clientLayer)),
          Layer.provide(Layer.succeedContext(base)),
          SupervisionTree.layer({ name: "app", intensity: 100 })
        )
        yield* Effect.gen(function* () {
          const kept = Repo.fetch(People, 1)
          yield* kept
          yield* restart("app/repo")
          seen.push((yield* kept).name)
          seen.push(yield* Stream.runCount(Repo.stream(People)), yield* Repo.transact(Repo.count(People)))
        }).pipe(SupervisionTree.provide(tree), silent)
        const fetch = ["outer get", "inner get"]
        const rest = seen.slice(5)
        expect(seen.slice(0, 5)).toEqual([...fetch, ...fetch, "Ada"])
        expect(rest.filter((one) => typeof one === "number")).toEqual([2, 2])
      })
  )

  it.effect("a feed that cannot begin says why: a defect is a defect", () =>
    Effect.gen(function* () {
      // Sound: it is no client, which is the point.
      const through = {} as SqlClient.SqlClient
      const exit = yield* Effect.exit(
        Effect.scoped(Layer.build(ChangeFeed.layer({ through }).pipe(Layer.provide(Repo.layer()))))
      )
      const told = Exit.isFailure(exit) ? Cause.pretty(exit.cause) : "nothing"
      expect(told).toContain("is not a function")
      expect(told).not.toContain("PgBouncer")
    })
  )
})

/** What the feed of the tree tells its subscribers. */
const heard = Effect.gen(function* () {
  const feed = yield* ChangeFeed.ChangeFeed
  const events: Array<string> = []
  const waiting = new Map<string, Deferred.Deferred<void>>()
  const add = (event: string) => {
    events.push(event)
    const one = waiting.get(event)
    if (one !== undefined) Deferred.unsafeDone(one, Effect.void)
  }
  yield* feed.subscribe({
    forget: ({ keys }) => add(JSON.stringify(keys)),
    forgetAll: () => add("everything"),
    bypass: () => () => {}
  })
  return {
    feed,
    events: {
      clear: () => {
        events.length = 0
        waiting.clear()
      },
      until: (event: string) =>
        Effect.gen(function* () {
          if (events.includes(event)) return
          const one = yield* Deferred.make<void>()
          waiting.set(event, one)
          yield* Effect.timeoutFail(Deferred.await(one), {
            duration: "10 seconds",
            onTimeout: () => new Error(`waited for ${event}: ${events}`)
          })
        })
    }
  }
})

const awaitListening = (feed: ChangeFeed.Service): Effect.Effect<void> =>
  Effect.repeat(Effect.zipLeft(feed.status, Effect.yieldNow()), { until: (status) => status === "listening" })
