/** What a cache was made with, decoded. Times are milliseconds. */
import type { Effect, Either, Fiber, Option } from "effect"
import type { Policy } from "./eviction.js"
import type { Span } from "./lifetime.js"
import type { Cause } from "./store.js"

/**
 * A value that is no longer held, and why: it `"expired"`, was `"invalidated"` (by `delete`, `take`, `clear`, a tag or an eviction after a write), `"replaced"` by
 * another under its key, `"evicted"` because the cache was full, or the cache was `"closed"`.
 *
 * @since 0.1.0
 * @category models
 */
export interface Removal<K, V> {
  readonly key: K
  readonly value: V
  readonly cause: Cause
}

/** What the transaction that a fiber stands in has changed, and nobody else can see yet. */
export interface Changed<K> {
  readonly key: (key: K) => boolean
  readonly tag: (tag: string) => boolean
}

export interface Settings<K, V, E> {
  readonly name: string
  readonly span: Span
  /** Chooses another one by the value. */
  readonly lifetime?: ((value: V, key: K) => Span) | undefined
  /** Who leaves when the cache is full; none if it is unbounded. */
  readonly policy: Policy<K> | undefined
  readonly lookup: ((key: K) => Effect.Effect<Option.Option<V>, E>) | undefined
  readonly lookupAll?:
    | ((keys: ReadonlyArray<K>) => Effect.Effect<Iterable<readonly [key: K, result: Either.Either<V, E>]>, E>)
    | undefined
  /** How many keys one `lookupAll` is asked for at most. */
  readonly batchSize?: number | undefined
  /** For how long it is kept that there is nothing under a key. */
  readonly absent?: ((key: K) => number) | undefined
  /** For how long a failure is kept. */
  readonly failed?: ((error: E) => number) | undefined
  readonly grace?: number | undefined
  readonly staleWhileRevalidate?: number | undefined
  readonly softTimeout?: number | undefined
  readonly hardTimeout?: number | undefined
  readonly onTimeout?: ((key: K) => E) | undefined
  /** What becomes of a load that nobody waits for any more. */
  readonly onAbandoned?: "finish" | "interrupt" | undefined
  /** By how many times its usual loading time an entry is refreshed before its end, on average. */
  readonly refreshAhead?: number | undefined
  /** The share of a max lifetime that chance may take off. */
  readonly jitter?: number | undefined
  readonly random?: (() => number) | undefined
  readonly tags?: ((value: V, key: K) => Iterable<string>) | undefined
  readonly weight?: ((value: V, key: K) => number) | undefined
  readonly maxWeight?: number | undefined
  readonly onRemoval?: ((removal: Removal<K, V>) => Effect.Effect<void>) | undefined
  /** What a fiber in a transaction must not be served, beside what was written through this cache. */
  readonly changed?: ((fiber: Fiber.RuntimeFiber<unknown, unknown>) => Changed<K>) | undefined
  /** What `fetch` fails with when there is no value, if not with `NotCached`. */
  readonly missing?: ((key: K) => unknown) | undefined
  /** Whether a loaded value may be kept under the key that was asked for. */
  readonly keeps?: ((key: K, value: V) => boolean) | undefined
  /**
   * Whether what is under the key may be changed under another one. That there is nothing under it is known until anything is invalidated by `ALIASED`; so is,
   * for who waits for its load, a value that is not kept.
   */
  readonly aliased?: ((key: K) => boolean) | undefined
  readonly onRestart?: "empty" | "keep" | undefined
  /** Told of each value that goes, in the step in which it goes: must not throw. */
  readonly onGone?: ((value: V) => void) | undefined
  /** Whether it is counted how old values are when they are served. */
  readonly hitAges?: boolean | undefined
}
