/**
 * The instances of a tree's children: built, named, stopped and waited for, one at a time, as the machine has said. The supervisor's
 * own fiber does what is returned here.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FiberId from "effect/FiberId"
import { Waiting } from "./backoff.js"
import { type Child, fork } from "./child.js"
import type { Ending, Instance, Slot } from "./instance.js"
import * as Machine from "./machine.js"
import * as Report from "./report.js"
import { ChildDown } from "./SupervisionError.js"
import type { Supervisor } from "./supervisor.js"
import * as Telemetry from "./telemetry.js"
import { isBusy } from "./waits.js"

export class Instances {
  readonly waiting: Waiting
  /** In start order; may still name children that are gone. */
  readonly started: Array<Child> = []
  /** Whose exit is being answered with starts; nobody's if they were asked for. */
  because: Child | undefined
  /** Until when somebody was waiting whose delay the machine has just cancelled. */
  heldUntil = 0
  /** Who was built or closed last. There is never more than one. */
  private busy: Child | undefined

  constructor(private readonly supervisor: Supervisor) {
    this.waiting = new Waiting(supervisor.settings, supervisor.runtime)
  }

  /** What is being built or closed: nothing else is, as long as that takes. */
  get holding(): Instance | undefined {
    const instance = this.busy?.instance
    return instance !== undefined && isBusy(instance) ? instance : undefined
  }

  open(child: Child, number: number): Effect.Effect<Machine.Event> {
    // The request that makes this start pointless is in the mailbox already, and could not abort what had not begun.
    if (this.supervisor.isClosing || child.isUnwanted) {
      child.cause = Cause.interrupt(FiberId.none)
      return Effect.succeed({ _tag: "StartFailed" })
    }
    const onUp = (instance: Instance): void => {
      this.name(child, instance)
      if (child.starts === 1) this.started.push(child)
      this.supervisor.meters.activeBy(1)
      this.supervisor.emit({ _tag: "Started", path: child.slot.path, instance: number })
    }
    const onExit = (instance: Instance, ending: Ending): void => {
      child.lastExit = instance.number
      child.cause = ending.cause
      this.supervisor.changed()
      this.supervisor.send({ _tag: "Exited", child, instance, ending })
    }
    this.busy = child
    const start = child.open(this.supervisor, number, onUp, onExit)
    const isFirst = child.starts === 0
    return Effect.map(isFirst ? start : this.restarted(child, number, start), (exit) => {
      if (Exit.isSuccess(exit)) return { _tag: "Started" }
      this.supervisor.emit({ _tag: "StartFailed", path: child.slot.path, instance: number, cause: exit.cause })
      child.happened = "failed to start"
      return { _tag: "StartFailed" }
    })
  }

  /** A start that replaces an instance is seen from outside: by its span, and by how long the child was down. */
  private restarted<A>(
    child: Child,
    number: number,
    start: Effect.Effect<Exit.Exit<A, unknown>>
  ): Effect.Effect<Exit.Exit<A, unknown>> {
    const { because } = this
    const whole = Telemetry.restarting(
      () => ({
        path: child.slot.path,
        instance: number,
        attempt: number - (child.slot.last?.number ?? 0),
        because: because === undefined ? undefined : { path: because.slot.path, cause: because.cause }
      }),
      start
    )
    return because === undefined
      ? whole
      : Effect.map(whole, (exit) => {
          if (Exit.isSuccess(exit)) this.supervisor.meters.wasDown(child.slot, this.supervisor.now() - child.downSince)
          return exit
        })
  }

  /** The default id is made of what the layer provides, which is known only now. */
  private name(child: Child, instance: Instance): void {
    if (child.settings.id !== undefined || child.starts > 1) return
    const keys = Array.from(instance.context.unsafeMap.keys()).join(", ")
    let id = keys
    for (let n = 2; !Machine.rename(this.supervisor.machine, child.id, id); n++) id = `${keys} ${n}`
    this.supervisor.children.delete(child.id)
    this.supervisor.children.set(id, child)
    child.id = id
    child.slot.path = `${this.supervisor.path}/${id}`
    child.slot.provisional = false
    for (const tree of instance.nested) tree.moved()
  }

  stop(child: Child, instance: Instance, exit: Exit.Exit<unknown, unknown>): Effect.Effect<void> {
    if (instance.state !== "building") this.supervisor.meters.activeBy(-1)
    child.downSince = this.supervisor.now()
    this.busy = child
    return Effect.flatMap(child.close(instance, exit), (result) => {
      const { path } = child.slot
      if (this.supervisor.machine.closed)
        child.slot.end(() => this.supervisor.ending ?? this.supervisor.ended("closed", undefined, Cause.empty))
      this.supervisor.emit({ _tag: result === "closed" ? "Stopped" : "Orphaned", path, instance: instance.number })
      return result === "closed"
        ? Effect.void
        : Report.orphaned(path, instance.number, Telemetry.seriesOf(this.supervisor.parent))
    })
  }

  decided(child: Child, decision: Machine.Decision): Effect.Effect<void> {
    const { intensity, period } = this.supervisor.settings
    const used = this.supervisor.machine.restarts.count
    if (decision === "give up" || decision === "auto shutdown") {
      const ending = this.supervisor.ended(decision === "give up" ? "intensity" : "significant", child.id, child.cause)
      this.supervisor.ending = ending
      // Its callers do not have to wait until the siblings have stopped.
      child.slot.end(() => ending)
      if (decision === "give up") {
        this.supervisor.meters.gaveUp()
        this.supervisor.emit({ _tag: "GaveUp", path: this.supervisor.path, childId: child.id, restarts: used })
      }
    }
    let delay = 0
    if (decision === "restart") {
      this.because = child
      this.supervisor.meters.restarted(child.slot)
      // Without a backoff nobody asks until when.
      if (child.settings.backoff !== undefined) delay = this.waiting.delayOf(child, this.supervisor.time)
    }
    child.resumeAt = this.supervisor.time + delay
    return Report.decision({
      path: child.slot.path,
      instance: Math.max(child.lastExit, child.starts),
      happened: child.happened,
      decision,
      delay,
      used,
      intensity,
      period,
      root: this.supervisor.parent === undefined,
      cause: child.cause
    })
  }

  /** Somebody's delay is cancelled: what is started instead waits as long. */
  release(child: Child): void {
    this.heldUntil = Math.max(this.heldUntil, this.waiting.cancel(child))
  }

  /** Waits before a child is started again, while everything else goes on. */
  delay(child: Child, instance: number): void {
    const until = Math.max(child.resumeAt, this.heldUntil)
    this.supervisor.emit({
      _tag: "Delayed",
      path: child.slot.path,
      instance,
      delay: Math.max(0, until - this.supervisor.now())
    })
    this.waiting.start(child, until, () =>
      this.supervisor.send({ _tag: "Event", event: { _tag: "Resume", id: child.id, instance } })
    )
  }

  /**
   * A start that has failed is tried again after whatever else is waiting. If it has failed because it called a sibling that is
   * down, that is when the sibling is up, or could have been waited for no longer: it would only fail again before.
   */
  retry(event: Machine.Event, child: Child | undefined): void {
    const missing = child === undefined ? undefined : this.missing(child.cause)
    if (missing === undefined || missing.whenDown === "fail") {
      this.supervisor.send({ _tag: "Event", event })
      return
    }
    const isUp = missing.until(() =>
      missing.current !== undefined || missing.isOver || this.supervisor.machine.closed ? Effect.void : undefined
    )
    // One that nobody wants any more is not heard by the machine.
    const again = Effect.sync(() => this.supervisor.send({ _tag: "Event", event }))
    fork(this.supervisor.runtime, Effect.zipRight(Effect.timeoutOption(isUp, missing.whenDown), again))
  }

  /** The child that was down when a build called it. */
  private missing(cause: Cause.Cause<unknown>): Slot | undefined {
    const down = Array.from(Cause.defects(cause)).find((defect) => defect instanceof ChildDown)
    if (down?.holding === undefined) return undefined
    for (const { slot } of this.supervisor.children.values()) if (slot.path === down.path) return slot
    return undefined
  }
}
