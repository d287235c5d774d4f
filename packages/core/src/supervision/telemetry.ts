/**
 * What a restart looks like from outside: a span that is linked to that of the crash, and numbers by path.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Metric from "effect/Metric"
import * as MetricBoundaries from "effect/MetricBoundaries"
import type * as MetricLabel from "effect/MetricLabel"
import type * as Tracer from "effect/Tracer"
import { isTraced } from "./steps.js"

const active = Metric.gauge("effecto_supervision_active", {
  description: "Children of a supervisor that are up, by its path"
})

const giveUps = Metric.counter("effecto_supervision_give_ups", {
  description: "Supervisors that gave up after too many restarts, by path",
  incremental: true
})

const downtime = Metric.histogram(
  "effecto_supervision_restart_duration",
  MetricBoundaries.exponential({ start: 1, factor: 2, count: 17 }),
  "Milliseconds from the end of an instance to the next one that is up, backoff and failed attempts included, by path"
)

/** The numbers of one supervisor. Written in the step in which they change, with the labels of whoever built the tree. */
export class Meters {
  private readonly active: Metric.Metric.Gauge<number>
  /** By the child's path. */
  private readonly downtimes = new Map<string, Metric.Metric.Histogram<number>>()

  constructor(
    private readonly path: string,
    private readonly labels: ReadonlyArray<MetricLabel.MetricLabel>
  ) {
    this.active = Metric.tagged(active, "path", path)
  }

  /** Added to and not set, because several trees may run under one name. */
  activeBy(change: 1 | -1): void {
    this.active.unsafeModify(change, this.labels)
  }

  gaveUp(): void {
    Metric.tagged(giveUps, "path", this.path).unsafeUpdate(1, this.labels)
  }

  /** `path` is the child's. */
  wasDown(path: string, millis: number): void {
    let histogram = this.downtimes.get(path)
    if (histogram === undefined) {
      histogram = Metric.tagged(downtime, "path", path)
      this.downtimes.set(path, histogram)
    }
    histogram.unsafeUpdate(millis, this.labels)
  }
}

/**
 * Where Effect notes, on a failure that is an object, the span in which it arose. It is not in the public types, and only looked
 * for; `Cause.prettyErrors` would tell, too, but it renders each stack first, which takes longer than all else of a restart.
 */
const spanKey: unique symbol = Symbol.for("effect/SpanAnnotation")

/** The span that was open where a Cause arose, if there was one and the failure is an object that carries it. */
const spanOf = (cause: Cause.Cause<unknown>): Tracer.Span | undefined => {
  for (const failures of [Cause.failures(cause), Cause.defects(cause)]) {
    for (const failure of failures) {
      const span: unknown =
        typeof failure === "object" && failure !== null && spanKey in failure ? failure[spanKey] : undefined
      // What lies under that key is a span; of another tracer's it is as good.
      if (typeof span === "object" && span !== null && "_tag" in span && span._tag === "Span")
        return span as Tracer.Span
    }
  }
  return undefined
}

/**
 * Runs the start of an instance that replaces another one in a span. It is linked to the crash, and it is not the parent of what
 * the instance does: that outlives the restart by far, and is no part of it.
 */
export const restarting = <A, E>(
  options: {
    readonly path: string
    readonly instance: number
    /** How many instances were started since the last one that was up, this one included. */
    readonly attempt: number
    /** Why: the exit of this child, or of one that takes it along; nothing if it was asked for. */
    readonly because: { readonly path: string; readonly cause: Cause.Cause<unknown> } | undefined
  },
  start: Effect.Effect<Exit.Exit<A, E>>
): Effect.Effect<Exit.Exit<A, E>> => {
  const { attempt, because, instance, path } = options
  const traced = Effect.suspend(() => {
    const crash = because === undefined ? undefined : spanOf(because.cause)
    const span = Effect.makeSpan("Supervision.restart", {
      attributes: {
        path,
        instance,
        attempt,
        decision: because === undefined ? "start" : "restart",
        ...(because === undefined ? {} : { because: because.path })
      },
      links: crash === undefined ? [] : [{ _tag: "SpanLink", span: crash, attributes: {} }],
      captureStackTrace: false
    })
    return Effect.flatMap(span, (span) =>
      Effect.flatMap(start, (exit) =>
        Effect.map(Effect.clock, (clock) => {
          span.end(clock.unsafeCurrentTimeNanos(), exit)
          return exit
        })
      )
    )
  })
  // A span that is nobody's parent is seen by a tracer only, and Effect's own looks at none.
  return Effect.withFiberRuntime((fiber) => (isTraced(fiber) ? traced : start))
}
