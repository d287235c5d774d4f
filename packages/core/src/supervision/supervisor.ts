/**
 * The supervisor at run time: a mailbox, one fiber that works through it, and the pure machine that decides.
 *
 * The fiber is the only one that starts and stops instances, so there is never more than one start or stop under way, and an
 * old instance's scope is closed (or given up as orphaned) before the next one is built. Everything it waits for has a bound:
 * a scope that closes by the child's `shutdown`, a build by `startTimeout` and by any request that makes it pointless.
 * With an empty mailbox the fiber is suspended: no timer and no polling.
 *
 * An exit is noticed in the observer of the fiber that died, in that very step: the slot is emptied and waiting calls are told.
 * What follows (closing, deciding, restarting) is a letter in the mailbox.
 */
import * as Cause from "effect/Cause"
import type * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FiberId from "effect/FiberId"
import * as FiberRef from "effect/FiberRef"
import type * as Layer from "effect/Layer"
import type * as MetricLabel from "effect/MetricLabel"
import * as PubSub from "effect/PubSub"
import * as Runtime from "effect/Runtime"
import type * as Scope from "effect/Scope"
import * as Administration from "./administration.js"
import { Waiting } from "./backoff.js"
import { Child, type ChildSettings, fork, uncarried } from "./child.js"
import { CurrentInstance } from "./currentinstance.js"
import { draw } from "./drawing.js"
import { driven } from "./driving.js"
import type { Ending, Instance, Slot } from "./instance.js"
import * as Machine from "./machine.js"
import { Mailbox } from "./mailbox.js"
import { Edges, problemUnder } from "./registration.js"
import * as Report from "./report.js"
import { CurrentSupervisor, told } from "./runner.js"
import { ChildDown, type ControlError, SupervisorConfigError, SupervisorShutdown } from "./SupervisionError.js"
import type { TreeNode } from "./TreeNode.js"
import * as Telemetry from "./telemetry.js"
import { type Holder, isBusy } from "./waits.js"

type Letter =
  | { readonly _tag: "Event"; readonly event: Machine.Event; readonly reply?: (reply: Machine.Reply) => void }
  | { readonly _tag: "Exited"; readonly child: Child; readonly instance: Instance; readonly ending: Ending }
  | { readonly _tag: "Close"; readonly child: Child; readonly done: () => void }
  | {
      readonly _tag: "Control"
      readonly operation: Administration.Operation
      readonly child: Child
      readonly reply: (reply: Machine.Reply) => void
    }

export interface Settings extends Machine.Options {
  readonly name: string
}

export class Supervisor implements Holder {
  /** Fails when the supervisor gives up or ends with a significant child; never completed by an ordinary close. */
  readonly shutdown = Deferred.unsafeMake<never, SupervisorShutdown>(FiberId.none)
  /** The whole tree is closing: a child that closes takes along what was started after it, and nothing is started. */
  private closing = false
  private built = false
  readonly machine: Machine.Machine
  readonly children = new Map<string, Child>()
  /** In start order; may still name children that are gone. */
  private readonly started: Array<Child> = []
  private readonly edges = new Edges(this)
  private readonly waiting: Waiting
  private readonly meters: Telemetry.Meters
  /** Whose exit is being answered with starts; nobody's if they were asked for. */
  private because: Child | undefined
  /** When the machine was last asked. */
  private time = 0
  /** Until when somebody was waiting whose delay the machine has just cancelled. */
  private heldUntil = 0
  private readonly mailbox = new Mailbox<Letter>()
  /** Told after each change, here and in nested trees. */
  private readonly watchers = new Set<() => void>()
  private readonly whenFinished = new Set<(error: SupervisorShutdown) => void>()
  private finished: SupervisorShutdown | undefined
  private ending: SupervisorShutdown | undefined
  private unnamed = 0
  /** Who was built or closed last. There is never more than one. */
  private busy: Child | undefined

  private constructor(
    readonly settings: Settings,
    private readonly runtime: Runtime.Runtime<never>,
    /** The instance that it was built in, if it is nested. */
    readonly parent: Instance | undefined,
    readonly events: PubSub.PubSub<Report.SupervisionEvent>,
    labels: ReadonlyArray<MetricLabel.MetricLabel>,
    private readonly clock: Clock.Clock,
    /** Who is told of give-up, besides that instance. */
    private readonly runner: ((error: SupervisorShutdown) => void) | undefined
  ) {
    this.machine = Machine.make(settings)
    this.waiting = new Waiting(settings, runtime)
    parent?.nest(this)
    this.meters = new Telemetry.Meters(this, labels)
  }

  get path(): string {
    return this.parent?.slot.path ?? this.settings.name
  }

  /** The child that it is in, or one further out, has got its name. */
  moved(): void {
    for (const { instance, id, slot } of this.children.values()) {
      slot.path = `${this.path}/${id}`
      for (const tree of instance?.nested ?? []) tree.moved()
    }
    this.meters.settle()
  }

  /** For a picture of what holds it, such as the services of a layer beside its children: it is part of a circle. */
  toJSON(): unknown {
    return { _id: "Supervisor", path: this.path }
  }

  /** Milliseconds of a clock that does not go back. */
  private now(): number {
    return Number(this.clock.unsafeCurrentTimeNanos() / 1_000_000n)
  }

  /** Starts an empty supervisor that lives as long as the scope. */
  static make(settings: Settings): Effect.Effect<Supervisor, never, Scope.Scope> {
    return Effect.gen(function* () {
      const runtime = yield* Effect.runtime<never>()
      const parent = yield* CurrentInstance
      const labels = yield* FiberRef.get(FiberRef.currentMetricLabels)
      const clock = yield* Effect.clock
      const runner = yield* told
      const events = yield* PubSub.sliding<Report.SupervisionEvent>(256)
      return yield* Effect.acquireRelease(
        Effect.sync(() => {
          const self = new Supervisor(settings, runtime, parent, events, labels, clock, runner)
          fork(runtime, self.loop())
          return self
        }),
        (self) => Effect.zipRight(self.close, PubSub.shutdown(events))
      )
    })
  }

  /** Starts a child and answers with handles for its services. Fails and dies with what its build failed or died with. */
  start<A, E, R>(layer: Layer.Layer<A, E, R>, settings: ChildSettings): Effect.Effect<StartedChild<A>, E, R> {
    return Effect.flatMap(Effect.runtime<R>(), (runtime) =>
      Effect.async<StartedChild<A>, E>((resume) => {
        const id = settings.id ?? `unnamed ${++this.unnamed}`
        if (this.children.has(id)) return resume(Effect.die(this.duplicate(id)))
        const dependsOn = this.edges.declared(settings, runtime.context)
        const problem = typeof dependsOn === "string" ? dependsOn : problemUnder(this.settings, settings)
        if (problem !== undefined) {
          const named = `child "${id}": ${problem}`
          return resume(Effect.die(new SupervisorConfigError({ path: this.path, problem: named })))
        }
        // Not for the child's own layers: a supervised layer inside a child would register again at every restart.
        const context = Context.omit(CurrentSupervisor)(runtime.context as Context.Context<CurrentSupervisor>)
        const own = Runtime.make({ ...runtime, context })
        const onRead = (slot: Slot): void => this.edges.noteRead(child, slot)
        const child: Child = new Child(
          id,
          `${this.path}/${id}`,
          settings,
          layer,
          own,
          this.settings.strategy === "rest_for_dependents" ? onRead : undefined
        )
        child.slot.holder = this
        child.slot.provisional = settings.id === undefined
        this.children.set(id, child)
        this.edges.add(child)
        let answered = false
        let told: (() => void) | undefined
        this.send({
          _tag: "Event",
          event: {
            _tag: "StartChild",
            child: {
              id,
              restart: settings.restart,
              significant: settings.significant,
              delayed: settings.backoff !== undefined,
              dependsOn: Array.isArray(dependsOn) ? dependsOn : []
            }
          },
          reply: (reply) => {
            answered = true
            const instance = child.instance
            if (reply === "ok" && instance !== undefined) {
              // Handles for what the layer provides: its type says which services those are.
              const handles = child.handles(instance) as Context.Context<A>
              resume(Effect.as(Report.uncarried(child.slot.path, uncarried(instance)), { child, handles }))
            } else if (reply === "start_failed") resume(Effect.failCause(child.cause as Cause.Cause<E>))
            else resume(Effect.die(this.finished ?? this.duplicate(id)))
            told?.()
          }
        })
        return Effect.async<void>((interrupted) => {
          child.unwant()
          // A letter that is not read yet will find that nobody wants it. Waiting for that could take for ever: the
          // supervisor may be held up by the build of a sibling.
          if (answered || child.instance === undefined) return interrupted(Effect.void)
          told = () => interrupted(Effect.void)
        })
      })
    )
  }

  /** Ends a child whose layer's scope is closing. */
  closeChild(child: Child, exit: Exit.Exit<unknown, unknown>): Effect.Effect<void> {
    return Effect.async<void>((resume) => {
      this.send({ _tag: "Close", child, done: () => resume(Effect.void) })
      child.unwant()
      if (this.built || this.closing) return
      // The tree is not complete, and will not be if its build was interrupted. If a part of it has failed, the rest may go on
      // with something else (`Layer.orElse`); a sibling whose restart hangs must not hold that up, and is tried again after it.
      if (Exit.isInterrupted(exit)) this.beginClose()
      else for (const other of this.children.values()) other.interruptBuild()
    })
  }

  /** All layers of the tree are built. */
  completed(): void {
    this.built = true
    if (this.finished !== undefined) this.tell(this.finished)
  }

  /** Whether all its layers are built. */
  get isBuilt(): boolean {
    return this.built
  }

  /** A supervisor that was built among the children, and is none of them, has given up: nobody else would hear of it. */
  partGaveUp(error: SupervisorShutdown): void {
    this.ending ??= error
    this.send({ _tag: "Event", event: { _tag: "Shutdown" } })
    this.beginClose()
  }

  /** Before it is complete, its end is the failure of its build. */
  private tell(error: SupervisorShutdown): void {
    if (this.built && error.reason !== "closed") this.runner?.(error)
  }

  /** The layers of the tree are about to close, one after the other. */
  beginClose(): void {
    if (this.closing) return
    this.closing = true
    for (const child of this.children.values()) child.unwant()
  }

  /** Stops everything in reverse start order and waits for the end. */
  readonly close: Effect.Effect<void> = Effect.async<void>((resume) => {
    if (this.finished !== undefined) return resume(Effect.void)
    this.whenFinished.add(() => resume(Effect.void))
    this.send({ _tag: "Event", event: { _tag: "Shutdown" } })
    this.beginClose()
  })

  /** The child under this path, here or in a nested tree, and whose it is. */
  find(path: string): Administration.Found | undefined {
    return Administration.find(this, path)
  }

  /** An administration call to the supervisor that owns the child of this path. */
  control(operation: Administration.Operation, path: string): Effect.Effect<void, ControlError> {
    return Administration.control(this, operation, path)
  }

  /** Asks for an operation on a child of this supervisor. */
  request(operation: Administration.Operation, child: Child, reply: (reply: Machine.Reply) => void): void {
    this.send({ _tag: "Control", operation, child, reply })
    if (operation === "terminate" || operation === "restart") child.unwant()
  }

  /** Calls `tell` once, with why, when the supervisor has ended and its children have stopped; the result takes it back. */
  onFinish(tell: (error: SupervisorShutdown) => void): () => void {
    if (this.finished === undefined) this.whenFinished.add(tell)
    else tell(this.finished)
    return () => this.whenFinished.delete(tell)
  }

  /** Calls `watcher` after each change, here and in nested trees; the result takes it back. */
  onChange(watcher: () => void): () => void {
    this.watchers.add(watcher)
    return () => this.watchers.delete(watcher)
  }

  /** Something that a picture of the tree shows is different. */
  changed(): void {
    if (this.watchers.size > 0) for (const watcher of this.watchers) watcher()
    if (this.parent !== undefined) Administration.ownerOf(this.parent).changed()
  }

  /** What is being built or closed: nothing else is, as long as that takes. */
  get holding(): Instance | undefined {
    const instance = this.busy?.instance
    return instance !== undefined && isBusy(instance) ? instance : undefined
  }

  /** Whether it has ended. */
  get isOver(): boolean {
    return this.finished !== undefined
  }

  /** Paths of all children, for messages. */
  paths(): ReadonlyArray<string> {
    return Array.from(this.children.values(), (child) => child.slot.path)
  }

  readonly snapshot: Effect.Effect<TreeNode> = Effect.sync(() => draw(this, this.now()))

  private send(letter: Letter): void {
    if (this.finished !== undefined) {
      if (letter._tag === "Event" || letter._tag === "Control") letter.reply?.("noproc")
      if (letter._tag === "Close") letter.done()
      return
    }
    this.mailbox.send(letter)
  }

  private loop(): Effect.Effect<void> {
    const self = this
    return Effect.gen(function* () {
      while (self.finished === undefined) {
        const letter = self.mailbox.next()
        if (letter === undefined) yield* self.mailbox.wait
        else yield* Effect.catchAllCause(driven(self.answer(letter)), (cause) => self.failed(letter, cause))
      }
      self.finish(self.finished)
    })
  }

  /** A defect in here: the supervisor ends, since one that goes on without having done its work would leave others waiting. */
  private failed(letter: Letter, cause: Cause.Cause<never>): Effect.Effect<void> {
    const error = this.ended("defect", undefined, cause)
    this.finished = error
    this.waiting.cancelAll()
    for (const child of this.children.values()) child.slot.end(() => error)
    this.send(letter)
    const stop = Effect.forEach(
      Array.from(this.children.values()).reverse(),
      (child) => (child.instance === undefined ? Effect.void : this.stop(child, child.instance, Exit.failCause(cause))),
      { discard: true }
    )
    return Effect.zipRight(Effect.logFatal(error.message, cause), stop)
  }

  /** Nothing is heard any more: answers whatever was still in the mailbox. */
  private finish(error: SupervisorShutdown): void {
    for (let letter = this.mailbox.next(); letter !== undefined; letter = this.mailbox.next()) this.send(letter)
    if (error.reason !== "closed") {
      Deferred.unsafeDone(this.shutdown, Exit.fail(error))
      // Giving up is an orderly end, as in OTP: a permanent tree is restarted by its parent, a transient one is not.
      this.parent?.exit({ exit: "shutdown", cause: Cause.fail(error) })
    } else this.parent?.unnest(this)
    this.tell(error)
    this.changed()
    for (const tell of this.whenFinished) tell(error)
    this.whenFinished.clear()
  }

  private answer(letter: Letter): Effect.Effect<void> {
    switch (letter._tag) {
      case "Event": {
        const { event } = letter
        if (event._tag === "StartChild" && this.children.get(event.child.id)?.isUnwanted === true) {
          // Interrupted while it waited for its turn: nobody is there to be told.
          this.children.delete(event.child.id)
          return Effect.sync(() => letter.reply?.("start_failed"))
        }
        return this.handle(event, letter.reply)
      }
      case "Control":
        return this.controlled(letter.operation, letter.child, letter.reply)
      case "Exited":
        return this.exited(letter.child, letter.instance, letter.ending)
      case "Close":
        return Effect.zipRight(this.closeThrough(letter.child), Effect.sync(letter.done))
    }
  }

  private controlled(
    operation: Administration.Operation,
    child: Child,
    reply: (reply: Machine.Reply) => void
  ): Effect.Effect<void> {
    if (operation === "terminate" || operation === "restart") child.want()
    // Forgotten since the call was made, and perhaps another child by that name has been started.
    if (this.children.get(child.id) !== child) return Effect.sync(() => reply("not_found"))
    switch (operation) {
      case "terminate":
        return this.handle({ _tag: "Terminate", id: child.id }, reply)
      case "start":
        return this.handle({ _tag: "Restart", id: child.id }, reply)
      case "remove":
        return this.handle({ _tag: "Delete", id: child.id }, reply)
      case "restart":
        return Effect.zipRight(
          this.handle({ _tag: "Terminate", id: child.id }),
          this.handle({ _tag: "Restart", id: child.id }, reply)
        )
    }
  }

  /** Lets the machine answer one event, and performs what it says; then that to which the last start has come. */
  private handle(event: Machine.Event, reply?: (reply: Machine.Reply) => void): Effect.Effect<void> {
    return Effect.suspend(() => {
      this.because = event._tag === "Resume" ? this.children.get(event.id) : undefined
      return this.decide(event, reply)
    })
  }

  private decide(event: Machine.Event, reply: ((reply: Machine.Reply) => void) | undefined): Effect.Effect<void> {
    this.heldUntil = 0
    this.time = this.now()
    const actions = Machine.handle(this.machine, event, this.time)
    this.changed()
    return this.performFrom(actions, 0, reply, undefined)
  }

  /** No generator, which is slower: there is an answer only if the last action is a start. */
  private performFrom(
    actions: ReadonlyArray<Machine.Action>,
    from: number,
    reply: ((reply: Machine.Reply) => void) | undefined,
    answer: Machine.Event | undefined
  ): Effect.Effect<void> {
    for (let at = from; at < actions.length; at++) {
      const action = actions[at]
      const performing = action === undefined ? undefined : this.perform(action, reply)
      if (performing !== undefined) {
        // What has no answer answers with nothing.
        return Effect.flatMap(performing as Effect.Effect<Machine.Event | undefined>, (next) =>
          this.performFrom(actions, at + 1, reply, next ?? answer)
        )
      }
    }
    return answer === undefined ? Effect.void : this.decide(answer, reply)
  }

  /** Performs one action; nothing is left to be run of one that takes no time. */
  private perform(
    action: Machine.Action,
    reply: ((reply: Machine.Reply) => void) | undefined
  ): Effect.Effect<Machine.Event> | Effect.Effect<void> | undefined {
    const child = "id" in action && action.id !== undefined ? this.children.get(action.id) : undefined
    switch (action._tag) {
      case "Start":
        return child === undefined ? Effect.succeed({ _tag: "StartFailed" }) : this.open(child, action.instance)
      case "Stop":
        return child?.instance === undefined
          ? undefined
          : this.stop(child, child.instance, Exit.interrupt(FiberId.none))
      case "Decide":
        return child === undefined ? undefined : this.decided(child, action.decision)
      case "Delay":
        if (child !== undefined) this.delay(child, action.instance)
        return undefined
      default:
        this.note(action, child, reply)
        return undefined
    }
  }

  /** The actions that take no time. */
  private note(
    action: Machine.Action,
    child: Child | undefined,
    reply: ((reply: Machine.Reply) => void) | undefined
  ): void {
    switch (action._tag) {
      case "Forget":
        this.children.delete(action.id)
        child?.slot.end(() => new ChildDown({ path: child.slot.path, waited: 0 }))
        break
      case "CancelDelay":
        if (child !== undefined) this.heldUntil = Math.max(this.heldUntil, this.waiting.cancel(child))
        break
      case "Retry":
        this.retry(action, child)
        break
      case "Reply":
        reply?.(action.reply)
        break
      case "Exit": {
        const error = this.ending ?? this.ended("closed", action.id, Cause.empty)
        for (const child of this.children.values()) child.slot.end(() => error)
        this.finished = error
        break
      }
    }
  }

  /**
   * A start that has failed is tried again after whatever else is waiting. If it has failed because it called a sibling that is
   * down, that is when the sibling is up, or could have been waited for no longer: it would only fail again before.
   */
  private retry(event: Machine.Event, child: Child | undefined): void {
    const missing = child === undefined ? undefined : this.missing(child.cause)
    if (missing === undefined || missing.whenDown === "fail") {
      this.send({ _tag: "Event", event })
      return
    }
    const isUp = missing.until(() =>
      missing.current !== undefined || missing.isOver || this.machine.closed ? Effect.void : undefined
    )
    // One that nobody wants any more is not heard by the machine.
    const again = Effect.sync(() => this.send({ _tag: "Event", event }))
    fork(this.runtime, Effect.zipRight(Effect.timeoutOption(isUp, missing.whenDown), again))
  }

  /** The child that was down when a build called it. */
  private missing(cause: Cause.Cause<unknown>): Slot | undefined {
    const down = Array.from(Cause.defects(cause)).find((defect) => defect instanceof ChildDown)
    if (down?.holding === undefined) return undefined
    for (const { slot } of this.children.values()) if (slot.path === down.path) return slot
    return undefined
  }

  private open(child: Child, number: number): Effect.Effect<Machine.Event> {
    // The request that makes this start pointless is in the mailbox already, and could not abort what had not begun.
    if (this.closing || child.isUnwanted) {
      child.cause = Cause.interrupt(FiberId.none)
      return Effect.succeed({ _tag: "StartFailed" })
    }
    const onUp = (instance: Instance): void => {
      this.name(child, instance)
      if (child.starts === 1) this.started.push(child)
      this.meters.activeBy(1)
      this.emit({ _tag: "Started", path: child.slot.path, instance: number })
    }
    const onExit = (instance: Instance, ending: Ending): void => {
      child.lastExit = instance.number
      child.cause = ending.cause
      this.changed()
      this.send({ _tag: "Exited", child, instance, ending })
    }
    this.busy = child
    const start = child.open(this, number, onUp, onExit)
    const isFirst = child.starts === 0
    return Effect.map(isFirst ? start : this.restarted(child, number, start), (exit) => {
      if (Exit.isSuccess(exit)) return { _tag: "Started" }
      this.emit({ _tag: "StartFailed", path: child.slot.path, instance: number, cause: exit.cause })
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
          if (Exit.isSuccess(exit)) this.meters.wasDown(child.slot, this.now() - child.downSince)
          return exit
        })
  }

  /** The default id is made of what the layer provides, which is known only now. */
  private name(child: Child, instance: Instance): void {
    if (child.settings.id !== undefined || child.starts > 1) return
    const keys = Array.from(instance.context.unsafeMap.keys()).join(", ")
    let id = keys
    for (let n = 2; !Machine.rename(this.machine, child.id, id); n++) id = `${keys} ${n}`
    this.children.delete(child.id)
    this.children.set(id, child)
    child.id = id
    child.slot.path = `${this.path}/${id}`
    child.slot.provisional = false
    for (const tree of instance.nested) tree.moved()
  }

  /** An instance ended by itself: its scope is closed before anything is decided. */
  private exited(child: Child, instance: Instance, { cause, exit }: Ending): Effect.Effect<void> {
    // Stopped in the meantime, with its siblings: that has been dealt with.
    if (child.instance !== instance) return Effect.void
    this.emit({ _tag: "Exited", path: child.slot.path, instance: instance.number, exit, cause })
    child.happened = exit === "abnormal" ? "crashed" : "ended"
    return Effect.zipRight(
      this.stop(child, instance, Exit.failCause(cause)),
      this.handle({ _tag: "Exited", id: child.id, instance: instance.number, exit })
    )
  }

  private stop(child: Child, instance: Instance, exit: Exit.Exit<unknown, unknown>): Effect.Effect<void> {
    if (instance.state !== "building") this.meters.activeBy(-1)
    child.downSince = this.now()
    this.busy = child
    return Effect.flatMap(child.close(instance, exit), (result) => {
      const { path } = child.slot
      if (this.machine.closed) child.slot.end(() => this.ending ?? this.ended("closed", undefined, Cause.empty))
      this.emit({ _tag: result === "closed" ? "Stopped" : "Orphaned", path, instance: instance.number })
      return result === "closed" ? Effect.void : Report.orphaned(path, instance.number, Telemetry.seriesOf(this.parent))
    })
  }

  private decided(child: Child, decision: Machine.Decision): Effect.Effect<void> {
    const { intensity, period } = this.settings
    const used = this.machine.restarts.count
    if (decision === "give up" || decision === "auto shutdown") {
      const ending = this.ended(decision === "give up" ? "intensity" : "significant", child.id, child.cause)
      this.ending = ending
      // Its callers do not have to wait until the siblings have stopped.
      child.slot.end(() => ending)
      if (decision === "give up") {
        this.meters.gaveUp()
        this.emit({ _tag: "GaveUp", path: this.path, childId: child.id, restarts: used })
      }
    }
    let delay = 0
    if (decision === "restart") {
      this.because = child
      this.meters.restarted(child.slot)
      // Without a backoff nobody asks until when.
      if (child.settings.backoff !== undefined) delay = this.waiting.delayOf(child, this.time)
    }
    child.resumeAt = this.time + delay
    return Report.decision({
      path: child.slot.path,
      instance: Math.max(child.lastExit, child.starts),
      happened: child.happened,
      decision,
      delay,
      used,
      intensity,
      period,
      root: this.parent === undefined,
      cause: child.cause
    })
  }

  /** Waits before a child is started again, while everything else goes on. */
  private delay(child: Child, instance: number): void {
    const until = Math.max(child.resumeAt, this.heldUntil)
    this.emit({ _tag: "Delayed", path: child.slot.path, instance, delay: Math.max(0, until - this.now()) })
    this.waiting.start(child, until, () =>
      this.send({ _tag: "Event", event: { _tag: "Resume", id: child.id, instance } })
    )
  }

  /** Ends one child; when the whole tree is closing, everything that was started after it first. */
  private closeThrough(child: Child): Effect.Effect<void> {
    const self = this
    return Effect.gen(function* () {
      if (self.children.get(child.id) !== child) return
      for (let other = self.closing ? self.started.pop() : child; other !== undefined; other = self.started.pop()) {
        if (self.children.get(other.id) === other) {
          yield* self.handle({ _tag: "Terminate", id: other.id })
          other.slot.end(() => self.ended("closed", undefined, Cause.empty))
          yield* self.handle({ _tag: "Delete", id: other.id })
        }
        if (other === child) return
      }
    })
  }

  private ended(
    reason: SupervisorShutdown["reason"],
    childId: string | undefined,
    cause: Cause.Cause<unknown>
  ): SupervisorShutdown {
    return new SupervisorShutdown({ path: this.path, childId, reason, restarts: this.machine.restarts.count, cause })
  }

  private emit(event: Report.SupervisionEvent): void {
    // `unsafeOffer` alone would drop the newest when a subscriber is slow; publishing makes room, and never waits for it.
    if (!this.events.unsafeOffer(event)) Effect.runSyncExit(PubSub.publish(this.events, event))
    this.changed()
  }

  private duplicate(id: string): SupervisorConfigError {
    return new SupervisorConfigError({
      path: this.path,
      problem: `two children are called "${id}"; give one of them another id with Supervised.layer(layer, { id: "..." })`
    })
  }
}

export interface StartedChild<A> {
  readonly child: Child
  readonly handles: Context.Context<A>
}
