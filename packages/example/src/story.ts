/**
 * The story that `npm start` tells, in the order in which it is told.
 *
 *   PostgresServer                  the server in DATABASE_URL, or an embedded one
 *     └─ a temporary database
 *          └─ Migrations            create people, create and load countries
 *               └─ SupervisionTree "app", rest_for_dependents
 *                    ├─ repo        rows in and out, transactions; its pool of connections (SqlClient)
 *                    ├─ people      the cache of people
 *                    ├─ fallback    the same by hand: a cache, and a hook that falls back to the database
 *                    └─ ingest      a tree of its own (ingest.ts)
 *                         └─ feed   reads lines of text, and crashes
 */

import { SqlClient } from "@effect/sql"
import { Cache, RepoCache } from "@effecto/cache"
import { AdvisoryLock, PostgresServer, Repo, Supervised, SupervisionTree, TestSupervision } from "@effecto/core"
import {
  Clock,
  Context,
  Deferred,
  Effect,
  Fiber,
  Layer,
  Logger,
  LogLevel,
  Metric,
  Option,
  Schedule,
  TestClock,
  TestContext
} from "effect"
import { Ingest, theGiveUp } from "./ingest.js"
import { Countries, Migrations, People, type Person } from "./tables.js"
import { logging, print, step, tell } from "./transcript.js"

type PeopleError = Repo.ReadError<typeof People>

export const PeopleCache = RepoCache.of(People)

export class Fallback extends Context.Tag("Fallback")<Fallback, Cache.Cache<number, Person, PeopleError>>() {}

/** The trick of EctoFallback: what the cache does not have is fetched from the database and put into the cache. */
const databaseFallback = Cache.replace(
  "get",
  ({ cache, key, result }: Cache.After<number, Person, PeopleError, "get">) =>
    Option.isSome(result)
      ? Effect.succeed(result)
      : Effect.logDebug(`Try to retrieve key {people, ${key}} from database`).pipe(
          Effect.zipRight(Repo.get(People, key)),
          Effect.tap((found) => (Option.isSome(found) ? cache.put(key, found.value) : Effect.void))
        )
)

/** The database is made before the tree, and is there until the program ends, whatever dies in between. */
const Database = Migrations.pipe(
  Layer.provideMerge(PostgresServer.temporaryDatabase()),
  Layer.provideMerge(PostgresServer.layer())
)

/** The Repo and its pool of connections: one child, since a Repo is at home in the connections themselves. */
const Data = Layer.unwrapEffect(
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    const [row] = yield* sql<{ readonly database: string }>`select current_database() as database`
    return Repo.layer().pipe(Layer.provide(PostgresServer.client(row)), Supervised.layer({ id: "repo" }))
  })
)

export const App = Ingest.pipe(
  Layer.provideMerge(
    Cache.layer(Fallback, { name: "fallback", hooks: [databaseFallback] }).pipe(Supervised.layer({ id: "fallback" }))
  ),
  Layer.provideMerge(RepoCache.layer(People, { idle: "10 minutes" }).pipe(Supervised.layer({ id: "people" }))),
  Layer.provideMerge(Data),
  SupervisionTree.layer({ name: "app", strategy: "rest_for_dependents" }),
  Layer.provide(Database)
)

const theFallback = Effect.gen(function* () {
  const fallback = yield* Fallback
  yield* tell("First let's check that there is nothing in the cache or the database.")
  yield* step(() => fallback.get(1))

  yield* tell("Create a person.")
  yield* step(() => Repo.insert(People, { firstName: "Carlos", lastName: "Bolanos", age: 33 }))

  yield* tell("Now let's try to retrieve it from the cache: it comes from the database.")
  yield* step(() => fallback.get(1))

  yield* tell("At this point it should be cached already: no query.")
  yield* step(() => fallback.get(1))
})

const theTransaction = Effect.gen(function* () {
  const fallback = yield* Fallback
  const people = yield* PeopleCache
  const written = yield* Deferred.make<void>()
  const reader = yield* Effect.fork(
    Effect.zipRight(
      Deferred.await(written),
      step(() => people.get(1))
    )
  )
  const anotherFiberReads = Effect.zipRight(Deferred.succeed(written, undefined), Fiber.join(reader))

  yield* tell("That was a hook of five lines. The everyday form is RepoCache: it takes the table, and nothing else.")
  yield* step(() => people.get(1))

  yield* tell(
    "Update the person in a transaction. Until it commits, another fiber still reads the old value, from the cache."
  )
  yield* tell("People are forgotten by themselves; the cache with the hook is told what is written.")
  yield* step(() =>
    Repo.transact(
      Effect.gen(function* () {
        yield* Repo.update(People, 1, { age: 34 }).pipe(fallback.evicting(1))
        yield* anotherFiberReads
      })
    )
  )
  yield* tell("After the commit the next read of either sees the new value.")
  yield* step(() => people.get(1))
  yield* step(() => fallback.get(1))

  yield* tell("An update that is rolled back invalidates nothing.")
  yield* Effect.flip(
    step(() =>
      Repo.transact(
        Effect.gen(function* () {
          yield* Repo.update(People, 1, { age: 99 }).pipe(fallback.evicting(1))
          return yield* Effect.fail("changed my mind")
        })
      )
    )
  )
  yield* step(() => people.get(1))
})

const theCountries = Effect.gen(function* () {
  const people = yield* RepoCache.make(People, { idle: "10 seconds" })
  const capitals = Effect.map(Repo.all(Countries), (all) =>
    all.map(({ capital }) => capital).filter((capital) => capital.startsWith("Nu"))
  )
  const read = step(() => people.getOrLoad("capitals in Nu", capitals, { dependsOn: [Countries] }))

  yield* tell("A query is kept too: here for 10 seconds after it was last read. Time is TestClock's in this part.")
  yield* read
  yield* step(() => TestClock.adjust("6 seconds"))
  yield* tell("Read in time, and renewed by that ...")
  yield* read
  yield* step(() => TestClock.adjust("6 seconds"))
  yield* tell("... it is still there after 12 seconds ...")
  yield* read
  yield* step(() => TestClock.adjust("10 seconds"))
  yield* tell("... and gone after 10 more without a reader.")
  yield* read
  yield* tell("It depends on the countries: when one of them is written, it is forgotten at once.")
  yield* step(() => Repo.update(Countries, "KZ", { capital: "Nur-Sultan" }))
  yield* read
}).pipe(
  Effect.scoped,
  Effect.provide(TestContext.TestContext),
  // In a fiber of its own: TestContext stays with the fiber that it was provided to.
  Effect.fork,
  Effect.flatMap(Fiber.await),
  Effect.flatten
)

const theLock = Effect.gen(function* () {
  const begin = yield* Clock.currentTimeMillis
  const note = (text: string) =>
    Effect.flatMap(Clock.currentTimeMillis, (now) => print(`${String(now - begin).padStart(5)} ms  ${text}`))
  const sql = yield* SqlClient.SqlClient
  const somebodyWaits = sql`select from pg_locks where locktype = 'advisory' and not granted`.pipe(
    Effect.repeat({ until: (rows) => rows.length > 0, schedule: Schedule.spaced("20 millis") }),
    Logger.withMinimumLogLevel(LogLevel.Info)
  )
  const taken = yield* Deferred.make<void>()

  yield* tell(
    "Two fibers, each on a connection of its own, want one advisory lock: the second waits until the first commits."
  )
  const first = Repo.transact(
    AdvisoryLock.acquire("billing").pipe(
      Effect.andThen(note("the first has the lock")),
      Effect.andThen(Deferred.succeed(taken, undefined)),
      Effect.andThen(somebodyWaits),
      Effect.andThen(note("PostgreSQL sees the second waiting")),
      Effect.andThen(Effect.sleep("200 millis")),
      Effect.andThen(note("the first commits"))
    )
  )
  const second = Deferred.await(taken).pipe(
    Effect.andThen(note("the second asks for it")),
    Effect.andThen(Repo.transact(Effect.andThen(AdvisoryLock.acquire("billing"), note("the second has the lock"))))
  )
  yield* Effect.all([first, second], { concurrency: 2, discard: true })
  yield* print("")
})

const drawTree = Effect.flatMap(SupervisionTree.snapshot, (tree) => print(`${SupervisionTree.render(tree)}\n`))

const theCrash = Effect.gen(function* () {
  const people = yield* PeopleCache
  yield* tell("The cache lives in a fiber that is watched. Crash it on purpose:")
  yield* drawTree
  yield* step(() => TestSupervision.crash("app/people"))
  yield* step(() => TestSupervision.awaitRestart("app/people").pipe(Effect.map((instance) => `instance ${instance}`)))
  yield* tell("The handle that was taken before the crash still answers, from a new and empty cache.")
  yield* step(() => people.get(1))
  yield* drawTree
})

const statsOfPeople = Effect.flatMap(PeopleCache, (people) => Effect.map(people.stats, ({ rows }) => rows))

const summary = (before: Cache.Stats) =>
  Effect.gen(function* () {
    const after = yield* statsOfPeople
    const tree = yield* SupervisionTree.snapshot
    const queries = yield* Effect.forEach(["people", "countries"], (table) =>
      Effect.map(Metric.value(Repo.queriesOf(table)), ({ count }) => `${count} about ${table}`)
    )
    yield* tell("That was:")
    yield* print(`queries   ${queries.join(", ")}`)
    yield* print(`hits      ${before.hits + after.hits}`)
    yield* print(`misses    ${before.misses + after.misses}`)
    yield* print(`restarts  ${tree.children.reduce((sum, { restarts }) => sum + restarts, 0)}`)
  })

export const story = Effect.gen(function* () {
  yield* theFallback
  yield* theTransaction
  yield* theCountries
  yield* theLock
  const before = yield* statsOfPeople
  yield* theCrash
  yield* theGiveUp
  yield* drawTree
  yield* summary(before)
}).pipe(Effect.provide(Layer.provideMerge(App, logging)))
