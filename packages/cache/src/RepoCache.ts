/**
 * A cache before a table: rows by their key and what was queried, never older than the last commit that was acknowledged before the read began.
 *
 * `layer(People, { idle: "10 minutes" })` is all there is to say. What is not held is read through the Repo, once for all who ask. What the Repo writes is
 * forgotten after the outermost COMMIT, before `transact`, or the write, gives its result:
 *
 * ```text
 *   write ─▶ in a transaction: its own reads of that row go round the cache; others are served what is committed
 *     └─▶ COMMIT ──▶ forgotten: the rows by their keys, or all of them where those are not known; each query that depends on the table
 *     └─▶ ROLLBACK, of it all or to a savepoint ──▶ nothing is forgotten
 *     └─▶ nobody knows ──▶ all rows of the table are forgotten, and once more 5 seconds later, for the server may be late; so is everything, 5 seconds after
 *                          a cache was restarted, for it may have missed such an end
 * ```
 *
 * Nothing that was read inside of a transaction is kept for others, and no load that began before a commit is kept after it. Bulk writes forget by table as
 * `Announcement` says them. With `strict`, who reads a row that is being written reads the database from the first write to the end of the transaction. What
 * was written by hand is announced by `Announcement.touch`, or forgotten by `invalidate`.
 *
 * Rows are loaded in the cache's own context: with the hooks and the middleware of its Repo, and not with a caller's FiberRefs. So do not put it before tables
 * whose rows depend on who asks. Inside of a transaction an unchanged row is served from the cache too; read with `Repo` what has to be of the transaction's
 * own snapshot, of its own `search_path`, or locked.
 *
 * In a `Repo.session`, and inside of a `withTransaction` of @effect/sql's own client, everything is read from the database by the connection of that, and
 * nothing of it is kept: other rows may be found there. Writes in such a transaction are forgotten when PostgreSQL has answered its COMMIT.
 *
 * The Repo may be a child of a tree, or above a client that is one. When that is restarted everything is forgotten, and what the next instance writes is heard of.
 *
 * It knows what this process writes through the same client. What other processes write it knows with a `ChangeFeed` in its context.
 *
 * @since 0.1.0
 */
import * as Announcement from "@effecto/core/Announcement"
import type { NoOptions, ReadContext, ReadError } from "@effecto/core/Repo"
import { Repo } from "@effecto/core/Repo"
import { NotFound } from "@effecto/core/RepoError"
import type * as Table from "@effecto/core/Table"
import * as Transaction from "@effecto/core/Transaction"
import { Context, Duration, Effect, Equal, Layer, Option, Schema, type Scope } from "effect"
import type { Cache, Options as CacheOptions, Stats } from "./Cache.js"
import { ChangeFeed } from "./ChangeFeed.js"
import { commandsOf } from "./commands.js"
import type { Lifetime } from "./lifetime.js"
import { ALIASED } from "./load.js"
import { settingsOf } from "./options.js"
import { comparable, given, hasOneSpelling } from "./rowkey.js"
import { rowsByKey } from "./rowsbykey.js"
import { type Disagreement, type SampleOptions, Sampler } from "./sampler.js"
import { type Service, start } from "./service.js"
import type { Settings } from "./settings.js"
import { Succession } from "./succession.js"
import { meet, ownTag, tagsChanged, tagsRead } from "./tabletags.js"

export type { Disagreement, SampleOptions }

/**
 * The cache of one table: see `layer`.
 *
 * @since 0.1.0
 * @category models
 */
export interface RepoCache<in out T extends Table.Any> {
  readonly table: T

  /** The row with that key, or none. */
  readonly get: (key: Table.Key<T>) => Effect.Effect<Option.Option<Table.Row<T>>, ReadError<T>>

  /** The row with that key; fails with `NotFound` when there is none. */
  readonly fetch: (key: Table.Key<T>) => Effect.Effect<Table.Row<T>, NotFound<T["name"]> | ReadError<T>>

  /** The rows with these keys, in their order; those that are missing are read in one query where the key is one field. */
  readonly getAll: (
    keys: Iterable<Table.Key<T>>
  ) => Effect.Effect<ReadonlyArray<Option.Option<Table.Row<T>>>, ReadError<T>>

  /** Reads the row anew, whatever is held. */
  readonly refresh: (key: Table.Key<T>) => Effect.Effect<Option.Option<Table.Row<T>>, ReadError<T>>

  /**
   * What a query brought, kept under a key of its own: one key for one query, its parameters included. It is forgotten when a row of this table changes, or of one
   * that it `dependsOn`: name all that it reads. All who ask for the key meanwhile wait for one run, and share its failure.
   */
  readonly getOrLoad: <A, E, R>(
    key: string,
    query: Effect.Effect<A, E, R>,
    options?: QueryOptions
  ) => Effect.Effect<A, E, R>

  /** Forgets all rows and queries: after changes that no Repo of this process has made. In a transaction, after its commit. */
  readonly invalidate: Effect.Effect<void>

  /** What the cache has done, for rows and for queries. */
  readonly stats: Effect.Effect<{ readonly rows: Stats; readonly queries: Stats }>
}

/**
 * How a query is kept.
 *
 * @since 0.1.0
 * @category models
 */
export interface QueryOptions {
  /** The other tables that the query reads. */
  readonly dependsOn?: ReadonlyArray<Table.Any> | undefined
  /** By default the one that the cache has for its rows. */
  readonly lifetime?: Lifetime | undefined
}

/**
 * How a table is cached: lifetimes, bounds and outages as for any cache. Lifetimes are there to give memory back, and for what others change: what this process
 * writes is forgotten at once.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options<E = never>
  extends Pick<
    CacheOptions<unknown, unknown, E>,
    | "idle"
    | "max"
    | "jitter"
    | "capacity"
    | "policy"
    | "absent"
    | "staleWhileRevalidate"
    | "grace"
    | "softTimeout"
    | "hardTimeout"
    | "onAbandoned"
    | "refreshAhead"
    | "hitAges"
  > {
  /** How many rows are asked for by one statement at most, where many are missing. No limit by default. */
  readonly batchSize?: number | undefined
  /** How long a failure to read a row is kept, and answered to whoever asks for it meanwhile: what is known of queries is not. Not at all by default. */
  readonly failed?: Duration.DurationInput | undefined
  /** What the cache is called in errors, logs and metrics: by default the table's name, and that with `queries` behind it. */
  readonly name?: string | undefined
  /** How many queries are held at most. Unbounded by default. */
  readonly queries?: number | undefined
  /**
   * Serves nobody a row from the first write of it to the end of that transaction, nor a query that depends on it: who reads it meanwhile reads the database, and
   * what is read so is not kept. Without it the old row is served until the commit was acknowledged, which for a moment is after others can read the new one. A
   * write whose keys are not known beforehand holds the whole table: an insert, and whatever is asked for by a text, which may be another spelling of the
   * key (a uuid in upper case, `citext`). False by default.
   */
  readonly strict?: boolean | undefined
  /**
   * Reads one in so many hits of `get`, `fetch` from the database as well, after it was answered, and counts where that has something else that nobody has told
   * the cache of: `effecto_cache_incoherent_reads`, of `effecto_cache_sampled_reads`. Off by default. Rows are compared by the table's model.
   */
  readonly sample?: SampleOptions | undefined
}

const nameOf = (table: { readonly schema: string | undefined; readonly name: string }): string =>
  table.schema === undefined ? table.name : `${table.schema}.${table.name}`

/**
 * The tag of a table's cache. Tables of the same name have the same.
 *
 * @since 0.1.0
 * @category tags
 */
export const of = <T extends Table.Any>(table: T): Context.Tag<RepoCache<T>, RepoCache<T>> =>
  Context.GenericTag<RepoCache<T>>(`@effecto/cache/RepoCache/${nameOf(table)}`)

/** For who reads by a connection of his own, where other rows may be found: see `Transaction.unsafeIsApart`. */
const NOTHING_SERVED = { key: () => true, tag: () => true }

/** So long after a COMMIT of unknown outcome the server is taken to have ended it. */
const LATE = Duration.seconds(5)

/**
 * Makes the cache of a table that lives as long as its scope.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = <T extends Table.Any>(
  table: T,
  options: Options = {}
): Effect.Effect<RepoCache<T>, never, Repo | ReadContext<T, NoOptions> | Scope.Scope> => {
  // One for each effect: what one instance is to forget after a commit, its successor forgets.
  const ofRows = new Succession<unknown>()
  const ofQueries = new Succession<string>()
  let hasBegun = false
  return Effect.gen(function* () {
    type Row = Table.Row<T>
    type E = ReadError<T>
    const repo = yield* Repo
    const name = options.name ?? nameOf(table)
    const { absent, batchSize, capacity, failed, queries: most, sample, strict, ...common } = options
    const field = typeof table.key === "string" ? table.key : undefined
    /** Sound: keys come in by functions that take keys of the table, and this gives back what `comparable` made of them. */
    const keyOf = (key: unknown) => given(key) as Table.Key<T>
    /** The key that commits announce this row by. */
    const ownKey = (row: Row): unknown => {
      const fields = row as Record<string, unknown> // a row is an object, with the fields of its key among others
      return typeof table.key === "string"
        ? comparable(fields[table.key])
        : comparable(Object.fromEntries(table.key.map((name: string) => [name, fields[name]])))
    }
    const tables = new Map<string, Table.Any>([[ownTag(table), table]])

    const rows = yield* started<unknown, Row, E, ReadContext<T, NoOptions>>(
      {
        ...common,
        absent,
        batchSize,
        capacity,
        failed,
        name,
        lookup: (key) => repo.get(table, keyOf(key)),
        lookupAll:
          field === undefined
            ? undefined
            : (keys) =>
                rowsByKey<unknown, Row, E, ReadContext<T, NoOptions>>(
                  {
                    // Sound: an equality of the key's field with a list of keys is a condition of this table.
                    all: (keys) => repo.all(table, { [field]: keys.map(given) } as never),
                    one: (key) => repo.get(table, keyOf(key)),
                    keyOf: ownKey
                  },
                  keys
                )
      },
      {
        changed: ({ currentContext }) =>
          Transaction.unsafeIsApart(currentContext)
            ? NOTHING_SERVED
            : {
                key: (key) => Announcement.unsafeHasPending(repo, currentContext, table, keyOf(key)),
                tag: () => false
              },
        // Under another spelling of its key a row would not be forgotten when it changes.
        keeps: (key, row) => Equal.equals(ownKey(row), key),
        aliased: (key) => !hasOneSpelling(key),
        missing: (key) =>
          new NotFound<T["name"]>({
            table: table.name,
            fields: typeof table.key === "string" ? [table.key] : table.key,
            by: given(key)
          })
      },
      ofRows
    )
    const queries = yield* started<string, unknown, unknown, never>(
      { ...common, name: `${name} queries`, capacity: most },
      {
        changed: ({ currentContext }) =>
          Transaction.unsafeIsApart(currentContext)
            ? NOTHING_SERVED
            : {
                key: () => false,
                tag: (tag) => {
                  const read = tables.get(tag)
                  return read !== undefined && Announcement.unsafeHasPending(repo, currentContext, read)
                }
              }
      },
      ofQueries
    )
    const forget = (change: Announcement.Change, outcome: Announcement.Announcement["outcome"]) => {
      const changed = { schema: change.schema, name: change.table }
      for (const tag of tagsChanged(changed)) queries.service.succession.evictTag(tag)
      if (!meet(changed, table)) return
      if (change.keys === "all" || outcome === "unknown") rows.service.succession.evictAll()
      else {
        for (const key of change.keys) rows.service.succession.evict(comparable(key))
        rows.service.succession.evictTag(ALIASED)
      }
    }
    // Before the first read, so that none of them is missed.
    yield* Announcement.listen(({ changes, outcome }) => {
      for (const change of changes) forget(change, outcome)
      if (outcome === "unknown") {
        rows.service.fork(
          Effect.delay(
            Effect.sync(() => {
              for (const change of changes) forget(change, outcome)
            }),
            LATE
          )
        )
      }
    })

    const forgetAll = () => {
      rows.service.succession.evictAll()
      queries.service.succession.evictAll()
    }
    // What the one before it was still to forget, or what ended while there was none: what hurts the database often restarts its caches, too.
    if (hasBegun) rows.service.fork(Effect.delay(Effect.sync(forgetAll), LATE))
    hasBegun = true
    yield* Announcement.onRestart(forgetAll)

    const feed = yield* Effect.serviceOption(ChangeFeed)
    if (Option.isSome(feed)) {
      yield* feed.value.subscribe({
        forget: (change) => forget(change, "committed"),
        forgetAll,
        bypass: () => {
          const ends = [ofRows.locks.everything(), ofQueries.locks.everything()]
          return () => {
            for (const end of ends) end()
          }
        }
      })
    }

    if (strict === true) {
      yield* Announcement.guard((change) => {
        const changed = { schema: change.schema, name: change.table }
        const ends = tagsChanged(changed).map((tag) => ofQueries.locks.tag(tag))
        if (meet(changed, table)) {
          if (change.keys === "all") ends.push(ofRows.locks.everything())
          else for (const key of change.keys) ends.push(ofRows.locks.one(comparable(key)))
        }
        return () => {
          for (const end of ends) end()
        }
      })
    }

    const readQuery = <A, E2, R>(
      key: string,
      query: Effect.Effect<A, E2, R>,
      { dependsOn = [], lifetime }: QueryOptions = {}
    ) => {
      for (const read of dependsOn) tables.set(ownTag(read), read)
      const tags = dependsOn.length === 0 ? tagsRead(table) : [table, ...dependsOn].flatMap(tagsRead)
      // Sound: one key is for one query, as its documentation says, so what is under it is what that query brings or fails with.
      return queries.cache.getOrLoad(key, query, lifetime, { tags }) as Effect.Effect<A, E2, R>
    }
    // Sound: what it requires is in the context that the cache was made in, and everything of the cache's own runs with that.
    const read = (key: unknown) => repo.get(table, keyOf(key)) as Effect.Effect<Option.Option<Row>, E>
    const sampler =
      sample &&
      new Sampler<unknown, Row>(asGiven(sample), {
        name,
        hits: () => rows.service.store.counters.hits,
        read,
        held: rows.cache.unsafePeek,
        isSame: Schema.equivalence(table.model),
        forget: (key) => rows.service.succession.evict(key),
        fork: (effect) => rows.service.fork(Effect.ignore(effect))
      })
    const sampled =
      (sampler: Sampler<unknown, Row>) =>
      (key: unknown): Effect.Effect<Option.Option<Row>, E> =>
        Effect.map(rows.cache.get(key), (row) => {
          if (Option.isSome(row)) sampler.see(key, row.value)
          return row
        })
    const get = sampler === undefined ? rows.cache.get : sampled(sampler)
    // Sound: `missing` is what it fails with where there is no row.
    const fetchPlain = rows.cache.fetch as (key: unknown) => Effect.Effect<Row, NotFound<T["name"]> | E>
    const fetch =
      sampler === undefined
        ? fetchPlain
        : (key: unknown) => Effect.tap(fetchPlain(key), (row) => Effect.sync(() => sampler.see(key, row)))
    const cache: RepoCache<T> = {
      table,
      get: (key) => get(comparable(key)),
      fetch: (key) => fetch(comparable(key)),
      getAll: (keys) => rows.cache.getAll(Array.from(keys, comparable)),
      refresh: (key) => rows.cache.refresh(comparable(key)),
      getOrLoad: readQuery,
      invalidate: Effect.zipRight(rows.cache.clear, queries.cache.clear),
      stats: Effect.all({ rows: rows.cache.stats, queries: queries.cache.stats })
    }
    return cache
  })
}

/** Tells of keys as they were asked for. */
const asGiven = ({ onDisagreement, ...options }: SampleOptions): SampleOptions =>
  onDisagreement === undefined
    ? options
    : { ...options, onDisagreement: (found) => onDisagreement({ ...found, key: given(found.key) }) }

const started = <K, V, E, R>(
  options: CacheOptions<K, V, E, R>,
  more: Pick<Settings<K, V, E>, "aliased" | "changed" | "keeps" | "missing">,
  succession: Succession<K>
): Effect.Effect<{ readonly service: Service<K, V, E>; readonly cache: Cache<K, V, E> }, never, Scope.Scope | R> =>
  Effect.suspend(() =>
    Effect.map(start({ ...settingsOf(options), ...more }, succession), (service) => ({
      service,
      cache: commandsOf(service, [])
    }))
  )

/**
 * Provides the cache of a table under the tag `RepoCache.of(table)`.
 *
 * @since 0.1.0
 * @category layers
 * @example
 * ```ts
 * import { Model, SqlClient } from "@effect/sql"
 * import { RepoCache } from "@effecto/cache"
 * import { Repo, Table } from "@effecto/core"
 * import { EmbeddedPostgres } from "@effecto/core/testing"
 * import { Effect, Layer, Schema } from "effect"
 *
 * class Person extends Model.Class<Person>("Person")({ id: Schema.Number, name: Schema.String }) {}
 *
 * const People = Table.make(Person, { name: "people", key: "id" })
 *
 * const program = Effect.gen(function* () {
 *   const sql = yield* SqlClient.SqlClient
 *   yield* sql`create table people (id int primary key, name text not null)`
 *   yield* Repo.insert(People, { id: 1, name: "Ada" })
 *
 *   const people = yield* RepoCache.of(People)
 *   yield* people.fetch(1) // reads the row; the next one does not
 *   const ada = yield* people.fetch(1)
 *   yield* Repo.update(People, ada, { name: "Ada Lovelace" }) // forgets it
 *   console.log((yield* people.fetch(1)).name) // Ada Lovelace
 * })
 *
 * const Live = RepoCache.layer(People, { idle: "10 minutes" }).pipe(
 *   Layer.provideMerge(Repo.layer()),
 *   Layer.provide(EmbeddedPostgres)
 * )
 *
 * Effect.runPromise(program.pipe(Effect.provide(Live)))
 * ```
 */
export const layer = <T extends Table.Any>(
  table: T,
  options?: Options
): Layer.Layer<RepoCache<T>, never, Exclude<Repo | ReadContext<T, NoOptions>, Scope.Scope>> =>
  Layer.scoped(of(table), make(table, options))

/**
 * `get` of the table's cache.
 *
 * @since 0.1.0
 * @category reading
 */
export const get = <T extends Table.Any>(
  table: T,
  key: Table.Key<T>
): Effect.Effect<Option.Option<Table.Row<T>>, ReadError<T>, RepoCache<T>> =>
  Effect.flatMap(of(table), (cache) => cache.get(key))

/**
 * `fetch` of the table's cache.
 *
 * @since 0.1.0
 * @category reading
 */
export const fetch = <T extends Table.Any>(
  table: T,
  key: Table.Key<T>
): Effect.Effect<Table.Row<T>, NotFound<T["name"]> | ReadError<T>, RepoCache<T>> =>
  Effect.flatMap(of(table), (cache) => cache.fetch(key))

/**
 * `getAll` of the table's cache.
 *
 * @since 0.1.0
 * @category reading
 */
export const getAll = <T extends Table.Any>(
  table: T,
  keys: Iterable<Table.Key<T>>
): Effect.Effect<ReadonlyArray<Option.Option<Table.Row<T>>>, ReadError<T>, RepoCache<T>> =>
  Effect.flatMap(of(table), (cache) => cache.getAll(keys))

/**
 * `getOrLoad` of the table's cache.
 *
 * @since 0.1.0
 * @category reading
 */
export const getOrLoad = <T extends Table.Any, A, E, R>(
  table: T,
  key: string,
  query: Effect.Effect<A, E, R>,
  options?: QueryOptions
): Effect.Effect<A, E, R | RepoCache<T>> => Effect.flatMap(of(table), (cache) => cache.getOrLoad(key, query, options))
