import { Clock, Duration, Effect, type Exit, type Fiber, FiberRef, type Scheduler, Supervisor } from "effect"

/**
 * Runs an Effect to its end in one synchronous go: tasks one after the other, and when none is left, time jumps to whoever
 * sleeps least. Nothing in it depends on the machine, a run takes no longer than its work, and where a program would hang,
 * because everybody waits and nobody sleeps, it throws.
 */
export class Simulation implements Scheduler.Scheduler {
  private tasks: Array<() => void> = []
  private readonly sleepers: Array<{ readonly at: number; readonly wake: () => void }> = []
  private readonly alarms = new Map<number, () => void>()
  private readonly fibers = new Set<Fiber.RuntimeFiber<unknown, unknown>>()
  /** How many tasks have been done. */
  performed = 0
  private now = 0

  scheduleTask(task: () => void): void {
    this.tasks.push(task)
  }

  shouldYield(fiber: Fiber.RuntimeFiber<unknown, unknown>): number | false {
    return fiber.currentOpCount > fiber.getFiberRef(FiberRef.currentMaxOpsBeforeYield) ? 0 : false
  }

  /** Calls `ring` after so many tasks: at no particular moment. */
  alarm(tasks: number, ring: () => void): void {
    this.alarms.set(tasks, ring)
  }

  /** How many fibers were forked and have not ended. */
  get alive(): number {
    return this.fibers.size
  }

  run<A, E>(effect: Effect.Effect<A, E>): Exit.Exit<A, E> {
    const fiber = Effect.runFork(effect.pipe(Effect.supervised(this.counting), Effect.withClock(this.clock)), {
      scheduler: this
    })
    for (;;) {
      while (this.tasks.length > 0) {
        const tasks = this.tasks
        this.tasks = []
        for (const task of tasks) {
          task()
          this.alarms.get(++this.performed)?.()
        }
      }
      const exit = fiber.unsafePoll()
      if (exit !== null) return exit
      const next = this.sleepers.shift()
      if (next === undefined) throw new Error(`at ${this.now} ms everybody waits and nobody sleeps: this would hang`)
      this.now = next.at
      next.wake()
    }
  }

  private sleep(millis: number): Effect.Effect<void> {
    return Effect.async<void>((resume) => {
      const sleeper = { at: this.now + millis, wake: () => resume(Effect.void) }
      const later = this.sleepers.findIndex(({ at }) => at > sleeper.at)
      this.sleepers.splice(later === -1 ? this.sleepers.length : later, 0, sleeper)
      return Effect.sync(() => {
        const index = this.sleepers.indexOf(sleeper)
        if (index !== -1) this.sleepers.splice(index, 1)
      })
    })
  }

  private readonly clock: Clock.Clock = {
    [Clock.ClockTypeId]: Clock.ClockTypeId,
    unsafeCurrentTimeMillis: () => this.now,
    unsafeCurrentTimeNanos: () => BigInt(Math.round(this.now * 1e6)),
    currentTimeMillis: Effect.sync(() => this.now),
    currentTimeNanos: Effect.sync(() => BigInt(Math.round(this.now * 1e6))),
    sleep: (duration) => this.sleep(Duration.toMillis(duration))
  }

  private readonly counting = new Counting(this.fibers)
}

class Counting extends Supervisor.AbstractSupervisor<void> {
  readonly value = Effect.void
  constructor(private readonly fibers: Set<Fiber.RuntimeFiber<unknown, unknown>>) {
    super()
  }
  override onStart(_context: unknown, _effect: unknown, _parent: unknown, fiber: unknown): void {
    this.fibers.add(fiber as Fiber.RuntimeFiber<unknown, unknown>)
  }
  override onEnd(_exit: unknown, fiber: unknown): void {
    this.fibers.delete(fiber as Fiber.RuntimeFiber<unknown, unknown>)
  }
}
