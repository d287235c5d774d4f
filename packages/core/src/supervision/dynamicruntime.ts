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
import type * as Clock from "effect/Clock"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import * as FiberRef from "effect/FiberRef"
import type * as FiberRefs from "effect/FiberRefs"
import type * as MetricLabel from "effect/MetricLabel"
import * as PubSub from "effect/PubSub"
import * as Runtime from "effect/Runtime"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { CurrentInstance } from "./currentinstance.js"
import { type ChildSettings, DynamicChild } from "./dynamicchild.js"
import { drawDynamic } from "./dynamicdrawing.js"
import { Instances, type Owner } from "./dynamicinstance.js"
import * as Machine from "./dynamicmachine.js"
import type { Instance } from "./instance.js"
import * as Linking from "./linking.js"
import * as Report from "./report.js"
import { told } from "./runner.js"
import { ChildDown, SupervisorShutdown } from "./SupervisionError.js"
import type { TreeNode } from "./TreeNode.js"
import { Meters } from "./telemetry.js"
import { macrotask } from "./turn.js"

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

export class Dynamic<Arg> implements Owner<Arg> {
  readonly machine: Machine.Machine<DynamicChild>
  private readonly runtime: Runtime.Runtime<never>
  private events: Array<Event> = []
  private actions: ReadonlyArray<Action> = []
  private at = 0
  private busy = false
  /** There is another picture, to be shown when this step is done. */
  private redraw = false
  private readonly whenOver = new Set<(error: SupervisorShutdown) => void>()
  /** Why it has ended. Its children have, too, unless that is a defect: then they are about to. */
  private over: SupervisorShutdown | undefined
  private finished = false
  private unnamed = 0
  private retries = 0
  /** The path that its children have as the first part of theirs. */
  private where: string | undefined
  private readonly numbers: Meters
  private readonly instances = new Instances<Arg>(this)

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

  activeBy(change: 1 | -1): void {
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

  /** Within a step. */
  get isBusy(): boolean {
    return this.busy
  }

  /** What its children are built with, besides a Scope. */
  get services(): Context.Context<never> {
    return this.runtime.context
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

  send(event: Event): void {
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
        this.instances.wait()
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
  soundly(step: () => void): void {
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
    const stops = Array.from(this.machine.children.values(), (child) => this.instances.stopAnyhow(child))
    this.run(
      Effect.ensuring(
        Effect.all(stops, { concurrency: "unbounded", discard: true }),
        Effect.sync(() => this.finish(error))
      )
    )
  }

  private perform(action: Action): void {
    switch (action._tag) {
      case "Start": {
        this.instances.open(action.child)
        break
      }
      case "Stop": {
        this.instances.stop(action.child)
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
  endSlot(child: DynamicChild): void {
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

  emit(event: Report.SupervisionEvent): void {
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
  after(millis: number, call: () => void): () => void {
    const fiber = this.run(Effect.zipRight(Effect.sleep(millis), Effect.sync(call)))
    return () => fiber.unsafeInterruptAsFork(FiberId.none)
  }

  /** For fibers of supervision: interruptible, and linked to no instance. What one forks for an instance is that's. */
  run<A, E>(effect: Effect.Effect<A, E>, tracker?: Linking.Tracker): Fiber.RuntimeFiber<A, E> {
    return Runtime.runFork(this.runtime, effect, {
      updateRefs:
        tracker === undefined ? Linking.untrackedRefs : (refs: FiberRefs.FiberRefs, id) => tracker.refs(refs, id)
    })
  }

  readonly snapshot: Effect.Effect<TreeNode> = Effect.sync(() => this.draw(this.now()))

  draw(time: number): TreeNode {
    this.locate()
    return drawDynamic(this, time)
  }
}
