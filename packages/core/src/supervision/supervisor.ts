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
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FiberId from "effect/FiberId"
import * as FiberRef from "effect/FiberRef"
import type * as MetricLabel from "effect/MetricLabel"
import * as PubSub from "effect/PubSub"
import type * as Runtime from "effect/Runtime"
import type * as Scope from "effect/Scope"
import * as Administration from "./administration.js"
import { type Child, fork } from "./child.js"
import { Instances } from "./childinstance.js"
import { CurrentInstance } from "./currentinstance.js"
import { draw } from "./drawing.js"
import { driven } from "./driving.js"
import type { Ending, Instance } from "./instance.js"
import * as Machine from "./machine.js"
import { Mailbox } from "./mailbox.js"
import { Edges } from "./registration.js"
import type * as Report from "./report.js"
import { told } from "./runner.js"
import { ChildDown, type ControlError, SupervisorShutdown } from "./SupervisionError.js"
import type { TreeNode } from "./TreeNode.js"
import * as Telemetry from "./telemetry.js"
import type { Holder } from "./waits.js"

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
  readonly edges = new Edges(this)
  readonly meters: Telemetry.Meters
  private readonly instances: Instances
  /** When the machine was last asked. */
  time = 0
  private readonly mailbox = new Mailbox<Letter>()
  /** Told after each change, here and in nested trees. */
  private readonly watchers = new Set<() => void>()
  private readonly whenFinished = new Set<(error: SupervisorShutdown) => void>()
  private finished: SupervisorShutdown | undefined
  /** Why it is about to end. */
  ending: SupervisorShutdown | undefined
  private unnamed = 0

  private constructor(
    readonly settings: Settings,
    readonly runtime: Runtime.Runtime<never>,
    /** The instance that it was built in, if it is nested. */
    readonly parent: Instance | undefined,
    readonly events: PubSub.PubSub<Report.SupervisionEvent>,
    labels: ReadonlyArray<MetricLabel.MetricLabel>,
    private readonly clock: Clock.Clock,
    /** Who is told of give-up, besides that instance. */
    private readonly runner: ((error: SupervisorShutdown) => void) | undefined
  ) {
    this.machine = Machine.make(settings)
    this.instances = new Instances(this)
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
  now(): number {
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
    return this.instances.holding
  }

  /** The layers of the tree are closing. */
  get isClosing(): boolean {
    return this.closing
  }

  /** Why it has ended, if it has. */
  get gone(): SupervisorShutdown | undefined {
    return this.finished
  }

  /** For a child without an id, until it is up. */
  nextName(): string {
    return `unnamed ${++this.unnamed}`
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

  send(letter: Letter): void {
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
    this.instances.waiting.cancelAll()
    for (const child of this.children.values()) child.slot.end(() => error)
    this.send(letter)
    const stop = Effect.forEach(
      Array.from(this.children.values()).reverse(),
      (child) =>
        child.instance === undefined ? Effect.void : this.instances.stop(child, child.instance, Exit.failCause(cause)),
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
      this.instances.because = event._tag === "Resume" ? this.children.get(event.id) : undefined
      return this.decide(event, reply)
    })
  }

  private decide(event: Machine.Event, reply: ((reply: Machine.Reply) => void) | undefined): Effect.Effect<void> {
    this.instances.heldUntil = 0
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
        return child === undefined
          ? Effect.succeed({ _tag: "StartFailed" })
          : this.instances.open(child, action.instance)
      case "Stop":
        return child?.instance === undefined
          ? undefined
          : this.instances.stop(child, child.instance, Exit.interrupt(FiberId.none))
      case "Decide":
        return child === undefined ? undefined : this.instances.decided(child, action.decision)
      case "Delay":
        if (child !== undefined) this.instances.delay(child, action.instance)
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
        if (child !== undefined) this.instances.release(child)
        break
      case "Retry":
        this.instances.retry(action, child)
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

  /** An instance ended by itself: its scope is closed before anything is decided. */
  private exited(child: Child, instance: Instance, { cause, exit }: Ending): Effect.Effect<void> {
    // Stopped in the meantime, with its siblings: that has been dealt with.
    if (child.instance !== instance) return Effect.void
    this.emit({ _tag: "Exited", path: child.slot.path, instance: instance.number, exit, cause })
    child.happened = exit === "abnormal" ? "crashed" : "ended"
    return Effect.zipRight(
      this.instances.stop(child, instance, Exit.failCause(cause)),
      this.handle({ _tag: "Exited", id: child.id, instance: instance.number, exit })
    )
  }

  /** Ends one child; when the whole tree is closing, everything that was started after it first. */
  private closeThrough(child: Child): Effect.Effect<void> {
    const self = this
    const { started } = this.instances
    return Effect.gen(function* () {
      if (self.children.get(child.id) !== child) return
      for (let other = self.closing ? started.pop() : child; other !== undefined; other = started.pop()) {
        if (self.children.get(other.id) === other) {
          yield* self.handle({ _tag: "Terminate", id: other.id })
          other.slot.end(() => self.ended("closed", undefined, Cause.empty))
          yield* self.handle({ _tag: "Delete", id: other.id })
        }
        if (other === child) return
      }
    })
  }

  ended(
    reason: SupervisorShutdown["reason"],
    childId: string | undefined,
    cause: Cause.Cause<unknown>
  ): SupervisorShutdown {
    return new SupervisorShutdown({ path: this.path, childId, reason, restarts: this.machine.restarts.count, cause })
  }

  emit(event: Report.SupervisionEvent): void {
    // `unsafeOffer` alone would drop the newest when a subscriber is slow; publishing makes room, and never waits for it.
    if (!this.events.unsafeOffer(event)) Effect.runSyncExit(PubSub.publish(this.events, event))
    this.changed()
  }
}
