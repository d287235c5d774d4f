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
import { type Context, type Duration, Effect, Layer, Option, type Scope } from "effect"
import type { NotCached } from "./CacheError.js"
import type { Hook } from "./CommandHook.js"
import { commandsOf } from "./commands.js"
import { Recency } from "./eviction.js"
import { type Lifetime, toSpan } from "./lifetime.js"
import { start } from "./service.js"
import { Succession } from "./succession.js"
import { TinyLfu } from "./tinyLfu.js"

export { CacheClosed, CyclicLoad, NotCached } from "./CacheError.js"
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
export type { Lifetime } from "./lifetime.js"

/**
 * What a cache has done since it was made.
 *
 * `misses` are reads that found nothing to serve, whether or not something could then be loaded; `revokedLoads` are loads that `put`, `delete` or `clear`
 * overtook, so that what they brought was not kept; `size` counts what can be served now.
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
   * The value under the key: the one that is held, or else what `effect` brings, kept for `lifetime` (by default the cache's own). All that is said of `get`
   * holds; the effect has the caller's services, but neither its transaction nor its FiberRefs. A function as `lifetime` chooses by the value.
   */
  readonly getOrLoad: <R>(
    key: K,
    effect: Effect.Effect<V, E, R>,
    lifetime?: Lifetime | ((value: V) => Lifetime)
  ) => Effect.Effect<V, E, R>

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

  /** Whether there is a value to serve; renews nothing and loads nothing. */
  readonly has: (key: K) => Effect.Effect<boolean>

  /** Starts the value's idle lifetime anew, as a read does and wherever one may, also in a transaction; says whether there was one. */
  readonly touch: (key: K) => Effect.Effect<boolean>

  /** How long the value will be kept if nobody reads it: `Duration.infinity` if for ever, `None` if there is no value. */
  readonly ttl: (key: K) => Effect.Effect<Option.Option<Duration.Duration>>

  /** Gives the value another lifetime, counted from now, and says whether there was one. */
  readonly expire: (key: K, lifetime: Lifetime) => Effect.Effect<boolean>

  /** How many values there are to serve. For this, `keys` and `entries`, too, a transaction has nothing under the keys that it has written. */
  readonly size: Effect.Effect<number>

  /** The keys of all values there are to serve, at this moment: a walk over all of them. */
  readonly keys: Effect.Effect<ReadonlyArray<K>>

  /** All values there are to serve with their keys, at this moment: a walk over all of them. */
  readonly entries: Effect.Effect<ReadonlyArray<readonly [K, V]>>

  /** What the cache has done for everybody, and what it holds for those who are in no transaction. */
  readonly stats: Effect.Effect<Stats>

  /**
   * Removes the key when the effect has succeeded, or may have (it was interrupted, or nobody knows what became of its COMMIT): for a write of what is cached.
   * Inside of a transaction it is removed after the commit, and not if there is none; until then the transaction itself reads around the cache, and everybody
   * else reads the old value. A failure leaves the cache alone.
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
export interface Options<K, V, E = never, R = never> {
  /** What the cache is called in errors, logs and the supervision tree. */
  readonly name: string
  /** Brings the value of a missing key, `None` if there is none (as `Repo.get` does): that is not kept. Runs with the services of `make`. */
  readonly lookup?: ((key: K) => Effect.Effect<Option.Option<V>, E, R>) | undefined
  /** How long a value is kept after it was last read or written. Infinite by default. */
  readonly idle?: Duration.DurationInput | undefined
  /** How long a value is kept after it was written, however often it is read. Infinite by default. */
  readonly max?: Duration.DurationInput | undefined
  /** How many values are held at most, at every instant. Unbounded by default. */
  readonly capacity?: number | undefined
  /**
   * Which value gives way when the cache is full. `"tinyLfu"` (the default) keeps what is used often and lets a scan pass by (adaptive W-TinyLFU); `"lru"` lets
   * the least recently used one go. Either way the value that was written last is held.
   */
  readonly policy?: "tinyLfu" | "lru" | undefined
  /** What runs before and after each command: see `before`, `after` and `replace`. */
  readonly hooks?: ReadonlyArray<Hook<K, V, E, R>> | undefined
}

/**
 * Makes a cache that lives as long as its scope.
 *
 * Run again, the same effect makes the successor of what it made before: an eviction that began under the one (`evicting`, or any write in a transaction) reaches the
 * other, and everyone else that this effect has made and who still lives. So build a supervised cache with `layer`, or with one effect made outside of what is
 * restarted; an effect that is made anew by each restart leads to caches that know nothing of each other.
 *
 * Dies with a `RangeError` if a lifetime is no duration of zero or more, or the capacity no whole number above zero.
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
export const make = <K, V, E = never, R = never>(
  options: Options<K, V, E, R>
): Effect.Effect<Cache<K, V, E>, never, R | Scope.Scope> => {
  const succession = new Succession<K>()
  return Effect.gen(function* () {
    const span = toSpan({ idle: options.idle, max: options.max }, `cache ${JSON.stringify(options.name)}`)
    const capacity = options.capacity
    if (capacity !== undefined && !(Number.isSafeInteger(capacity) && capacity > 0)) {
      throw new RangeError(
        `cache ${JSON.stringify(options.name)} cannot have a capacity of ${capacity}: give a whole number above zero, or leave it out for none`
      )
    }
    const service = yield* start<K, V, E>(
      {
        name: options.name,
        span,
        policy:
          capacity === undefined ? undefined : options.policy === "lru" ? new Recency(capacity) : new TinyLfu(capacity),
        // Sound: what runs for the cache runs in the context of `make`, which has all that R asks for.
        lookup: options.lookup as ((key: K) => Effect.Effect<Option.Option<V>, E>) | undefined
      },
      succession
    )
    return commandsOf(service, (options.hooks ?? []) as ReadonlyArray<Hook<K, V, E>>) // sound: as above
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
export const layer = <I, K, V, E, R = never>(
  tag: Context.Tag<I, Cache<K, V, E>>,
  options: Options<K, V, E, R>
): Layer.Layer<I, never, Exclude<R, Scope.Scope>> => Layer.scoped(tag, make(options))

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
