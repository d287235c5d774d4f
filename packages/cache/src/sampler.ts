/**
 * Looks, now and then, whether what a cache serves is what the database has: an oracle beside all that is done to keep it so.
 *
 *   one in N hits ─▶ read it from the database ─▶ the same: fine
 *                                              └▶ another: is it still held after `within`? ─▶ then nobody has told the cache: counted, told, and forgotten
 *
 * The read begins when the hit has been answered, in a fiber of the cache's own; of those there are never more than `concurrency`, and what comes meanwhile is
 * not looked at.
 */
import { millisFrom } from "@effecto/core/internal/durations"
import { Duration, Effect, Metric, MetricKey, Option } from "effect"

/**
 * A row that was served although the database had another, and that nobody had told the cache of.
 *
 * @since 0.1.0
 * @category models
 */
export interface Disagreement {
  readonly cache: string
  readonly key: unknown
  readonly served: unknown
  /** What the database had; none when the row was gone. */
  readonly stored: Option.Option<unknown>
}

/**
 * How hits are looked at. Each takes a read of the database.
 *
 * @since 0.1.0
 * @category models
 */
export interface SampleOptions {
  /** One hit in so many. */
  readonly every: number
  /** How long an old row may be held until it counts: longer than what a notification takes to arrive. One second by default. */
  readonly within?: Duration.DurationInput | undefined
  /** So many are looked at at the same time. One by default. */
  readonly concurrency?: number | undefined
  /** Whether a disagreement is logged, without the row and its key. True by default. */
  readonly log?: boolean | undefined
  /** Told of each; runs in the background, and what it fails with is logged. */
  readonly onDisagreement?: ((disagreement: Disagreement) => Effect.Effect<void>) | undefined
}

/** What the metrics are called. */
export const names = {
  sampled: "effecto_cache_sampled_reads",
  incoherent: "effecto_cache_incoherent_reads"
} as const

/** The cache that is looked at. */
export interface Sampled<K, V> {
  readonly name: string
  /** How many hits there have been. */
  readonly hits: () => number
  readonly read: (key: K) => Effect.Effect<Option.Option<V>, unknown>
  /** What is held, as the very value. */
  readonly held: (key: K) => Option.Option<V>
  readonly isSame: (served: V, stored: V) => boolean
  readonly forget: (key: K) => void
  readonly fork: (effect: Effect.Effect<unknown, unknown>) => void
}

export class Sampler<K, V> {
  private due: number
  private running = 0
  private readonly within: Duration.Duration
  private readonly sampled: Metric.Metric.Counter<number>
  private readonly incoherent: Metric.Metric.Counter<number>

  constructor(
    private readonly options: SampleOptions,
    private readonly cache: Sampled<K, V>
  ) {
    this.within = Duration.millis(millisFrom("sample.within", options.within ?? "1 second"))
    if (!(options.every >= 1))
      throw new RangeError(
        `cache ${JSON.stringify(cache.name)} cannot sample every ${options.every} hits: one in how many is a number of 1 or more`
      )
    this.due = options.every
    const counter = (name: string) =>
      Metric.fromMetricKey(MetricKey.tagged(MetricKey.counter(name), "cache", cache.name))
    this.sampled = counter(names.sampled)
    this.incoherent = counter(names.incoherent)
  }

  /** Something was served. */
  readonly see = (key: K, served: V): void => {
    const hits = this.cache.hits()
    if (hits < this.due) return
    this.due = hits + this.options.every
    if (this.running >= (this.options.concurrency ?? 1)) return
    this.running += 1
    this.cache.fork(
      Effect.ensuring(
        Effect.suspend(() => this.look(key, served)),
        Effect.sync(() => {
          this.running -= 1
        })
      )
    )
  }

  private isHeld(key: K, served: V): boolean {
    const held = this.cache.held(key)
    return Option.isSome(held) && held.value === served
  }

  private look(key: K, served: V): Effect.Effect<void, unknown> {
    return Effect.flatMap(this.cache.read(key), (stored) => {
      this.sampled.unsafeUpdate(1, [])
      if (Option.isSome(stored) && this.cache.isSame(served, stored.value)) return Effect.void
      // Forgotten meanwhile, or it was never held: a write that the cache knows of.
      if (!this.isHeld(key, served)) return Effect.void
      return Effect.delay(
        Effect.suspend(() => (this.isHeld(key, served) ? this.report(key, served, stored) : Effect.void)),
        this.within
      )
    })
  }

  private report(key: K, served: V, stored: Option.Option<V>): Effect.Effect<void> {
    this.incoherent.unsafeUpdate(1, [])
    this.cache.forget(key)
    const { log, onDisagreement } = this.options
    const within = Duration.format(this.within)
    return Effect.zipRight(
      log === false
        ? Effect.void
        : Effect.logWarning(
            `cache ${JSON.stringify(this.cache.name)} held a row for ${within} that the database has otherwise: something writes this table and tells nobody. Announce it with Announcement.touch, or install ChangeFeed's trigger`
          ),
      Effect.suspend(() => onDisagreement?.({ cache: this.cache.name, key, served, stored }) ?? Effect.void)
    )
  }
}
