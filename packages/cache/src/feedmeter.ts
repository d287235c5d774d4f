/** What a change feed counts, as metrics of Effect, by its channel. */
import { Metric, MetricBoundaries, MetricKey } from "effect"

/** What the metrics are called. */
export const names = {
  messages: "effecto_feed_messages",
  gaps: "effecto_feed_gaps",
  unreadable: "effecto_feed_unreadable",
  outages: "effecto_feed_outages",
  listening: "effecto_feed_listening",
  lag: "effecto_cache_coherence_lag_milliseconds"
} as const

const boundaries = MetricBoundaries.fromIterable([1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000])

export class FeedMeter {
  private readonly messages: Metric.Metric.Counter<number>
  private readonly gaps: Metric.Metric.Counter<number>
  private readonly unreadable: Metric.Metric.Counter<number>
  private readonly outages: Metric.Metric.Counter<number>
  private readonly listening: Metric.Metric.Gauge<number>
  private readonly lags: Metric.Metric.Histogram<number>

  constructor(channel: string) {
    const counter = (name: string) =>
      Metric.fromMetricKey(MetricKey.tagged(MetricKey.counter(name), "channel", channel))
    this.messages = counter(names.messages)
    this.gaps = counter(names.gaps)
    this.unreadable = counter(names.unreadable)
    this.outages = counter(names.outages)
    this.listening = Metric.fromMetricKey(MetricKey.tagged(MetricKey.gauge(names.listening), "channel", channel))
    this.lags = Metric.fromMetricKey(MetricKey.tagged(MetricKey.histogram(names.lag, boundaries), "channel", channel))
  }

  heard(lag: number | undefined): void {
    this.messages.unsafeUpdate(1, [])
    if (lag !== undefined) this.lags.unsafeUpdate(lag, [])
  }

  forgot(why: "gap" | "unreadable"): void {
    ;(why === "gap" ? this.gaps : this.unreadable).unsafeUpdate(1, [])
  }

  isListening(is: boolean): void {
    this.listening.unsafeUpdate(is ? 1 : 0, [])
    if (!is) this.outages.unsafeUpdate(1, [])
  }

  closed(): void {
    this.listening.unsafeUpdate(0, [])
  }
}
