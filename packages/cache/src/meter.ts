/**
 * What a cache counts, as metrics of Effect.
 *
 * A hit counts in a plain number and nowhere else. The metrics are brought up to date whenever something dearer happens anyway: when a load ends, when the
 * sweeper has been round, when `stats` is asked for, and at the end.
 */
import { Metric, MetricKey } from "effect"
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
  weight: "effecto_cache_weight"
} as const

/** Removals that are counted, by their cause. */
const causes = {
  expirations: "expired",
  evictions: "evicted",
  invalidations: "invalidated",
  replacements: "replaced"
} as const satisfies Partial<Record<keyof Counters, Cause>>

export class Meter {
  private readonly counters: ReadonlyArray<readonly [counter: keyof Counters, metric: Metric.Metric.Counter<number>]>
  private readonly size: Metric.Metric.Gauge<number>
  private readonly weight: Metric.Metric.Gauge<number>
  private readonly seen = new Map<keyof Counters, number>()

  constructor(cache: string) {
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
  }
}
