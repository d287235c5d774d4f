/**
 * The instances of dynamic children: built, watched and closed, side by side, each in fibers of its own. What becomes of one is an
 * event for its supervisor; nothing is decided here.
 */
import * as Cause from "effect/Cause"
import * as Chunk from "effect/Chunk"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import { CurrentInstance } from "./currentinstance.js"
import { driven } from "./driving.js"
import { type Close, type DynamicChild, type Patience, serviceKey } from "./dynamicchild.js"
import type * as Machine from "./dynamicmachine.js"
import { carries } from "./handle.js"
import { type Ending, Instance } from "./instance.js"
import type * as Linking from "./linking.js"
import * as Report from "./report.js"
import { seriesOf } from "./telemetry.js"

/** Why there is no instance of a child that was stopped before it was up. Known by its identity. */
export const terminated: Cause.Cause<never> = Cause.interrupt(FiberId.none)

/** Their supervisor. */
export interface Owner<Arg> {
  readonly settings: {
    readonly child: (arg: Arg) => Effect.Effect<unknown, unknown, unknown>
    /** Whether a failure of the child's Effect says that there is nothing to start. */
    readonly isIgnored: (failure: unknown) => boolean
  }
  readonly machine: Machine.Machine<DynamicChild>
  readonly path: string
  /** The instance that it was built in, if it is in a tree. */
  readonly parent: Instance | undefined
  /** What its children are built with, besides a Scope. */
  readonly services: Context.Context<never>
  /** Within a step, at whose end `wait` is called. */
  readonly isBusy: boolean
  readonly send: (event: Machine.Event<DynamicChild>) => void
  readonly emit: (event: Report.SupervisionEvent) => void
  readonly activeBy: (change: 1 | -1) => void
  readonly endSlot: (child: DynamicChild) => void
  /** Does what is done in the observer of a fiber, where nobody would catch a defect. */
  readonly soundly: (step: () => void) => void
  readonly run: <A, E>(effect: Effect.Effect<A, E>, tracker?: Linking.Tracker) => Fiber.RuntimeFiber<A, E>
  readonly after: (millis: number, call: () => void) => () => void
}

export class Instances<Arg> {
  /** Closes that were begun in this step and take time. */
  private unfinished: Array<DynamicChild> = []
  private warned = false

  constructor(private readonly owner: Owner<Arg>) {}

  /** Builds an instance. It is up in the step in which its build ends. */
  open(child: DynamicChild): void {
    const { number } = child
    const failure = child.failures?.shift()
    if (failure !== undefined) {
      this.failed(child, failure)
      return
    }
    const instance = new Instance(this.owner, child.slot, number, undefined, this.exitOf(child, number))
    child.instance = instance
    const build = Effect.flatMap(Scope.make(), (scope) => {
      instance.builder = Option.getOrUndefined(Fiber.getCurrentFiber())
      instance.scope = scope
      const context = new Map<string, unknown>(this.owner.services.unsafeMap)
      context.set(Scope.Scope.key, scope)
      context.set(CurrentInstance.key, instance)
      // The argument is what the child was started with, and the rest of what it needs was captured where the layer was used.
      const effect = Effect.suspend(() => this.owner.settings.child(child.arg as Arg))
      return Effect.exit(
        Effect.mapInputContext(effect, (_: Context.Context<never>) => Context.unsafeMake<unknown>(context))
      )
    })
    const fiber = this.owner.run(driven(build), instance.tracker)
    const done = fiber.unsafePoll()
    if (done !== null) {
      this.built(child, Exit.flatten(done))
      return
    }
    child.build = fiber
    fiber.addObserver((exit) => {
      if (child.build === fiber) this.owner.soundly(() => this.built(child, Exit.flatten(exit)))
    })
    const { startTimeout } = child.settings
    if (startTimeout === undefined) return
    const cancel = this.owner.after(startTimeout, () => {
      if (child.build !== fiber) return
      const problem = `"${child.path}" did not start within ${startTimeout} ms (startTimeout)`
      this.owner.soundly(() => this.failed(child, Cause.die(new Cause.TimeoutException(problem))))
    })
    fiber.addObserver(cancel)
  }

  private built(child: DynamicChild, exit: Exit.Exit<unknown, unknown>): void {
    child.build = undefined
    const { instance } = child
    if (Exit.isFailure(exit) || instance === undefined) {
      this.failed(child, Exit.isFailure(exit) ? exit.cause : Cause.empty)
      return
    }
    try {
      if (child.restart !== "temporary") this.warn(child, exit.value)
    } catch (defect) {
      // A service that throws when it is looked at, such as a Proxy that refuses: that is its child's failure, and no more.
      this.failed(child, Cause.die(defect))
      return
    }
    child.starts++
    this.owner.activeBy(1)
    if (child.restart === "temporary") child.arg = undefined
    instance.context = Context.unsafeMake(new Map([[serviceKey, exit.value]]))
    this.owner.emit({ _tag: "Started", path: child.path, instance: child.number })
    this.owner.send({ _tag: "Started", child })
    instance.up()
  }

  /** A build that came to nothing leaves nothing: what it has acquired is given back before anybody is told. */
  private failed(child: DynamicChild, cause: Cause.Cause<unknown>): void {
    child.cause = cause
    child.happened = "failed to start"
    this.closeInstance(child, Exit.failCause(cause))
    // Within a step that is done when its actions are.
    if (!this.owner.isBusy) this.wait()
  }

  /** In a function of its own: an instance that keeps this would keep everything else that is there, its build's fiber included. */
  private exitOf(child: DynamicChild, number: number): (instance: Instance, ending: Ending) => void {
    return (_, ending) => this.owner.soundly(() => this.exited(child, number, ending))
  }

  private exited(child: DynamicChild, number: number, { cause, exit }: Ending): void {
    child.lastExit = number
    child.cause = cause
    child.happened = exit === "abnormal" ? "crashed" : "ended"
    this.owner.emit({ _tag: "Exited", path: child.path, instance: number, exit, cause })
    this.owner.send({ _tag: "Exited", child, number, exit })
  }

  /** The machine wants the instance, or the attempt at one, to end. */
  stop(child: DynamicChild): void {
    if (child.status === "stopping") this.owner.endSlot(child)
    // What is being closed already is reported when that is done.
    if (child.closing !== undefined) return
    if (child.instance === undefined && child.build === undefined) {
      this.owner.send({ _tag: "Stopped", child })
      return
    }
    if (child.build !== undefined) child.cause = terminated
    const ended = child.instance?.state === "exited"
    this.closeInstance(
      child,
      !ended ? Exit.interrupt(FiberId.none) : Cause.isEmpty(child.cause) ? Exit.void : Exit.failCause(child.cause)
    )
  }

  /** Closes the instance's scope and ends its fibers, for as long as `shutdown` allows. */
  private closeInstance(child: DynamicChild, exit: Exit.Exit<void, unknown>): void {
    const { build, instance } = child
    const close: Close = { patience: undefined, fiber: undefined }
    child.closing = close
    if (instance !== undefined && instance === child.slot.last) this.owner.activeBy(-1)
    // From here on its end is the close's business.
    child.build = undefined
    if (instance !== undefined && instance.state !== "exited") instance.state = "stopping"
    if (instance !== undefined) instance.isClosing = true
    if (child.slot.current === instance) child.slot.current = undefined
    for (const tree of instance?.nested ?? []) tree.beginClose()
    // Now, and not in the fiber that closes: a build that goes on could still make an instance that nobody closes.
    build?.unsafeInterruptAsFork(FiberId.none)
    const stop = instance === undefined ? Effect.void : instance.close(exit)
    const whole = build === undefined ? stop : Effect.zipRight(Fiber.await(build), stop)
    const fiber = this.owner.run(driven(Effect.exit(whole)), instance?.tracker)
    close.fiber = fiber
    const done = fiber.unsafePoll()
    if (done !== null) {
      this.closed(child, Exit.flatten(done))
      return
    }
    this.unfinished.push(child)
    fiber.addObserver((result) => {
      if (child.closing === close) this.owner.soundly(() => this.closed(child, Exit.flatten(result)))
    })
  }

  /** An instance is gone, or what is left of it is left to itself. */
  private closed(child: DynamicChild, result: Exit.Exit<void, unknown> | "orphaned"): void {
    const { closing, instance, number, path } = child
    const patience = closing?.patience
    child.closing = undefined
    child.instance = undefined
    if (patience !== undefined) {
      patience.children.delete(child)
      if (patience.children.size === 0) patience.cancel()
    }
    if (instance !== undefined) instance.isClosing = false
    instance?.abandonCalls()
    if (result === "orphaned") {
      child.orphaned++
      this.owner.emit({ _tag: "Orphaned", path, instance: number })
      this.owner.run(Report.orphaned(path, number, seriesOf(this.owner.parent) ?? this.owner.path))
    } else if (Exit.isFailure(result) && !Cause.isInterruptedOnly(result.cause)) {
      this.owner.run(Report.stopFailed(path, number, result.cause))
    }
    if (instance !== undefined && instance === child.slot.last) {
      if (result !== "orphaned") this.owner.emit({ _tag: "Stopped", path, instance: number })
      this.owner.send({ _tag: "Stopped", child })
      return
    }
    // It never came up. If that is because it was stopped, the machine waits for just that.
    if (child.status === "stopping") {
      this.owner.send({ _tag: "Stopped", child })
      return
    }
    this.owner.emit({ _tag: "StartFailed", path, instance: number, cause: child.cause })
    this.owner.send({ _tag: this.isIgnored(child.cause) ? "Ignored" : "StartFailed", child })
  }

  private isIgnored(cause: Cause.Cause<unknown>): boolean {
    return (
      Option.exists(Cause.failureOption(cause), this.owner.settings.isIgnored) && Chunk.isEmpty(Cause.defects(cause))
    )
  }

  /** Gives the closes that have just begun the time they may take: one timer for all that have the same. */
  wait(): void {
    const { unfinished } = this
    if (unfinished.length === 0) return
    this.unfinished = []
    const groups = new Map<number, Patience>()
    for (const child of unfinished) {
      const { closing, shutdown } = child
      if (closing === undefined || shutdown === "infinity") continue
      if (shutdown === "brutalKill") {
        this.abandon(child)
        continue
      }
      let group = groups.get(shutdown)
      if (group === undefined) {
        group = { children: new Set(), cancel: () => {} }
        groups.set(shutdown, group)
      }
      group.children.add(child)
      closing.patience = group
    }
    for (const [millis, group] of groups) {
      group.cancel = this.owner.after(millis, () => {
        group.cancel = () => {}
        for (const child of Array.from(group.children)) this.owner.soundly(() => this.abandon(child))
      })
    }
  }

  private abandon(child: DynamicChild): void {
    this.closed(child, "orphaned")
  }

  /** Stops a child without asking the machine. What takes longer than it may is left to itself. */
  stopAnyhow(child: DynamicChild): Effect.Effect<void> {
    const { build, closing, instance, shutdown } = child
    child.build = undefined
    child.closing = undefined
    if (instance !== undefined && instance.state !== "exited") instance.state = "stopping"
    build?.unsafeInterruptAsFork(FiberId.none)
    const stop = instance === undefined ? Effect.void : instance.close(Exit.interrupt(FiberId.none))
    const whole = build === undefined ? stop : Effect.zipRight(Fiber.await(build), stop)
    const fiber = closing?.fiber ?? this.owner.run(Effect.exit(whole))
    const ended = Effect.asVoid(Fiber.await(fiber))
    return Effect.ensuring(
      shutdown === "infinity"
        ? ended
        : Effect.asVoid(Effect.timeoutOption(ended, shutdown === "brutalKill" ? 0 : shutdown)),
      Effect.sync(() => {
        instance?.abandonCalls()
        child.instance = undefined
        child.status = "gone"
        this.owner.machine.children.delete(child.id)
        child.slot.wake()
      })
    )
  }

  /** Said once: children of one supervisor are all alike. */
  private warn(child: DynamicChild, service: unknown): void {
    if (this.warned || service === undefined || service === null || carries(service)) return
    this.warned = true
    const text = `children of "${this.owner.path}" answer with a value that no handle can carry: after a restart "service" is still that of the first instance. Read "current" each time, or answer with an object that has the value as a member`
    this.owner.run(Effect.annotateLogs(Effect.logWarning(text), { path: child.path }))
  }
}
