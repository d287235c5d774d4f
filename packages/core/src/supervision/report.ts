/**
 * What supervision says about itself: events for programs, log lines for people, counters for dashboards.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as FiberRef from "effect/FiberRef"
import * as LogLevel from "effect/LogLevel"
import * as Metric from "effect/Metric"
import type { Decision } from "./machine.js"

/** One thing that happened in a tree. `instance` is the number of the instance it happened to. */
export type SupervisionEvent =
  | { readonly _tag: "Started"; readonly path: string; readonly instance: number }
  | {
      readonly _tag: "Exited"
      readonly path: string
      readonly instance: number
      readonly exit: "normal" | "shutdown" | "abnormal"
      readonly cause: Cause.Cause<unknown>
    }
  | {
      readonly _tag: "StartFailed"
      readonly path: string
      readonly instance: number
      readonly cause: Cause.Cause<unknown>
    }
  /** A restart waits, for the child's backoff or that of a sibling which is restarted with it. Milliseconds. */
  | { readonly _tag: "Delayed"; readonly path: string; readonly instance: number; readonly delay: number }
  | { readonly _tag: "Stopped"; readonly path: string; readonly instance: number }
  | { readonly _tag: "Orphaned"; readonly path: string; readonly instance: number }
  | { readonly _tag: "GaveUp"; readonly path: string; readonly childId: string; readonly restarts: number }

/** How many instances did not stop in time, by `path`. */
const orphans = Metric.counter("effecto_supervision_orphans", {
  description: "Instances of supervised children that did not stop in time",
  incremental: true
})

const explain: { readonly [K in Decision]: string } = {
  restart: "restarting it",
  "leave down": "leaving it down",
  forget: "forgetting it",
  "give up": "giving up",
  "auto shutdown": "shutting its supervisor down"
}

/** One line for each decision: what happened to whom, what follows, and the Cause. */
export const decision = (options: {
  readonly path: string
  readonly instance: number
  readonly happened: "crashed" | "ended" | "failed to start"
  readonly decision: Decision
  /** Milliseconds until the restart. */
  readonly delay: number
  readonly used: number
  readonly intensity: number
  readonly period: number
  readonly root: boolean
  readonly cause: Cause.Cause<unknown>
}): Effect.Effect<void> => {
  const { cause, delay, happened, instance, intensity, path, period, used } = options
  const level = levelOf(options.decision, happened, options.root)
  return logged(level, { path, instance, decision: options.decision }, cause, () => {
    const wait = delay > 0 ? ` in ${Math.round(delay)} ms` : ""
    const line = `"${path}" (instance ${instance}) ${happened}: ${explain[options.decision]}${wait}`
    const isCounted = options.decision === "restart" || options.decision === "give up"
    return isCounted ? `${line}, ${used} of ${intensity} restarts in ${period} ms` : line
  })
}

const levelOf = (
  decision: Decision,
  happened: "crashed" | "ended" | "failed to start",
  root: boolean
): LogLevel.LogLevel => {
  switch (decision) {
    case "give up":
      return root ? LogLevel.Fatal : LogLevel.Error
    case "restart":
    case "auto shutdown":
      return LogLevel.Warning
    case "leave down":
    case "forget":
      return happened === "ended" ? LogLevel.Debug : LogLevel.Warning
  }
}

/** A line for whoever wants lines of its level; it is made for nobody else. A logger that throws must not end the supervisor. */
const logged = (
  level: LogLevel.LogLevel,
  annotations: Record<string, unknown>,
  cause: Cause.Cause<unknown>,
  line: () => string
): Effect.Effect<void> =>
  Effect.withFiberRuntime((fiber) => {
    if (LogLevel.greaterThan(fiber.getFiberRef(FiberRef.currentMinimumLogLevel), level)) return Effect.void
    const log = Effect.logWithLevel(level, line(), ...(Cause.isEmpty(cause) ? [] : [cause]))
    return quietly(Effect.annotateLogs(log, annotations))
  })

export const orphaned = (path: string, instance: number, metric = path): Effect.Effect<void> =>
  quietly(
    Effect.logWarning(
      `"${path}" (instance ${instance}) did not stop in time and is left to itself: see its finalizers, or the option shutdown`
    ).pipe(
      Effect.annotateLogs({ path, instance, decision: "orphan" }),
      Effect.zipLeft(Metric.increment(Metric.tagged(orphans, "path", metric)))
    )
  )

/** OTP's `shutdown_error`: an instance has stopped, but not in good order. */
export const stopFailed = (path: string, instance: number, cause: Cause.Cause<unknown>): Effect.Effect<void> =>
  quietly(
    Effect.logWarning(`"${path}" (instance ${instance}) stopped, but a finalizer of it failed`, cause).pipe(
      Effect.annotateLogs({ path, instance, decision: "stop" })
    )
  )

/** Services that stay those of the first instance. */
export const uncarried = (path: string, keys: ReadonlyArray<string>): Effect.Effect<void> =>
  keys.length === 0
    ? Effect.void
    : quietly(
        Effect.logWarning(
          `"${path}" provides ${keys.map((key) => `"${key}"`).join(", ")} as a value that no handle can carry: after a restart it is still that of the first instance. Read it with Supervised.current each time, or provide an object that has it as a member`
        ).pipe(Effect.annotateLogs({ path }))
      )

/** A logger that throws must not end the supervisor. */
const quietly = (log: Effect.Effect<void>): Effect.Effect<void> => Effect.catchAllCause(log, () => Effect.void)
