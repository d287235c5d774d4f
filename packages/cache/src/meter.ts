/**
 * What a cache counts, as metrics of Effect.
 *
 * A hit counts in a plain number and nowhere else. The metrics are brought up to date whenever something dearer happens anyway: when a load ends, when the
 * sweeper has been round, when `stats` is asked for, and at the end.
 */
import { Metric, MetricKey } from "effect"
import { boundOf, type HitAges } from "./hitages.js"
import type { Cause, Counters, Store } from "./store.js"

/** What the metrics are called. */
export const names = {
  hits: "effecto_cache_hits",
  misses: "effecto_cache_misses",
  loads: "effecto_cache_loads",
  loadFailures: "effecto_cache_load_failures",
  loadTime: "effecto_cache_load_milliseconds",
  revokedLoads: "effecto_cache_revoked_loads",
  staleServes: "effecto_cache_stale_serves",
  refreshes: "effecto_cache_refreshes",
  removals: "effecto_cache_removals",
  size: "effecto_cache_size",
  weight: "effecto_cache_weight",
  hitAges: "effecto_cache_hit_age_milliseconds"
} as const

/** Removals that are counted, by their cause. */
const causes = {
  expirations: "expired",
  evictions: "evicted",
  invalidations: "invalidated",
  replacements: "replaced"
} as const satisfies Partial<Record<keyof Counters, Cause>>

/** A counter that is told where it stands. */
class Sum {
  private seen = 0

  constructor(private readonly metric: Metric.Metric.Counter<number>) {}

  set(value: number): void {
    if (value === this.seen) return
    this.metric.unsafeUpdate(value - this.seen, [])
    this.seen = value
  }
}

export class Meter {
  private readonly counters: ReadonlyArray<readonly [counter: keyof Counters, metric: Metric.Metric.Counter<number>]>
  private readonly size: Metric.Metric.Gauge<number>
  private readonly weight: Metric.Metric.Gauge<number>
  private readonly seen = new Map<keyof Counters, number>()
  private readonly buckets: Array<Sum> = []
  private readonly ages: { readonly sum: Sum; readonly count: Sum }

  constructor(private readonly cache: string) {
    // By whole keys: a metric that is tagged afterwards is looked up anew for each update.
    const counter = (name: string, cause?: Cause) => {
      const key = MetricKey.tagged(MetricKey.counter(name), "cache", cache)
      return Metric.fromMetricKey(cause === undefined ? key : MetricKey.tagged(key, "cause", cause))
    }
    const gauge = (name: string) => Metric.fromMetricKey(MetricKey.tagged(MetricKey.gauge(name), "cache", cache))
    const plain = (
      ["hits", "misses", "loads", "loadFailures", "loadTime", "revokedLoads", "staleServes", "refreshes"] as const
    ).map((name) => [name, counter(names[name])] as const)
    const removals = (Object.keys(causes) as ReadonlyArray<keyof typeof causes>).map(
      (name) => [name, counter(names.removals, causes[name])] as const
    )
    this.counters = [...plain, ...removals]
    this.size = gauge(names.size)
    this.weight = gauge(names.weight)
    this.ages = { sum: new Sum(counter(`${names.hitAges}_sum`)), count: new Sum(counter(`${names.hitAges}_count`)) }
  }

  /** Brings the metrics up to date. */
  read<K, V, E>(store: Store<K, V, E>): void {
    for (const [name, metric] of this.counters) {
      const count = store.counters[name]
      const seen = this.seen.get(name) ?? 0
      if (count === seen) continue
      this.seen.set(name, count)
      metric.unsafeUpdate(count - seen, [])
    }
    this.size.unsafeUpdate(store.entries.size, [])
    this.weight.unsafeUpdate(store.weight, [])
    if (store.ages !== undefined) this.readAges(store.ages)
  }

  /** As a histogram is written down for Prometheus: each bucket counts all up to its bound. Effect's own histogram takes one value at a time. */
  private readAges({ counts, sum }: HitAges): void {
    let count = 0
    counts.forEach((hits, place) => {
      count += hits
      if (count > 0) this.bucket(place).set(count)
    })
    this.ages.count.set(count)
    this.ages.sum.set(sum)
  }

  private bucket(place: number): Sum {
    const there = this.buckets[place]
    if (there !== undefined) return there
    const bound = boundOf(place)
    const key = MetricKey.counter(`${names.hitAges}_bucket`).pipe(
      MetricKey.tagged("cache", this.cache),
      MetricKey.tagged("le", bound === Number.POSITIVE_INFINITY ? "+Inf" : String(bound))
    )
    const bucket = new Sum(Metric.fromMetricKey(key))
    this.buckets[place] = bucket
    return bucket
  }
}
