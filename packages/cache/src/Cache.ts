/**
 * A cache that lives in a fiber of its own, loads each key once whoever asks, and never brings back what was removed.
 *
 * Make one with `make` in a scope, or provide it with `layer`, and supervise it as `Supervised.layer(Cache.layer(People, …), { id: "people" })`: should its
 * fiber die, what it held is gone with it and the next instance begins empty.
 *
 * ```text
 *              get, fetch                    what lookup brought
 *   nothing ───────────────▶ being loaded ───────────────────────▶ held ──▶ expired, evicted
 *      ▲                          │                                 │
 *      └──────────────────────────┴────── put, delete, clear ◀──────┘     (a load that is overtaken is never published)
 * ```
 *
 * Keys are compared as Effect compares: primitives by value; `Data.tuple`, `Data.struct`, other `Equal` objects, `Date` and `URL` by their contents, which must
 * not change meanwhile; anything else by reference.
 *
 * It is *not* shared between processes, and it does not know by itself what a database has changed: say so with `evicting`.
 *
 * @since 0.1.0
 */
import {
  type Context,
  type Duration,
  Effect,
  type Either,
  type Exit,
  Layer,
  Option,
  type Scope,
  type Stream
} from "effect"
import type { NotCached } from "./CacheError.js"
import type { Hook } from "./CommandHook.js"
import { commandsOf } from "./commands.js"
import type { Lifetime } from "./lifetime.js"
import type { Event } from "./notices.js"
import { settingsOf } from "./options.js"
import { start } from "./service.js"
import type { Removal } from "./settings.js"
import { Succession } from "./succession.js"

export { CacheClosed, CyclicLoad, LoadTimedOut, NotCached } from "./CacheError.js"
export {
  type Action,
  type After,
  after,
  type Before,
  before,
  type Command,
  type Failure,
  type Hook,
  type HookOptions,
  type Results,
  replace
} from "./CommandHook.js"
export { type Dump, type DumpOptions, dump, restore } from "./dump.js"
export type { Lifetime } from "./lifetime.js"
export type { Event } from "./notices.js"
export type { Removal } from "./settings.js"

/**
 * So many hits were of values younger than `below` milliseconds since they were written, and no younger than half of that; those younger than one are below 1.
 *
 * @since 0.1.0
 * @category models
 */
export interface HitAge {
  readonly below: number
  readonly hits: number
}

/**
 * What a cache has done since it was made.
 *
 * `misses` are reads that found nothing to serve, whether or not something could then be loaded; `revokedLoads` are loads that `put`, `delete` or `clear`
 * overtook, so that what they brought was not kept; `staleServes` are reads that were answered with a value that had expired; `refreshes` are loads of what
 * was still held; `loadTime` is milliseconds, of all loads together. `size` counts what can be served now, `absences` what is known not to be there.
 *
 * The same numbers are metrics: `effecto_cache_hits` and so on, tagged with the cache's name. They are brought up to date whenever a load ends, the sweeper has
 * been round, or this is asked for: a hit itself costs nothing for it.
 *
 * @since 0.1.0
 * @category models
 */
export interface Stats {
  readonly size: number
  readonly hits: number
  readonly misses: number
  readonly loads: number
  readonly loadFailures: number
  readonly revokedLoads: number
  readonly expirations: number
  readonly evictions: number
  readonly invalidations: number
  readonly replacements: number
  readonly staleServes: number
  readonly refreshes: number
  readonly loadTime: number
  readonly weight: number
  readonly absences: number
  /** How old values were when they were served: none unless the cache has `hitAges`. */
  readonly hitAges: ReadonlyArray<HitAge>
}

/**
 * A value that is held: `left` are the milliseconds until it expires if nobody reads it, `idle` those that a read grants, `max` those until it expires however
 * often it is read; `Infinity` for never.
 *
 * @since 0.1.0
 * @category models
 */
export interface Content<out K, out V> {
  readonly key: K
  readonly value: V
  readonly left: number
  readonly idle: number
  readonly max: number
}

/**
 * A cache of values `V` under keys `K`, whose loads fail with `E`.
 *
 * After its scope has ended, every operation is a `CacheClosed` defect.
 *
 * @since 0.1.0
 * @category models
 */
export interface Cache<in out K, in out V, in out E = never> {
  readonly name: string

  /**
   * The value under the key: the one that is held, whose idle lifetime starts anew, or else the one that `lookup` brings.
   *
   * However many ask for a missing key, it is loaded once, by a fiber of the cache: no caller's interruption stops it, a failure is shared by those who
   * wait and is not kept, and neither is a `None`. A load that asks for a key that waits for it dies with `CyclicLoad`.
   *
   * Inside of a transaction a missing key is looked up by the caller's own fiber in that transaction, and not kept.
   */
  readonly get: (key: K) => Effect.Effect<Option.Option<V>, E>

  /** As `get`, failing with `NotCached` where there is no value. */
  readonly fetch: (key: K) => Effect.Effect<V, E | NotCached>

  /** The value that is held, without loading; its idle lifetime starts anew. */
  readonly getOption: (key: K) => Effect.Effect<Option.Option<V>>

  /**
   * The values under the keys, in their order: those that are held, and the others loaded together by `lookupAll`, or one by one by `lookup`. Each key has its
   * own load, which others join. Fails as the first key in the order does whose load fails; what was loaded for the others is kept all the same.
   */
  readonly getAll: (keys: Iterable<K>) => Effect.Effect<ReadonlyArray<Option.Option<V>>, E>

  /** As `getAll`, with what each key came to. */
  readonly getEach: (keys: Iterable<K>) => Effect.Effect<ReadonlyArray<Exit.Exit<Option.Option<V>, E>>>

  /**
   * The value under the key: the one that is held, or else what `effect` brings, kept for `lifetime` (by default the cache's own). All that is said of `get`
   * holds; the effect has the caller's services, but neither its transaction nor its FiberRefs. A function as `lifetime` chooses by the value. `tags` name
   * what the value depends on: see `invalidateTag`.
   */
  readonly getOrLoad: <R>(
    key: K,
    effect: Effect.Effect<V, E, R>,
    lifetime?: Lifetime | ((value: V) => Lifetime),
    options?: { readonly tags?: ReadonlyArray<string> | undefined }
  ) => Effect.Effect<V, E, R>

  /**
   * Looks the key up anew, whatever is held or being loaded, and answers what `lookup` brings. Until then what is held is served to others, and for good if the
   * load fails; if it brings nothing, what is held goes. Who calls after a write sees that write: a load that began before is not joined.
   */
  readonly refresh: (key: K) => Effect.Effect<Option.Option<V>, E>

  /**
   * Keeps a value, whatever was there and whatever is being loaded.
   *
   * Inside of a transaction this and everything else that writes keeps nothing and takes nothing away from others, for it may yet be rolled back: from then on
   * the transaction finds nothing under the key and reads it around the cache, and the key is removed after the commit. So what is written here is not found
   * again by the next call, either. Other open transactions, too, read such a key around the cache until this one ends, which costs them a load each.
   */
  readonly put: (key: K, value: V, lifetime?: Lifetime) => Effect.Effect<void>

  /**
   * Keeps a value if there is none to serve, whatever is being loaded, and says whether it did. In a transaction that has written the key before there is never
   * one: it says that it did, each time.
   */
  readonly putIfAbsent: (key: K, value: V, lifetime?: Lifetime) => Effect.Effect<boolean>

  /**
   * Puts what `f` makes of the value in its place, or removes it if `f` answers `None`, and answers the new value. What was there before keeps the lifetime it
   * has left; what was not gets the cache's own. Nobody else's write comes in between.
   *
   * In a transaction, as `put` says, the new value is answered and not kept: a second `update` of the key finds `None`. Keep in the database what a
   * transaction counts.
   */
  readonly update: (key: K, f: (value: Option.Option<V>) => Option.Option<V>) => Effect.Effect<Option.Option<V>>

  /** As `update`, and answers the value that was there before. */
  readonly getAndUpdate: (key: K, f: (value: Option.Option<V>) => Option.Option<V>) => Effect.Effect<Option.Option<V>>

  /** Removes what is under the key and answers it. */
  readonly take: (key: K) => Effect.Effect<Option.Option<V>>

  /** Removes what is under the key and says whether there was something. Who asks from now on does not get what was read before. */
  readonly delete: (key: K) => Effect.Effect<boolean>

  /** `delete` for each of the keys, in one step; answers how many had something. */
  readonly deleteAll: (keys: Iterable<K>) => Effect.Effect<number>

  /** `delete` for every key there is or is being loaded. */
  readonly clear: Effect.Effect<void>

  /**
   * Removes whatever carries the tag, and answers how much there was to serve: as many steps as there are such entries. Loads that began before cannot bring any
   * of it back, whether or not they knew their tags beforehand.
   */
  readonly invalidateTag: (tag: string) => Effect.Effect<number>

  /** Whether there is a value to serve; renews nothing and loads nothing. */
  readonly has: (key: K) => Effect.Effect<boolean>

  /** Starts the value's idle lifetime anew, as a read does and wherever one may, also in a transaction; says whether there was one. */
  readonly touch: (key: K) => Effect.Effect<boolean>

  /** How long the value will be kept if nobody reads it: `Duration.infinity` if for ever, `None` if there is no value. */
  readonly ttl: (key: K) => Effect.Effect<Option.Option<Duration.Duration>>

  /** Gives the value another lifetime, counted from now, and says whether there was one. */
  readonly expire: (key: K, lifetime: Lifetime) => Effect.Effect<boolean>

  /**
   * How many values there are to serve. For this, `keys` and `entries`, too, a transaction has nothing under the keys that it has written. Where there are more than a
   * thousand, those that have expired are taken out in slices, so others may write while it counts.
   */
  readonly size: Effect.Effect<number>

  /** The keys of all values there are to serve, at this moment: a walk over all of them. */
  readonly keys: Effect.Effect<ReadonlyArray<K>>

  /** All values there are to serve with their keys, at this moment: a walk over all of them. */
  readonly entries: Effect.Effect<ReadonlyArray<readonly [K, V]>>

  /** As `entries`, with the lifetimes: see `dump`. */
  readonly contents: Effect.Effect<ReadonlyArray<Content<K, V>>>

  /** What the cache has done for everybody, and what it holds for those who are in no transaction. */
  readonly stats: Effect.Effect<Stats>

  /**
   * What happens from when the stream is run on: removals with their causes, loads and failures. It holds back nothing: a reader that falls behind by more than
   * a thousand loses the oldest, and sees it by the numbers in `sequence`. Ends with the cache.
   */
  readonly events: Stream.Stream<Event<K, V>>

  /** The value under the key right now, without an effect: renews, loads and counts nothing, and knows of no transaction. */
  readonly unsafePeek: (key: K) => Option.Option<V>

  /**
   * Removes the key when the effect has succeeded, or may have written all the same: it was interrupted, its connection was lost on the way, what it wrote did not
   * fit the model, or nobody knows what became of its COMMIT. For a write of what is cached.
   * Inside of a transaction it is removed after the commit, and not if there is none; until then the transaction itself reads around the cache, and everybody
   * else reads the old value. Any other failure leaves the cache alone.
   *
   * It never fails the effect. Should the cache be restarted meanwhile, the key is removed from its successor, which may have loaded what was there before the
   * write; where there is none, there is nothing to remove. Hooks run afterwards: see `before`.
   */
  readonly evicting: (key: K) => <A, E2, R>(self: Effect.Effect<A, E2, R>) => Effect.Effect<A, E2, R>
}

/**
 * How a cache behaves.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options<K, V, E = never, R = never, W = never> {
  /** What the cache is called in errors, logs, metrics and the supervision tree. */
  readonly name: string
  /** Brings the value of a missing key, `None` if there is none (as `Repo.get` does): that is not kept. Runs with the services of `make`. */
  readonly lookup?: ((key: K) => Effect.Effect<Option.Option<V>, E, R>) | undefined
  /**
   * Brings the values of many missing keys at once, each with its key; a key that is left out has none, and a `Left` is that key's failure. `getAll` uses it; without
   * a `lookup`, so does everybody: keys that are missed in one turn of the scheduler are asked for together.
   */
  readonly lookupAll?:
    | ((keys: ReadonlyArray<K>) => Effect.Effect<Iterable<readonly [key: K, result: Either.Either<V, E>]>, E, R>)
    | undefined
  /** How many keys one `lookupAll` is asked for at most. No limit by default. */
  readonly batchSize?: number | undefined
  /** How long a value is kept after it was last read or written. Infinite by default. */
  readonly idle?: Duration.DurationInput | undefined
  /** How long a value is kept after it was written, however often it is read. Infinite by default. */
  readonly max?: Duration.DurationInput | undefined
  /**
   * Chooses how long a value is kept that is given no lifetime of its own, by the value and its key, instead of `idle` and `max`: what a lookup has brought, too. So
   * a token is kept until it says it ends.
   */
  readonly lifetime?: ((value: V, key: K) => Lifetime) | undefined
  /** The share of a `max` that chance takes off at most, so that what is written together does not end together: 0.1 for up to a tenth. None by default. */
  readonly jitter?: number | undefined
  /** How long it is kept that there is nothing under a key. Not at all by default. */
  readonly absent?: Duration.DurationInput | ((key: K) => Duration.DurationInput) | undefined
  /** How long a failure is kept, and answered to whoever asks meanwhile; chosen by the failure, if it is a function. Not at all by default. Defects never are. */
  readonly failed?: Duration.DurationInput | ((error: E) => Duration.DurationInput) | undefined
  /**
   * How long after a value has expired it is still served at once, while a new one is loaded in the background. None by default. This and `grace` are about expiry
   * only: what was removed, replaced or invalidated is never served again.
   */
  readonly staleWhileRevalidate?: Duration.DurationInput | undefined
  /** How long after a value has expired it is still served when the load fails, or takes longer than `softTimeout`. None by default. */
  readonly grace?: Duration.DurationInput | undefined
  /** How long a caller waits for loads when there is a value in `grace`, be it of one key or of many. The loads go on. Without end by default. */
  readonly softTimeout?: Duration.DurationInput | undefined
  /** How long a load may take: then it is interrupted, and those who wait fail with what `onTimeout` makes, or die with `LoadTimedOut`. Without end by default. */
  readonly hardTimeout?: Duration.DurationInput | undefined
  /** The failure of a load that took longer than `hardTimeout`. */
  readonly onTimeout?: ((key: K) => E) | undefined
  /**
   * What becomes of a load when the last who waits for it is interrupted: it goes on, and its value is kept (`"finish"`, the default), or it is interrupted, too.
   * Keys that are looked up together count as one load; what is loaded in the background, or while there is something in `grace`, goes on either way.
   */
  readonly onAbandoned?: "finish" | "interrupt" | undefined
  /**
   * Looks a key up again before its `max` ends, in the background, when it is read so shortly before that as a load usually takes: this many times that, on average,
   * and by chance, so that not all processes do at once (XFetch). 1 is a good choice; never by default.
   */
  readonly refreshAhead?: number | undefined
  /** How many values are held at most, at every instant. Unbounded by default. */
  readonly capacity?: number | undefined
  /** What a value weighs, in whatever unit `maxWeight` is: nothing by default. */
  readonly weight?: ((value: V, key: K) => number) | undefined
  /** How much all values weigh together at most, at every instant. A value that is heavier by itself is not kept. */
  readonly maxWeight?: number | undefined
  /**
   * Which value gives way when the cache is full. `"tinyLfu"` (the default) keeps what is used often and lets a scan pass by (adaptive W-TinyLFU); `"lru"` lets
   * the least recently used one go, and is the only one for a `maxWeight` without a `capacity`. Either way the value that was written last is held, if only
   * entries are bounded.
   */
  readonly policy?: "tinyLfu" | "lru" | undefined
  /** What a value is invalidated by beside its key: see `invalidateTag`. */
  readonly tags?: ((value: V, key: K) => Iterable<string>) | undefined
  /** What runs before and after each command: see `before`, `after` and `replace`. */
  readonly hooks?: ReadonlyArray<Hook<K, V, E, R>> | undefined
  /**
   * Told once of each value that goes, with the cause, one after the other in the order in which they went: afterwards and in a fiber of the cache, so it may use the
   * cache. Its failures are logged. The cache's scope waits for it to have been told of everything, 5 seconds at most: then it is interrupted, and the rest is logged
   * as a number. Should be quick: what it has not been told yet is held.
   */
  readonly onRemoval?: ((removal: Removal<K, V>) => Effect.Effect<void, never, R>) | undefined
  /** Fills the cache before it is ready: `make` and `layer` wait for it, and fail as it does. */
  readonly warm?: ((cache: Cache<K, V, E>) => Effect.Effect<unknown, W, R>) | undefined
  /**
   * What becomes of the content when the cache is restarted: dropped (`"empty"`, the default), or handed to the successor with the lifetimes it has left (`"keep"`).
   * Evictions that come in between reach it. What is kept stays in memory for as long as the effect of `make`, or the layer.
   */
  readonly onRestart?: "empty" | "keep" | undefined
  /**
   * Counts how old values are when they are served, in buckets of powers of two milliseconds: see `hitAges` of {@link Stats}, and the counters
   * `effecto_cache_hit_age_milliseconds_bucket`, `_sum` and `_count`, which are a histogram to Prometheus. It takes some 90 bytes for each value (25
   * where values have a `max`), and a few nanoseconds for each hit. False by default, which costs nothing.
   */
  readonly hitAges?: boolean | undefined
}

/**
 * Makes a cache that lives as long as its scope.
 *
 * Run again, the same effect makes the successor of what it made before: an eviction that began under the one (`evicting`, or any write in a transaction) reaches the
 * other, and everyone else that this effect has made and who still lives. So build a supervised cache with `layer`, or with one effect made outside of what is
 * restarted; an effect that is made anew by each restart leads to caches that know nothing of each other.
 *
 * Dies with a `RangeError` for an option that makes no sense: a lifetime that is no duration of zero or more, a capacity that is no whole number above zero.
 *
 * @since 0.1.0
 * @category constructors
 * @example
 * ```ts
 * import { Cache } from "@effecto/cache"
 * import { Effect, Option } from "effect"
 *
 * const program = Effect.gen(function* () {
 *   const squares = yield* Cache.make({
 *     name: "squares",
 *     idle: "10 minutes",
 *     lookup: (n: number) => Effect.as(Effect.log(`computing ${n}²`), Option.some(n * n))
 *   })
 *   yield* squares.get(7) // computes
 *   return yield* squares.get(7) // does not
 * })
 *
 * Effect.runPromise(Effect.scoped(program)).then((answer) => console.log(Option.getOrNull(answer))) // 49
 * ```
 */
export const make = <K, V, E = never, R = never, W = never>(
  options: Options<K, V, E, R, W>
): Effect.Effect<Cache<K, V, E>, W, R | Scope.Scope> => {
  const succession = new Succession<K>()
  return Effect.gen(function* () {
    const service = yield* start<K, V, E>(settingsOf(options), succession)
    const cache = commandsOf(service, (options.hooks ?? []) as ReadonlyArray<Hook<K, V, E>>) // sound: it runs in the context of `make`
    if (options.warm !== undefined) yield* options.warm(cache)
    return cache
  })
}

/**
 * Provides a cache under a tag. Supervised, each instance is the successor of the one before it, as `make` says.
 *
 * @since 0.1.0
 * @category layers
 * @example
 * ```ts
 * import { Cache } from "@effecto/cache"
 * import { Context, Effect, Option } from "effect"
 *
 * class Greetings extends Context.Tag("Greetings")<Greetings, Cache.Cache<string, string>>() {}
 *
 * const GreetingsLive = Cache.layer(Greetings, {
 *   name: "greetings",
 *   max: "1 hour",
 *   lookup: (name) => Effect.succeed(Option.some(`hello, ${name}`))
 * })
 *
 * const program = Effect.flatMap(Greetings, (greetings) => greetings.fetch("ada"))
 *
 * Effect.runPromise(program.pipe(Effect.provide(GreetingsLive))).then(console.log) // hello, ada
 * ```
 */
export const layer = <I, K, V, E, R = never, W = never>(
  tag: Context.Tag<I, Cache<K, V, E>>,
  options: Options<K, V, E, R, W>
): Layer.Layer<I, W, Exclude<R, Scope.Scope>> => Layer.scoped(tag, make(options))

/**
 * Adds to a number that is kept, counting from zero where there is none, and answers the sum. As with `update`, what was there keeps its lifetime, and a
 * transaction that counts twice under one key starts from zero the second time.
 *
 * @since 0.1.0
 * @category operations
 */
export const increment = <K, E>(cache: Cache<K, number, E>, key: K, by = 1): Effect.Effect<number> =>
  Effect.map(
    cache.update(key, (count) => Option.some(Option.getOrElse(count, () => 0) + by)),
    Option.getOrElse(() => by)
  )
