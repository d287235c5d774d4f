/**
 * One life of a child (`Instance`), and the place where the current one is found (`Slot`).
 *
 * A handle holds a slot. A restart is: the slot is emptied, the instance's scope closed, the next instance built and put in.
 * All changes are made in one synchronous step, so a caller sees an instance, or none, and never half of one.
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import * as HashSet from "effect/HashSet"
import * as Runtime from "effect/Runtime"
import * as Scope from "effect/Scope"
import { Tracker, untrackedRefs } from "./linking.js"
import type { ExitClass } from "./machine.js"
import { ChildDown, InstanceDied, type SupervisorShutdown } from "./SupervisionError.js"
import type { TreeNode } from "./TreeNode.js"
import { type Holder, Wait } from "./waits.js"

/** Why an instance ended by itself. */
export interface Ending {
  readonly exit: ExitClass
  readonly cause: Cause.Cause<unknown>
}

/** A supervisor that was built inside an instance. A dynamic one draws itself; a static one is drawn by `drawing.ts`. */
export interface Nested {
  readonly beginClose: () => void
  readonly draw?: (time: number) => TreeNode
  /** The child that it is in, or one further out, has got its name. */
  readonly moved: () => void
}

const none: ReadonlyArray<Nested> = []

export class Instance {
  readonly tracker: Tracker
  /** What the build made; empty until then. */
  context: Context.Context<never> = Context.empty()
  /** The services that it is built, and closed, with. */
  home: Context.Context<never> = this.context
  /** `stopping`: the supervisor ended it; `exited`: it ended by itself. */
  state: "building" | "up" | "stopping" | "exited" = "building"
  /** The trees that were built inside this instance, in that order. Hardly any instance has one, and fewer have several. */
  private inside: Array<Nested> | undefined
  /** It has had a tree inside. */
  isSupervisor = false
  /** The fiber that builds it, until it is up: it would be kept with all that it has. */
  builder: Fiber.RuntimeFiber<unknown, unknown> | undefined = undefined
  /** Its scope is being closed, and its supervisor waits for that. */
  isClosing = false
  /** What waits for an answer of this instance. Each is called once, when it dies. */
  private inFlight: Set<(died: InstanceDied) => void> | undefined
  private over = false
  /** Made when somebody is told: an error takes a stack with it. */
  private died: InstanceDied | undefined
  /** How it ended before it was up. */
  private early: Ending | undefined

  constructor(
    /** The supervisor that built it. */
    readonly owner: unknown,
    readonly slot: Slot,
    readonly number: number,
    /** There is none before the first step of its build. */
    public scope: Scope.CloseableScope | undefined,
    private readonly onExit: (instance: Instance, ending: Ending) => void
  ) {
    this.tracker = new Tracker((exit) => this.linkedEnded(exit))
  }

  /** For a picture of what holds it, such as the services of its child: it is part of a circle. */
  toJSON(): unknown {
    return { _id: "Instance", path: this.slot.path, instance: this.number, state: this.state }
  }

  /** The trees inside. */
  get nested(): ReadonlyArray<Nested> {
    return this.inside ?? none
  }

  /** A tree was built inside. */
  nest(tree: Nested): void {
    this.isSupervisor = true
    this.inside ??= []
    this.inside.push(tree)
  }

  /** A tree inside was closed while the instance goes on; one that has given up, or is closed with its instance, is still shown. */
  unnest(tree: Nested): void {
    if (this.state === "up" || this.state === "building") this.inside = this.inside?.filter((other) => other !== tree)
  }

  /** Ends the instance from the inside. Only the first ending counts. */
  exit(ending: Ending): void {
    if (this.state === "building") this.early ??= ending
    if (this.state !== "up") return
    this.state = "exited"
    if (this.slot.current === this) this.slot.current = undefined
    this.onExit(this, ending)
    this.abandonCalls()
  }

  /** Closes what it has acquired, and then ends the fibers that are linked to it. */
  close(exit: Exit.Exit<unknown, unknown>): Effect.Effect<void> {
    const closed = this.scope === undefined ? Effect.void : Scope.close(this.scope, exit)
    return Effect.flatMap(Effect.exit(closed), (end) => {
      const roots = this.tracker.roots()
      return roots.length === 0 ? end : Effect.zipRight(Fiber.interruptAll(roots), end)
    })
  }

  /** The build is done: from here on the instance answers, unless it has ended already. */
  up(): void {
    this.tracker.settle()
    this.state = "up"
    this.builder = undefined
    this.slot.up(this)
    if (this.early !== undefined) this.exit(this.early)
  }

  /** Ends the instance with the Exit of what it is there for. */
  exitWith(exit: Exit.Exit<unknown, unknown>): void {
    if (Exit.isSuccess(exit)) this.exit({ exit: "normal", cause: Cause.empty })
    else this.exit({ exit: Cause.isInterruptedOnly(exit.cause) ? "shutdown" : "abnormal", cause: exit.cause })
  }

  /** Whether a call can still get an answer. */
  get dead(): InstanceDied | undefined {
    if (!this.over) return undefined
    this.died ??= new InstanceDied({ path: this.slot.path, instance: this.number })
    return this.died
  }

  /** How many would be told. */
  get waiting(): number {
    return this.inFlight?.size ?? 0
  }

  /** Calls `onDeath` once if the instance dies before the answer of `onDeath`'s owner; the result takes it back. */
  onDeath(onDeath: (died: InstanceDied) => void): () => void {
    const died = this.dead
    if (died !== undefined) {
      onDeath(died)
      return () => {}
    }
    this.inFlight ??= new Set()
    this.inFlight.add(onDeath)
    return () => this.inFlight?.delete(onDeath)
  }

  /** Tells everybody who waits for an answer that there will be none. */
  abandonCalls(): void {
    if (this.over) return
    this.over = true
    const waiting = this.inFlight
    this.inFlight = undefined
    const died = waiting !== undefined && waiting.size > 0 ? this.dead : undefined
    if (waiting !== undefined && died !== undefined) for (const tell of Array.from(waiting)) tell(died)
  }

  /**
   * A linked fiber ended. Ending well is no exit: a helper may be done. Being interrupted by a fiber of the same instance is
   * the service's own doing. Being interrupted by anybody else leaves a service without its worker: an orderly exit.
   */
  private linkedEnded(exit: Exit.Exit<unknown, unknown>): void {
    if (this.state !== "up" || Exit.isSuccess(exit)) return
    const cause = exit.cause
    if (!Cause.isInterruptedOnly(cause)) {
      this.exit({ exit: "abnormal", cause })
    } else if (!HashSet.some(Cause.interruptors(cause), (id) => this.ownsFiber(id))) {
      this.exit({ exit: "shutdown", cause })
    }
  }

  private ownsFiber(id: FiberId.FiberId): boolean {
    return HashSet.some(FiberId.toSet(id), (part) => this.tracker.owns(part))
  }
}

/** The time that a caller waits, in a fiber that is nobody's: one for all its waiting, however often it looks. */
class Timer {
  isOver = false
  /** Told when it is over. */
  onOver: (() => void) | undefined
  private isCancelled = false
  private readonly fiber: Fiber.RuntimeFiber<void>

  constructor(caller: Fiber.RuntimeFiber<unknown, unknown>, sleep: Effect.Effect<void>) {
    const runtime = Runtime.make({
      context: Context.empty(),
      // But for an interruption of the caller, which may wait where it does not hear that: no fiber inherits it.
      fiberRefs: caller.getFiberRefs(),
      runtimeFlags: Runtime.defaultRuntimeFlags
    })
    this.fiber = Runtime.runFork(runtime, sleep, { updateRefs: untrackedRefs })
    this.fiber.addObserver(() => {
      if (this.isCancelled) return
      this.isOver = true
      this.onOver?.()
    })
  }

  cancel(): void {
    this.isCancelled = true
    this.onOver = undefined
    if (!this.isOver) this.fiber.unsafeInterruptAsFork(FiberId.none)
  }
}

/** What a call does while the child is down: fail at once, or wait so many milliseconds. */
export type WhenDown = "fail" | number

export class Slot {
  /** The instance that answers calls; none while down. */
  current: Instance | undefined = undefined
  /** The instance that answered last, for the shape of its services. */
  last: Instance | undefined = undefined
  /** The path has a placeholder at its end, until the first instance is up and says what it provides. */
  provisional = false
  /** Calls of its instances are not ended with them. */
  detached = false
  /** What has to be built or closed before there is a next instance. */
  holder: Holder | undefined = undefined
  /** Set for good when no instance will follow. Made when it is needed: most children of a tree that closes are not called. */
  private gone: (() => SupervisorShutdown | ChildDown) | undefined = undefined
  private waiters: Set<() => void> | undefined

  constructor(
    public path: string,
    readonly whenDown: WhenDown
  ) {}

  up(instance: Instance): void {
    this.current = instance
    this.last = instance
    this.wake()
  }

  /** No instance will follow: calls fail at once from now on. */
  end(error: () => SupervisorShutdown | ChildDown): void {
    this.gone ??= error
    this.current = undefined
    this.wake()
  }

  /** Whether no instance will follow. */
  get isOver(): boolean {
    return this.gone !== undefined
  }

  /** Why no instance will follow, if none will. Made at each reading, when it is needed. */
  get ended(): SupervisorShutdown | ChildDown | undefined {
    return this.gone?.()
  }

  /** What a call that cannot wait fails with, if the child is down. */
  get unavailable(): SupervisorShutdown | ChildDown {
    return this.gone?.() ?? new ChildDown({ path: this.path, waited: 0 })
  }

  /** Calls `listener` once at the next change; the result takes it back. */
  private onChange(listener: () => void): () => void {
    this.waiters ??= new Set()
    this.waiters.add(listener)
    return () => this.waiters?.delete(listener)
  }

  wake(): void {
    const { waiters } = this
    if (waiters === undefined || waiters.size === 0) return
    const waiting = Array.from(waiters)
    waiters.clear()
    for (const tell of waiting) tell()
  }

  /** The current instance, or the next one if that comes up in time. Dies with the reason if not. */
  get awaitUp(): Effect.Effect<Instance> {
    return this.whenUp(Effect.succeed)
  }

  /**
   * Uses the current instance, or the next one if that comes up in time. It is used in the step in which it is looked up: one
   * that comes up and dies before a waiting caller has its turn was never asked, and the caller waits on, for what is left of
   * its time.
   */
  whenUp<A, E, R>(
    use: (instance: Instance, caller: Fiber.RuntimeFiber<unknown, unknown>) => Effect.Effect<A, E, R>,
    deadline?: number
  ): Effect.Effect<A, E, R> {
    // The types of the fiber are those of whoever runs this, and are not looked at.
    return Effect.withFiberRuntime<A, E, R>((fiber) => {
      const caller = fiber as Fiber.RuntimeFiber<unknown, unknown>
      if (this.current !== undefined) return use(this.current, caller)
      if (this.gone !== undefined || this.whenDown === "fail") return Effect.die(this.unavailable)
      const waited = this.whenDown
      const isOpen = (): boolean => this.current === undefined && this.gone === undefined
      let until = deadline
      let timer: Timer | undefined
      let wait: Wait | undefined
      // Inside of what ends it: an interruption may come between any two steps.
      const waiting = Effect.clockWith((clock): Effect.Effect<void> => {
        if (!isOpen()) return Effect.void
        wait = this.holder === undefined ? undefined : Wait.of(caller, this.holder)
        const endless = (): Effect.Effect<never> | undefined => {
          const holding = wait?.look()
          return holding && Effect.die(new ChildDown({ path: this.path, waited: 0, holding: holding.slot.path }))
        }
        const refused = endless()
        if (refused !== undefined) return refused
        wait?.onChange(() => this.wake())
        const now = Number(clock.unsafeCurrentTimeNanos() / 1_000_000n)
        until ??= now + waited
        const bound = new Timer(caller, clock.sleep(Duration.millis(Math.max(0, until - now))))
        timer = bound
        const change = this.until(() => (isOpen() && !bound.isOver ? endless() : Effect.void), bound)
        // One that is down again when this caller has its turn costs no more than another look.
        const settled: Effect.Effect<void> = Effect.flatMap(change, () =>
          isOpen() && !bound.isOver ? settled : Effect.void
        )
        return settled
      })
      const end = Effect.sync(() => {
        timer?.cancel()
        wait?.end()
      })
      return Effect.flatMap(Effect.ensuring(waiting, end), () =>
        timer?.isOver === true && isOpen()
          ? Effect.die(new ChildDown({ path: this.path, waited }))
          : this.whenUp(use, until)
      )
    })
  }

  /**
   * Waits until `look` finds something. Looking and listening are one step: a change between the two would be missed, and the
   * next may never come.
   */
  until<A, E>(look: () => Effect.Effect<A, E> | undefined, timer?: Timer): Effect.Effect<A, E> {
    return Effect.async<A, E>((resume) => {
      let forget: () => void = () => {}
      const attempt = (): void => {
        forget()
        const found = look()
        if (found !== undefined) resume(found)
        else forget = this.onChange(attempt)
      }
      if (timer !== undefined) timer.onOver = attempt
      attempt()
      return Effect.sync(() => forget())
    })
  }
}
