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
import type { Instance, Slot } from "./instance.js"
import { isTraced } from "./steps.js"

const active = Metric.gauge("effecto_supervision_active", {
  description: "Children of a supervisor that are up, by its path"
})

const restarts = Metric.counter("effecto_supervision_restarts", {
  description: "Restarts of supervised children, failed attempts included, by path",
  incremental: true
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

/** Whoever builds instances is a supervisor, static or dynamic. Only a dynamic one draws itself. */
interface Owner {
  readonly path: string
  readonly parent: Instance | undefined
  readonly draw?: unknown
}

/**
 * The path under which all that happens in an instance is counted, if it is not its own: that of the outermost dynamic supervisor
 * around it. A metric is kept for ever, and dynamic children come and go.
 */
export const seriesOf = (instance: Instance | undefined): string | undefined => {
  let series: string | undefined
  for (let at = instance; at !== undefined; ) {
    const owner = at.owner as Owner
    if (owner.draw !== undefined) series = owner.path
    at = owner.parent
  }
  return series
}

/** Whether an instance, or one around it, has no name yet. */
const isProvisional = (instance: Instance | undefined): boolean => {
  for (let at = instance; at !== undefined; at = (at.owner as Owner).parent) if (at.slot.provisional) return true
  return false
}

/**
 * The numbers of one supervisor. Written in the step in which they change, with the labels of whoever built the tree, and under the
 * path that it has for good: what happens before that is known is written when it is (`settle`).
 */
export class Meters {
  private active: Metric.Metric.Gauge<number> | undefined
  private early: Array<() => void> | undefined
  /** By path. */
  private readonly downtimes = new Map<string, Metric.Metric.Histogram<number>>()
  private readonly counters = new Map<string, Metric.Metric.Counter<number>>()

  constructor(
    private readonly self: Owner,
    private readonly labels: ReadonlyArray<MetricLabel.MetricLabel>
  ) {}

  private write(numbers: () => void): void {
    if (this.active === undefined && isProvisional(this.self.parent)) {
      this.early ??= []
      this.early.push(numbers)
    } else numbers()
  }

  /** It has got its path. */
  settle(): void {
    const { early = [] } = this
    this.early = undefined
    for (const numbers of early) this.write(numbers)
  }

  private get series(): string {
    return seriesOf(this.self.parent) ?? this.self.path
  }

  /** Added to and not set, because several trees may run under one name. */
  activeBy(change: 1 | -1): void {
    if (this.active !== undefined) this.active.unsafeModify(change, this.labels)
    else
      this.write(() => {
        this.active ??= Metric.tagged(active, "path", this.series)
        this.active.unsafeModify(change, this.labels)
      })
  }

  gaveUp(): void {
    this.write(() => Metric.tagged(giveUps, "path", this.series).unsafeUpdate(1, this.labels))
  }

  /** The path that one of its children is counted under. A dynamic supervisor may have any number of them. */
  private seriesFor(child: Slot): string {
    return seriesOf(this.self.parent) ?? (this.self.draw === undefined ? child.path : this.self.path)
  }

  /** It is going to be, or an attempt was made. */
  restarted(child: Slot): void {
    this.write(() => {
      const path = this.seriesFor(child)
      let counter = this.counters.get(path)
      if (counter === undefined) {
        counter = Metric.tagged(restarts, "path", path)
        this.counters.set(path, counter)
      }
      counter.unsafeUpdate(1, this.labels)
    })
  }

  wasDown(child: Slot, millis: number): void {
    this.write(() => {
      const path = this.seriesFor(child)
      let histogram = this.downtimes.get(path)
      if (histogram === undefined) {
        histogram = Metric.tagged(downtime, "path", path)
        this.downtimes.set(path, histogram)
      }
      histogram.unsafeUpdate(millis, this.labels)
    })
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
  optionsOf: () => {
    readonly path: string
    readonly instance: number
    /** How many instances were started since the last one that was up, this one included. */
    readonly attempt: number
    /** Why: the exit of this child, or of one that takes it along; nothing if it was asked for. */
    readonly because: { readonly path: string; readonly cause: Cause.Cause<unknown> } | undefined
  },
  start: Effect.Effect<Exit.Exit<A, E>>
): Effect.Effect<Exit.Exit<A, E>> => {
  const traced = (): Effect.Effect<Exit.Exit<A, E>> => {
    const { attempt, because, instance, path } = optionsOf()
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
  }
  // A span that is nobody's parent is seen by a tracer only, and Effect's own looks at none.
  return Effect.withFiberRuntime((fiber) => (isTraced(fiber) ? traced() : start))
}
