/**
 * How long a restart waits: a Schedule that is asked for its next delay, and never run.
 *
 * A supervisor that waits between attempts may never reach the number of them that makes it give up, because the window moves
 * on meanwhile. So no delay may be longer than `limitOf` says: then `intensity + 1` attempts fit in one period with all their
 * delays. A schedule that would need more is refused when the child is first started (`problemOf`); what only shows later, such
 * as that of an exponential schedule which goes on growing, is cut off there.
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Random from "effect/Random"
import * as Runtime from "effect/Runtime"
import type * as Schedule from "effect/Schedule"
import * as ScheduleDecision from "effect/ScheduleDecision"
import * as ScheduleIntervals from "effect/ScheduleIntervals"
import { type Child, fork } from "./child.js"

export type Backoff = Schedule.Schedule<unknown, Cause.Cause<unknown>>

interface Window {
  readonly intensity: number
  /** Milliseconds. */
  readonly period: number
}

/** The longest delay, in milliseconds, after which give-up can still be reached: `delay * (intensity + 1) < period`. */
export const limitOf = ({ intensity, period }: Window): number => Math.max(0, Math.ceil(period / (intensity + 1)) - 1)

type Step = { readonly state: unknown; readonly delay: number | undefined }

/** One step, in milliseconds; no delay from a schedule that is over. Fails if the schedule cannot tell without waiting. */
const step = (
  runtime: Runtime.Runtime<never>,
  schedule: Backoff,
  state: unknown,
  now: number,
  cause: Cause.Cause<unknown>
): Exit.Exit<Step, unknown> =>
  Exit.map(Runtime.runSyncExit(runtime)(schedule.step(now, cause, state)), ([next, , decision]) => ({
    state: next,
    delay: ScheduleDecision.isContinue(decision)
      ? Math.max(0, ScheduleIntervals.start(decision.intervals) - now)
      : undefined
  }))

/**
 * The delays of the first `intensity + 1` attempts, as far as the schedule goes, one of them after the other; asynchronous
 * and throwing schedules are failures. `random` stands for every random number that is asked for.
 */
const probe = (schedule: Backoff, { intensity }: Window, random: number): Exit.Exit<ReadonlyArray<number>, unknown> => {
  const runtime = Effect.runSync(Effect.withRandom(Effect.runtime<never>(), Random.fixed([random])))
  const delays: Array<number> = []
  let state: unknown = schedule.initial
  let now = 0
  for (let n = 0; n <= intensity; n++) {
    const result = step(runtime, schedule, state, now, Cause.empty)
    if (Exit.isFailure(result)) return Exit.failCause(result.cause)
    if (result.value.delay === undefined) break
    delays.push(result.value.delay)
    state = result.value.state
    now += result.value.delay
  }
  return Exit.succeed(delays)
}

/** What is wrong with a schedule under this window, and what to do about it; nothing if it is fine. */
export const problemOf = (schedule: Backoff, window: Window): string | undefined => {
  const { intensity, period } = window
  let longest = 0
  // Jitter may add or take away: both ends are tried.
  for (const random of [0, 1]) {
    const delays = probe(schedule, window, random)
    if (Exit.isFailure(delays)) {
      return `its backoff cannot tell its delays without waiting, or fails: ${Cause.pretty(delays.cause)}`
    }
    longest = Math.max(longest, ...delays.value)
  }
  const limit = limitOf(window)
  if (longest <= limit) return undefined
  return `its backoff waits up to ${longest} ms, so that ${intensity + 1} restarts do not fit into the period of ${period} ms, and the supervisor could never give up; allow ${limit} ms at most (Schedule.either(Schedule.spaced("${limit} millis")) caps a schedule), or make the period longer than ${longest * (intensity + 1)} ms`
}

/** The delays of one child. They begin anew when none of its restarts counts any more. */
interface Delays {
  state: unknown
  last: number
  at: number
}

/** Who is waiting to be started again, until when, and how long whoever is next will have to. */
export class Waiting {
  private readonly delays = new WeakMap<Child, Delays>()
  private readonly timers = new Map<Child, { readonly until: number; readonly fiber: Fiber.RuntimeFiber<void> }>()

  constructor(
    private readonly window: Window,
    private readonly runtime: Runtime.Runtime<never>
  ) {}

  /** How many milliseconds the restart waits that is decided at `now`. A schedule that is over stays at its last delay. */
  delayOf(child: Child, now: number): number {
    const schedule = child.settings.backoff
    if (schedule === undefined) return 0
    const known = this.delays.get(child)
    const before =
      known !== undefined && now - known.at <= this.window.period
        ? known
        : { state: schedule.initial, last: 0, at: now }
    const limit = limitOf(this.window)
    const result = step(this.runtime, schedule, before.state, now, child.cause)
    // It could tell when the child was first started; whatever is wrong by now, to wait as long as may be is safe.
    const { delay, state } = Exit.isSuccess(result) ? result.value : { delay: limit, state: before.state }
    const last = Math.min(delay ?? before.last, limit)
    this.delays.set(child, { state, last, at: now })
    return last
  }

  /** Calls `go` at `until`, unless it is cancelled before. */
  start(child: Child, until: number, go: () => void): void {
    this.cancel(child)
    const fiber = fork(
      this.runtime,
      Effect.flatMap(Clock.currentTimeNanos, (nanos) => {
        const millis = until - Number(nanos / 1_000_000n)
        return Effect.zipRight(
          millis > 0 ? Effect.sleep(millis) : Effect.void,
          Effect.sync(() => {
            this.timers.delete(child)
            go()
          })
        )
      })
    )
    if (fiber.unsafePoll() === null) this.timers.set(child, { until, fiber })
  }

  /** Answers with until when it would have waited. */
  cancel(child: Child): number {
    const timer = this.timers.get(child)
    if (timer === undefined) return 0
    this.timers.delete(child)
    timer.fiber.unsafeInterruptAsFork(timer.fiber.id())
    return timer.until
  }

  cancelAll(): void {
    for (const child of Array.from(this.timers.keys())) this.cancel(child)
  }
}
