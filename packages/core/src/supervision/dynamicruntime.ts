/**
 * The dynamic supervisor at run time: the pure machine decides, and fibers do what it says, each for one child.
 *
 * There is no fiber of its own and no turn to wait for. An event (a call, an exit, the end of a build or of a close) is answered
 * in the very step in which it comes: the machine is asked, and its actions are begun. Builds and closes that take time go on
 * side by side in fibers of their own, and report back with another event. So a child whose start hangs holds up nobody, and a
 * supervisor with nothing to do is an object: no fiber, no timer.
 *
 * What begins while actions are begun (a build that starts another child, an exit in its first step) is queued: one thing is done
 * at a time, and the stack stays flat. After a few hundred actions in one step the rest is left to the event loop's next turn, so
 * stopping a hundred thousand children does not hold the process up. A picture is drawn for a whole step, and not for each event.
 */
import * as Cause from "effect/Cause"
import * as Chunk from "effect/Chunk"
import type * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import * as FiberRef from "effect/FiberRef"
import type * as FiberRefs from "effect/FiberRefs"
import type * as MetricLabel from "effect/MetricLabel"
import * as Option from "effect/Option"
import * as PubSub from "effect/PubSub"
import * as Runtime from "effect/Runtime"
import * as Scheduler from "effect/Scheduler"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { CurrentInstance } from "./currentinstance.js"
import { drawNested } from "./drawing.js"
import { driven } from "./driving.js"
import { type ChildSettings, type Close, DynamicChild, type Patience, serviceKey } from "./dynamicchild.js"
import * as Machine from "./dynamicmachine.js"
import { carries } from "./handle.js"
import { type Ending, Instance } from "./instance.js"
import * as Linking from "./linking.js"
import * as Report from "./report.js"
import { told } from "./runner.js"
import { ChildDown, SupervisorShutdown } from "./SupervisionError.js"
import type { ChildNode, TreeNode } from "./TreeNode.js"
import { Meters, seriesOf } from "./telemetry.js"

export interface Settings<Arg> extends Machine.Options {
  readonly name: string
  readonly child: (arg: Arg) => Effect.Effect<unknown, unknown, unknown>
  /** For children that are started without settings of their own. */
  readonly defaults: ChildSettings
  /** Whether a failure of the child's Effect says that there is nothing to start. */
  readonly isIgnored: (failure: unknown) => boolean
}

type Event = Machine.Event<DynamicChild>
type Action = Machine.Action<DynamicChild>

/** How many actions are begun in one step. */
const breath = 256

/** Why there is no instance of a child that was stopped before it was up. Known by its identity. */
export const terminated: Cause.Cause<never> = Cause.interrupt(FiberId.none)

/** How many children a picture shows one by one. */
const shown = 20

export class Dynamic<Arg> {
  readonly machine: Machine.Machine<DynamicChild>
  private readonly runtime: Runtime.Runtime<never>
  private events: Array<Event> = []
  private actions: ReadonlyArray<Action> = []
  private at = 0
  private busy = false
  /** There is another picture, to be shown when this step is done. */
  private redraw = false
  /** Closes that were begun in this step and take time. */
  private unfinished: Array<DynamicChild> = []
  private readonly whenOver = new Set<(error: SupervisorShutdown) => void>()
  /** Why it has ended. Its children have, too, unless that is a defect: then they are about to. */
  private over: SupervisorShutdown | undefined
  private finished = false
  private unnamed = 0
  private retries = 0
  /** The path that its children have as the first part of theirs. */
  private where: string | undefined
  private warned = false
  private readonly numbers: Meters

  private constructor(
    readonly settings: Settings<Arg>,
    runtime: Runtime.Runtime<never>,
    private readonly clock: Clock.Clock,
    /** The instance that it was built in, if it is in a tree. */
    readonly parent: Instance | undefined,
    private readonly feed: PubSub.PubSub<Report.SupervisionEvent | "over">,
    labels: ReadonlyArray<MetricLabel.MetricLabel>,
    /** Who is told of give-up, besides that instance. */
    private readonly runner: ((error: SupervisorShutdown) => void) | undefined
  ) {
    this.machine = Machine.make(settings)
    this.runtime = Runtime.make({ ...runtime, runtimeFlags: Runtime.defaultRuntimeFlags })
    parent?.nest(this)
    this.numbers = new Meters(this, labels)
  }

  /** Starts an empty supervisor that lives as long as the scope. */
  static make<Arg, R>(
    settings: Settings<Arg>,
    omit: (context: Context.Context<R>) => Context.Context<never>
  ): Effect.Effect<Dynamic<Arg>, never, R | Scope.Scope> {
    return Effect.gen(function* () {
      const runtime = yield* Effect.runtime<R>()
      const clock = yield* Effect.clock
      const parent = yield* CurrentInstance
      const feed = yield* PubSub.sliding<Report.SupervisionEvent | "over">(256)
      const labels = yield* FiberRef.get(FiberRef.currentMetricLabels)
      const runner = yield* told
      const own = Runtime.make({ ...runtime, context: omit(runtime.context) })
      return yield* Effect.acquireRelease(
        Effect.sync(() => new Dynamic(settings, own, clock, parent, feed, labels, runner)),
        (self) => Effect.zipRight(self.close, PubSub.shutdown(feed))
      )
    })
  }

  /**
   * A child of a tree that has no id gets its name when it is built. What was started in that build is told here, at the next
   * thing that happens or is asked.
   */
  private locate(): void {
    const { path } = this
    if (this.where === path) return
    const before = this.where
    this.where = path
    if (before === undefined) return
    for (const child of this.machine.children.values()) {
      child.slot.path = `${path}/${child.id}`
      for (const tree of child.instance?.nested ?? []) tree.moved()
    }
    this.numbers.settle()
  }

  moved(): void {
    this.locate()
  }

  private activeBy(change: 1 | -1): void {
    this.locate()
    this.numbers.activeBy(change)
  }

  get path(): string {
    return this.parent?.slot.path ?? this.settings.name
  }

  /** All that have a place, whatever their state. */
  get children(): ReadonlyMap<string, DynamicChild> {
    this.locate()
    return this.machine.children
  }

  get isOver(): boolean {
    return this.over !== undefined
  }

  /** Why nothing can be started any more. */
  get ended(): SupervisorShutdown {
    const { gaveUpOn } = this.machine
    return (
      this.over ??
      (gaveUpOn === undefined
        ? this.ending("closed", undefined, Cause.empty)
        : this.ending("intensity", gaveUpOn.id, gaveUpOn.cause))
    )
  }

  /** Asks for a child. What became of that is seen in the child: its `refused`, `starts`, `status` and `cause`. */
  begin(
    id: string | undefined,
    arg: Arg,
    settings: ChildSettings | undefined,
    onMade: (child: DynamicChild) => void
  ): DynamicChild {
    this.locate()
    let name = id
    while (name === undefined || (id === undefined && this.machine.children.has(name))) name = `${++this.unnamed}`
    const child = new DynamicChild(name, `${this.path}/${name}`, settings ?? this.settings.defaults, arg)
    onMade(child)
    this.send({ _tag: "Start", child })
    return child
  }

  /** Ends a child, whatever it is doing. Done when its `status` is `gone`. */
  terminate(child: DynamicChild): void {
    this.send({ _tag: "Terminate", child })
  }

  /** The layer is about to close: nothing is restarted any more. */
  beginClose(): void {
    this.send({ _tag: "Close" })
    // Whoever waits for a start is not to wait for the layer, which may never close.
    for (const child of Array.from(this.children.values())) if (child.status === "starting") this.terminate(child)
  }

  /** Stops all children side by side and waits for the end. */
  readonly close: Effect.Effect<void> = Effect.async<void>((resume) => {
    if (this.finished) return resume(Effect.void)
    this.whenOver.add(() => resume(Effect.void))
    this.send({ _tag: "Shutdown" })
  })

  /** Fails when the supervisor gives up. If it is closed instead, there is nothing more to wait for. */
  readonly awaitShutdown: Effect.Effect<never, SupervisorShutdown> = Effect.async((resume) => {
    const tell = (error: SupervisorShutdown): void =>
      resume(error.reason === "closed" ? Effect.interrupt : Effect.fail(error))
    if (this.over !== undefined) return tell(this.over)
    this.whenOver.add(tell)
    // Without a guard around it, but as with one: what it is about dies with the instance. Its own end is the first to be told.
    const forget = this.parent?.onDeath((died) => resume(Effect.die(died)))
    return Effect.sync(() => {
      this.whenOver.delete(tell)
      forget?.()
    })
  })

  /** What happens from now on, to the end. */
  readonly emitted: Stream.Stream<Report.SupervisionEvent> = Stream.suspend(() =>
    this.over === undefined
      ? Stream.takeWhile(Stream.fromPubSub(this.feed), (event): event is Report.SupervisionEvent => event !== "over")
      : Stream.empty
  )

  private send(event: Event): void {
    if (this.over !== undefined) {
      if (event._tag === "Start") {
        event.child.status = "gone"
        event.child.refused = { refusal: "closed", other: undefined }
      }
      return
    }
    this.events.push(event)
    if (this.busy) return
    this.busy = true
    this.work()
  }

  private work(): void {
    try {
      let left = breath
      let read = 0
      for (;;) {
        for (; this.at < this.actions.length; this.at++) {
          if (left-- === 0) {
            this.events.splice(0, read)
            this.run(
              Effect.zipRight(
                macrotask,
                Effect.sync(() => this.work())
              )
            )
            this.show()
            return
          }
          const action = this.actions[this.at]
          if (action !== undefined) this.perform(action)
        }
        this.wait()
        const event = this.events[read++]
        if (event === undefined) break
        this.actions = Machine.handle(this.machine, event, this.now())
        this.at = 0
      }
      this.events = []
      this.busy = false
      this.show()
    } catch (defect) {
      this.broken(defect)
    }
  }

  /** Does what is done in the observer of a fiber, where nobody would catch a defect. */
  private soundly(step: () => void): void {
    try {
      step()
    } catch (defect) {
      this.broken(defect)
    }
  }

  /** A defect in here: one that goes on without having done its work would leave others waiting, so all of it is stopped. */
  private broken(defect: unknown): void {
    if (this.over !== undefined) {
      this.run(Effect.logFatal(`defect in "${this.path}" after its end`, Cause.die(defect)))
      return
    }
    const error = this.ending("defect", undefined, Cause.die(defect))
    this.machine.closed = true
    this.end(error)
    this.busy = false
    const stops = Array.from(this.machine.children.values(), (child) => this.stopAnyhow(child))
    this.run(
      Effect.ensuring(
        Effect.all(stops, { concurrency: "unbounded", discard: true }),
        Effect.sync(() => this.finish(error))
      )
    )
  }

  /** Stops a child without asking the machine. What takes longer than it may is left to itself. */
  private stopAnyhow(child: DynamicChild): Effect.Effect<void> {
    const { build, closing, instance, shutdown } = child
    child.build = undefined
    child.closing = undefined
    if (instance !== undefined && instance.state !== "exited") instance.state = "stopping"
    build?.unsafeInterruptAsFork(FiberId.none)
    const close =
      instance === undefined
        ? Effect.void
        : Effect.ensuring(instance.closeScope(Exit.interrupt(FiberId.none)), endFibers(instance))
    const whole = Effect.zipRight(build === undefined ? Effect.void : Fiber.await(build), close)
    const fiber = closing?.fiber ?? this.run(Effect.exit(whole))
    const ended = Effect.asVoid(Fiber.await(fiber))
    return Effect.ensuring(
      shutdown === "infinity"
        ? ended
        : Effect.asVoid(Effect.timeoutOption(ended, shutdown === "brutalKill" ? 0 : shutdown)),
      Effect.sync(() => {
        instance?.abandonCalls()
        child.instance = undefined
        child.status = "gone"
        this.machine.children.delete(child.id)
        child.slot.wake()
      })
    )
  }

  private perform(action: Action): void {
    switch (action._tag) {
      case "Start": {
        this.open(action.child)
        break
      }
      case "Stop": {
        this.stop(action.child)
        break
      }
      case "Release": {
        this.endSlot(action.child)
        break
      }
      case "Retry": {
        const retry = Effect.sync(() => this.send({ _tag: "Retry", child: action.child }))
        // A build that fails at once, again and again, is not to keep everything else from its turn.
        this.run(Effect.zipRight(++this.retries % breath === 0 ? macrotask : Effect.yieldNow(), retry))
        break
      }
      case "Decide": {
        this.decided(action.child, action.decision)
        break
      }
      case "Refuse": {
        action.child.refused = { refusal: action.refusal, other: action.other }
        action.child.slot.wake()
        break
      }
      case "Forget": {
        action.child.arg = undefined
        this.endSlot(action.child)
        break
      }
      case "Exit": {
        if (this.over === undefined) this.finish(this.ended)
      }
    }
  }

  /** Builds an instance. It is up in the step in which its build ends. */
  private open(child: DynamicChild): void {
    const { number } = child
    const failure = child.failures?.shift()
    if (failure !== undefined) {
      this.failed(child, failure)
      return
    }
    const instance = new Instance(this, child.slot, number, undefined, this.exitOf(child, number))
    child.instance = instance
    const build = Effect.flatMap(Scope.make(), (scope) => {
      instance.builder = Option.getOrUndefined(Fiber.getCurrentFiber())
      instance.scope = scope
      const context = new Map<string, unknown>(this.runtime.context.unsafeMap)
      context.set(Scope.Scope.key, scope)
      context.set(CurrentInstance.key, instance)
      // The argument is what the child was started with, and the rest of what it needs was captured where the layer was used.
      const effect = Effect.suspend(() => this.settings.child(child.arg as Arg))
      return Effect.exit(
        Effect.mapInputContext(effect, (_: Context.Context<never>) => Context.unsafeMake<unknown>(context))
      )
    })
    const fiber = this.run(driven(build), instance.tracker)
    const done = fiber.unsafePoll()
    if (done !== null) {
      this.built(child, Exit.flatten(done))
      return
    }
    child.build = fiber
    fiber.addObserver((exit) => {
      if (child.build === fiber) this.soundly(() => this.built(child, Exit.flatten(exit)))
    })
    const { startTimeout } = child.settings
    if (startTimeout === undefined) return
    const cancel = this.after(startTimeout, () => {
      if (child.build !== fiber) return
      const problem = `"${child.path}" did not start within ${startTimeout} ms (startTimeout)`
      this.soundly(() => this.failed(child, Cause.die(new Cause.TimeoutException(problem))))
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
    this.activeBy(1)
    if (child.restart === "temporary") child.arg = undefined
    instance.context = Context.unsafeMake(new Map([[serviceKey, exit.value]]))
    this.emit({ _tag: "Started", path: child.path, instance: child.number })
    this.send({ _tag: "Started", child })
    instance.up()
  }

  /** A build that came to nothing leaves nothing: what it has acquired is given back before anybody is told. */
  private failed(child: DynamicChild, cause: Cause.Cause<unknown>): void {
    child.cause = cause
    child.happened = "failed to start"
    this.closeInstance(child, Exit.failCause(cause))
    // Within a step that is done when its actions are.
    if (!this.busy) this.wait()
  }

  /** In a function of its own: an instance that keeps this would keep everything else that is there, its build's fiber included. */
  private exitOf(child: DynamicChild, number: number): (instance: Instance, ending: Ending) => void {
    return (_, ending) => this.soundly(() => this.exited(child, number, ending))
  }

  private exited(child: DynamicChild, number: number, { cause, exit }: Ending): void {
    child.lastExit = number
    child.cause = cause
    child.happened = exit === "abnormal" ? "crashed" : "ended"
    this.emit({ _tag: "Exited", path: child.path, instance: number, exit, cause })
    this.send({ _tag: "Exited", child, number, exit })
  }

  /** The machine wants the instance, or the attempt at one, to end. */
  private stop(child: DynamicChild): void {
    if (child.status === "stopping") this.endSlot(child)
    // What is being closed already is reported when that is done.
    if (child.closing !== undefined) return
    if (child.instance === undefined && child.build === undefined) {
      this.send({ _tag: "Stopped", child })
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
    if (instance !== undefined && instance === child.slot.last) this.activeBy(-1)
    // From here on its end is the close's business.
    child.build = undefined
    if (instance !== undefined && instance.state !== "exited") instance.state = "stopping"
    if (instance !== undefined) instance.isClosing = true
    if (child.slot.current === instance) child.slot.current = undefined
    for (const tree of instance?.nested ?? []) tree.beginClose()
    // Now, and not in the fiber that closes: a build that goes on could still make an instance that nobody closes.
    build?.unsafeInterruptAsFork(FiberId.none)
    const closeScope =
      instance === undefined
        ? Effect.void
        : Effect.flatMap(Effect.exit(instance.closeScope(exit)), (end) => Effect.zipRight(endFibers(instance), end))
    const whole = build === undefined ? closeScope : Effect.zipRight(Fiber.await(build), closeScope)
    const fiber = this.run(driven(Effect.exit(whole)), instance?.tracker)
    close.fiber = fiber
    const done = fiber.unsafePoll()
    if (done !== null) {
      this.closed(child, Exit.flatten(done))
      return
    }
    this.unfinished.push(child)
    fiber.addObserver((result) => {
      if (child.closing === close) this.soundly(() => this.closed(child, Exit.flatten(result)))
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
      this.emit({ _tag: "Orphaned", path, instance: number })
      this.run(Report.orphaned(path, number, seriesOf(this.parent) ?? this.path))
    } else if (Exit.isFailure(result) && !Cause.isInterruptedOnly(result.cause)) {
      this.run(Report.stopFailed(path, number, result.cause))
    }
    if (instance !== undefined && instance === child.slot.last) {
      if (result !== "orphaned") this.emit({ _tag: "Stopped", path, instance: number })
      this.send({ _tag: "Stopped", child })
      return
    }
    // It never came up. If that is because it was stopped, the machine waits for just that.
    if (child.status === "stopping") {
      this.send({ _tag: "Stopped", child })
      return
    }
    this.emit({ _tag: "StartFailed", path, instance: number, cause: child.cause })
    this.send({ _tag: this.isIgnored(child.cause) ? "Ignored" : "StartFailed", child })
  }

  private isIgnored(cause: Cause.Cause<unknown>): boolean {
    return Option.exists(Cause.failureOption(cause), this.settings.isIgnored) && Chunk.isEmpty(Cause.defects(cause))
  }

  /** Gives the closes that have just begun the time they may take: one timer for all that have the same. */
  private wait(): void {
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
      group.cancel = this.after(millis, () => {
        group.cancel = () => {}
        for (const child of Array.from(group.children)) this.soundly(() => this.abandon(child))
      })
    }
  }

  private abandon(child: DynamicChild): void {
    this.closed(child, "orphaned")
  }

  private decided(child: DynamicChild, decision: Machine.Decision): void {
    const { intensity, period } = this.settings
    const used = this.machine.restarts.count
    if (decision === "give up") {
      this.numbers.gaveUp()
      this.emit({ _tag: "GaveUp", path: this.path, childId: child.id, restarts: used })
    }
    if (decision === "restart") this.numbers.restarted(child.slot)
    this.run(
      Report.decision({
        path: child.path,
        instance: child.number,
        happened: child.happened,
        decision,
        delay: 0,
        used,
        intensity,
        period,
        root: this.parent === undefined,
        cause: child.cause
      })
    )
  }

  /** Nobody will come up for it any more. */
  private endSlot(child: DynamicChild): void {
    child.slot.end(this.machine.ending ? () => this.ended : () => new ChildDown({ path: child.path, waited: 0 }))
  }

  /** From here on nothing is done any more, and all who wait are told so. */
  private end(error: SupervisorShutdown): void {
    this.over = error
    const waiting = this.events
    this.events = []
    for (const event of waiting) {
      this.send(event)
      if (event._tag === "Start") event.child.slot.wake()
    }
    for (const child of this.machine.children.values()) child.slot.end(() => error)
    if (error.reason === "defect") this.run(Effect.logFatal(error.message, error.cause))
  }

  private finish(error: SupervisorShutdown): void {
    if (this.over === undefined) this.end(error)
    this.finished = true
    for (const tell of this.whenOver) tell(error)
    this.whenOver.clear()
    this.publish("over")
    if (!this.busy) this.changed()
    if (error.reason === "closed") this.parent?.unnest(this)
    else {
      // Giving up is an orderly end, as in OTP: a permanent child is restarted by its parent, a transient one is not.
      this.parent?.exit({ exit: "shutdown", cause: Cause.fail(error) })
      this.runner?.(error)
    }
  }

  private ending(
    reason: SupervisorShutdown["reason"],
    childId: string | undefined,
    cause: Cause.Cause<unknown>
  ): SupervisorShutdown {
    return new SupervisorShutdown({ path: this.path, childId, reason, restarts: this.machine.restarts.count, cause })
  }

  /** Said once: children of one supervisor are all alike. */
  private warn(child: DynamicChild, service: unknown): void {
    if (this.warned || service === undefined || service === null || carries(service)) return
    this.warned = true
    const text = `children of "${this.path}" answer with a value that no handle can carry: after a restart "service" is still that of the first instance. Read "current" each time, or answer with an object that has the value as a member`
    this.run(Effect.annotateLogs(Effect.logWarning(text), { path: child.path }))
  }

  private show(): void {
    if (!this.redraw) return
    this.redraw = false
    this.changed()
  }

  /** There is another picture of the tree. */
  changed(): void {
    // Whoever built the instance that this is in is a supervisor, static or dynamic, and has this function, too.
    const owner = this.parent?.owner as { readonly changed: () => void } | undefined
    owner?.changed()
  }

  private emit(event: Report.SupervisionEvent): void {
    this.publish(event)
    if (this.busy) this.redraw = true
    else this.changed()
  }

  private publish(event: Report.SupervisionEvent | "over"): void {
    // `unsafeOffer` alone would drop the newest when a subscriber is slow; publishing makes room, and never waits for it.
    if (!this.feed.unsafeOffer(event)) Effect.runSyncExit(PubSub.publish(this.feed, event))
  }

  private now(): number {
    return Number(this.clock.unsafeCurrentTimeNanos() / 1_000_000n)
  }

  /** Calls back after so many milliseconds; the result takes it back. */
  private after(millis: number, call: () => void): () => void {
    const fiber = this.run(Effect.zipRight(Effect.sleep(millis), Effect.sync(call)))
    return () => fiber.unsafeInterruptAsFork(FiberId.none)
  }

  /** For fibers of supervision: interruptible, and linked to no instance. What one forks for an instance is that's. */
  private run<A, E>(effect: Effect.Effect<A, E>, tracker?: Linking.Tracker): Fiber.RuntimeFiber<A, E> {
    return Runtime.runFork(this.runtime, effect, {
      updateRefs:
        tracker === undefined ? Linking.untrackedRefs : (refs: FiberRefs.FiberRefs, id) => tracker.refs(refs, id)
    })
  }

  readonly snapshot: Effect.Effect<TreeNode> = Effect.sync(() => this.draw(this.now()))

  /** The supervisor and its children as they are at `time`. Only some of very many are drawn one by one. */
  draw(time: number): TreeNode {
    this.locate()
    const { intensity, name, period } = this.settings
    const children: Array<ChildNode> = []
    let { up } = this.machine
    for (const child of this.machine.children.values()) {
      if (children.length === shown) break
      children.push(drawChild(child, time))
      if (child.status === "up") up--
    }
    const omitted = this.machine.children.size - children.length
    return {
      name,
      path: this.path,
      strategy: "one_for_one",
      status: this.machine.closed ? "closed" : "running",
      intensity: { used: Machine.intensityUsed(this.machine, time), max: intensity, period },
      children,
      ...(omitted === 0 ? {} : { omitted: { up, other: omitted - up } })
    }
  }
}

/**
 * Goes on when timers, sockets and files have had a turn. `yieldNow` gives one to other fibers only, but for every two thousandth
 * time, and what would be waited for here is the process.
 */
const eventLoop: Effect.Effect<void> = Effect.async<void>((resume) => {
  if (typeof setImmediate === "function") setImmediate(() => resume(Effect.void))
  else setTimeout(() => resume(Effect.void), 0)
})

/** Under a scheduler of somebody's own it is that scheduler which says whose turn it is. */
const macrotask: Effect.Effect<void> = Effect.flatMap(FiberRef.get(FiberRef.currentScheduler), (scheduler) =>
  scheduler === Scheduler.defaultScheduler ? eventLoop : Effect.yieldNow()
)

const endFibers = (instance: Instance): Effect.Effect<void> =>
  Effect.suspend(() => {
    const roots = instance.tracker.roots()
    return roots.length === 0 ? Effect.void : Fiber.interruptAll(roots)
  })

const statuses: { readonly [K in Machine.Status]: ChildNode["status"] } = {
  starting: "starting",
  up: "up",
  closing: "restarting",
  restarting: "restarting",
  waiting: "restarting",
  stopping: "down",
  gone: "down"
}

const drawChild = (child: DynamicChild, time: number): ChildNode => ({
  id: child.id,
  path: child.path,
  restart: child.restart,
  shutdown: child.shutdown,
  significant: false,
  status: statuses[child.status],
  instance: child.number,
  restarts: Math.max(0, child.starts - 1),
  orphaned: child.orphaned,
  dependsOn: [],
  ...drawNested(child.instance, time)
})
