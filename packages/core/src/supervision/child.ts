/**
 * A child at run time: how an instance of it is built, and how one is closed. Both are bounded, and neither decides anything.
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import * as FiberRef from "effect/FiberRef"
import type * as FiberRefs from "effect/FiberRefs"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Runtime from "effect/Runtime"
import * as Scope from "effect/Scope"
import type { Backoff } from "./backoff.js"
import { Carrier, carrierKey, viewOf } from "./carrier.js"
import { CurrentInstance } from "./currentinstance.js"
import { driven } from "./driving.js"
import * as Handle from "./handle.js"
import { beat, type Heartbeat } from "./heartbeat.js"
import { type Ending, Instance, Slot, type WhenDown } from "./instance.js"
import * as Linking from "./linking.js"
import type { RestartType } from "./machine.js"
import * as Report from "./report.js"

export interface ChildSettings {
  /** Without one, the keys of the services that the layer provides. */
  readonly id: string | undefined
  readonly restart: RestartType
  readonly significant: boolean
  /** Milliseconds. Without one it depends on what the child is. */
  readonly shutdown: number | "brutalKill" | "infinity" | undefined
  /** Milliseconds. */
  readonly startTimeout: number | undefined
  readonly whenDown: WhenDown
  readonly backoff?: Backoff | undefined
  readonly inFlight?: "fail" | "detach" | undefined
  readonly link?: "auto" | "manual" | undefined
  readonly heartbeat?: Heartbeat | undefined
  /** Keys of services whose children this one depends on, whether it is seen to use them or not. */
  readonly dependsOn?: ReadonlyArray<string> | undefined
}

/** Starts a fiber of supervision: interruptible, whatever region the tree was built in, and by default linked to no instance. */
export const fork = <A, E>(
  runtime: Runtime.Runtime<never>,
  effect: Effect.Effect<A, E>,
  updateRefs: NonNullable<Runtime.RunForkOptions["updateRefs"]> = Linking.untrackedRefs,
  context = runtime.context
): Fiber.RuntimeFiber<A, E> =>
  Runtime.runFork(
    Runtime.make({ context, fiberRefs: runtime.fiberRefs, runtimeFlags: Runtime.defaultRuntimeFlags }),
    effect,
    { updateRefs }
  )

export class Child {
  readonly slot: Slot
  /** The instance whose scope is not closed yet. */
  instance: Instance | undefined = undefined
  /** How many instances came up. */
  starts = 0
  orphaned = 0
  /** Number of the last instance that ended by itself. */
  lastExit = 0
  /** Starts that are to fail, with these causes, instead of being tried: for tests. */
  failures: Array<Cause.Cause<unknown>> | undefined = undefined
  /** When the last instance began to stop, in milliseconds of the supervisor's clock. */
  downSince = 0
  /** When it may be started again, in milliseconds of the supervisor's clock. */
  resumeAt = 0
  /** Why the last instance ended, or the last start failed. */
  cause: Cause.Cause<unknown> = Cause.empty
  happened: "crashed" | "ended" | "failed to start" = "ended"
  /** What the first instance that was up has to give, and all later ones. */
  offer: Offer = none
  /**
   * How many requests that make a start pointless are on their way. A build is ended by them, and none is begun, so that a
   * build that hangs cannot keep the supervisor from reading them.
   */
  private unwanted = 0
  private abort: (() => void) | undefined = undefined
  private readonly runtime: Runtime.Runtime<never>
  /** What asks the current instance whether it still answers. */
  private heart: Fiber.RuntimeFiber<void> | undefined = undefined

  constructor(
    public id: string,
    path: string,
    readonly settings: ChildSettings,
    private readonly layer: Layer.Layer<never, unknown, unknown>,
    runtime: Runtime.Runtime<never>,
    /** Told whose services the child uses, if anybody wants to know: then it gets views of those in its context. */
    onRead?: (slot: Slot) => void
  ) {
    this.slot = new Slot(path, settings.whenDown)
    this.slot.detached = settings.inFlight === "detach"
    this.runtime = onRead ? Runtime.make({ ...runtime, context: viewOf(runtime.context, onRead) }) : runtime
  }

  /** No start is wanted until `want` is called as often. */
  unwant(): void {
    this.unwanted++
    this.abort?.()
  }

  /** Makes the build that is under way, if there is one, a failed start. */
  interruptBuild(): void {
    this.abort?.()
  }

  want(): void {
    this.unwanted--
  }

  get isUnwanted(): boolean {
    return this.unwanted > 0
  }

  /** Builds an instance. It is up, and linked to its fibers, when this succeeds; otherwise nothing of it is left. */
  open(
    owner: unknown,
    number: number,
    onUp: (instance: Instance) => void,
    onExit: (instance: Instance, ending: Ending) => void
  ): Effect.Effect<Exit.Exit<Instance, unknown>> {
    const failure = this.failures?.shift()
    if (failure !== undefined) {
      this.cause = failure
      return Effect.succeed(Exit.failCause(failure))
    }
    return Effect.flatMap(Scope.make(), (scope) => {
      const instance = new Instance(owner, this.slot, number, scope, onExit)
      instance.home = Context.add(this.runtime.context, CurrentInstance, instance)
      this.instance = instance
      // A failure is an answer here, and not that of a fiber nobody waits for, which would be logged.
      const build = Effect.exit(Layer.buildWithScope(this.layer, scope))
      // What the layer needs is in the runtime: it was captured where the layer was used.
      const noted = Effect.withFiberRuntime((builder) => {
        // Its types are those of whoever runs it, and are not looked at.
        instance.builder = builder as Fiber.RuntimeFiber<unknown, unknown>
        return driven(build)
      })
      const fiber = this.forkIn(instance, noted as Effect.Effect<Exit.Exit<Context.Context<never>, unknown>>)
      return Effect.flatMap(this.built(fiber), (built): Effect.Effect<Exit.Exit<Instance, unknown>> => {
        const exit = this.offered(built)
        if (Exit.isFailure(exit)) {
          this.cause = exit.cause
          return Effect.as(this.close(instance, exit, fiber), Exit.failCause(exit.cause))
        }
        // One step: an instance that is up is found by calls, and one that ends from now on is noticed.
        instance.context = exit.value
        this.starts++
        onUp(instance)
        instance.up()
        const { heartbeat } = this.settings
        if (heartbeat !== undefined) this.heart = fork(this.runtime, beat(instance, heartbeat))
        return Effect.succeed(Exit.succeed(instance))
      })
    })
  }

  /** Starts a fiber whose forks belong to the instance; it does not belong there itself. */
  private forkIn<A>(instance: Instance, effect: Effect.Effect<A>): Fiber.RuntimeFiber<A> {
    const tracked = (refs: FiberRefs.FiberRefs, id: FiberId.Runtime): FiberRefs.FiberRefs =>
      this.settings.link === "manual" ? Linking.untrackedRefs(refs, id) : instance.tracker.refs(refs, id)
    return fork(this.runtime, effect, tracked, instance.home)
  }

  /** How long an instance may take to stop: a tree inside has children of its own, each with its time. */
  get shutdown(): number | "brutalKill" | "infinity" {
    return this.settings.shutdown ?? ((this.instance ?? this.slot.last)?.isSupervisor === true ? "infinity" : 5000)
  }

  /** The end of a build: its own, or that of our patience. */
  private built<A>(fiber: Fiber.RuntimeFiber<Exit.Exit<A, unknown>>): Effect.Effect<Exit.Exit<A, unknown>> {
    const done = fiber.unsafePoll()
    if (done !== null) return Effect.succeed(Exit.flatten(done))
    const end = Effect.async<Exit.Exit<A, unknown>>((resume) => {
      fiber.addObserver((exit) => resume(Effect.succeed(Exit.flatten(exit))))
      this.abort = () => resume(Effect.succeed(Exit.interrupt(FiberId.none)))
      // Asked for between the fork and here.
      if (this.unwanted > 0) this.abort()
    }).pipe(
      Effect.ensuring(
        Effect.sync(() => {
          this.abort = undefined
        })
      )
    )
    const timeout = this.settings.startTimeout
    return timeout === undefined
      ? end
      : Effect.timeoutTo(end, {
          duration: timeout,
          onSuccess: (exit) => exit,
          onTimeout: () =>
            Exit.die(
              new Cause.TimeoutException(`"${this.slot.path}" did not start within ${timeout} ms (startTimeout)`)
            )
        })
  }

  /**
   * Closes an instance's scope and ends the fibers linked to it, for as long as `shutdown` allows. What takes longer is left
   * to itself and counted as orphaned: JavaScript can stop neither an uninterruptible region nor a finalizer.
   */
  close(
    instance: Instance,
    exit: Exit.Exit<unknown, unknown>,
    build?: Fiber.RuntimeFiber<unknown, unknown>
  ): Effect.Effect<"closed" | "orphaned"> {
    return Effect.suspend(() => {
      if (instance.state !== "exited") instance.state = "stopping"
      instance.isClosing = true
      this.heart?.unsafeInterruptAsFork(FiberId.none)
      this.heart = undefined
      if (this.slot.current === instance) this.slot.current = undefined
      // Its turn may come late, or never if something before it is stuck; until then it would go on restarting.
      for (const tree of instance.nested) tree.beginClose()
      const stop = instance.close(exit)
      // A finalizer runs with the FiberRefs that it was made with: the fewer of them are different here, the less there is to do.
      const closing =
        build === undefined
          ? this.forkIn(instance, driven(stop))
          : fork(this.runtime, driven(Effect.zipRight(Fiber.interrupt(build), stop)))
      return Effect.flatMap(this.closed(closing), (result): Effect.Effect<"closed" | "orphaned"> => {
        instance.isClosing = false
        instance.abandonCalls()
        if (this.instance === instance) this.instance = undefined
        if (Option.isNone(result)) {
          this.orphaned++
          return Effect.succeed("orphaned")
        }
        // The instance is gone all the same: a finalizer that dies keeps the others of its scope from nothing.
        return Exit.isFailure(result.value) && !Cause.isInterruptedOnly(result.value.cause)
          ? Effect.as(Report.stopFailed(this.slot.path, instance.number, result.value.cause), "closed")
          : Effect.succeed("closed")
      })
    })
  }

  private closed(
    closing: Fiber.RuntimeFiber<unknown, unknown>
  ): Effect.Effect<Option.Option<Exit.Exit<unknown, unknown>>> {
    const done = closing.unsafePoll()
    if (done !== null) return Effect.succeed(Option.some(done))
    const { shutdown } = this
    switch (shutdown) {
      case "brutalKill":
        return Effect.succeedNone
      case "infinity":
        return Effect.asSome(Fiber.await(closing))
      default:
        return soon(closing, Effect.timeoutOption(Fiber.await(closing), shutdown))
    }
  }

  /**
   * Makes the handles of the first instance. A service that throws when it is looked at, such as a Proxy that refuses, is a failed
   * start.
   */
  private offered(exit: Exit.Exit<Context.Context<never>, unknown>): Exit.Exit<Context.Context<never>, unknown> {
    if (Exit.isFailure(exit) || this.starts > 0) return exit
    try {
      this.offer = offerOf(this.slot, exit.value)
      return exit
    } catch (defect) {
      return Exit.die(defect)
    }
  }
}

/** What a child gives to others: handles, good for every later instance, and the keys of the services that no handle can carry. */
interface Offer {
  readonly handles: Context.Context<unknown>
  readonly uncarried: ReadonlyArray<string>
}

const none: Offer = { handles: Context.unsafeMake(new Map()), uncarried: [] }

const offerOf = (slot: Slot, context: Context.Context<never>): Offer => {
  const handles = new Map<string, unknown>()
  const uncarried: Array<string> = []
  for (const [key, service] of context.unsafeMap) {
    // Those of a tree inside stand for its services to this instance, and not to others.
    if (service instanceof Carrier) continue
    if (service !== undefined && !Handle.carries(service)) uncarried.push(key)
    const handle = Handle.make(slot, key, service)
    handles.set(key, handle)
    handles.set(carrierKey(key), new Carrier(slot, key, handle, undefined))
  }
  return { handles: Context.unsafeMake(handles), uncarried }
}

/** How many turns of the scheduler to wait for a scope before a timer is started for it. */
const turns = 4

/**
 * The end of a fiber that has next to nothing left to do: to interrupt a worker takes a turn or two. A timer, and a race with it,
 * takes longer than all the rest of a restart. The turns are counted beside the fiber that waits, which is woken once.
 */
const soon = <A, E>(
  closing: Fiber.RuntimeFiber<A, E>,
  orElse: Effect.Effect<Option.Option<Exit.Exit<A, E>>>
): Effect.Effect<Option.Option<Exit.Exit<A, E>>> =>
  Effect.withFiberRuntime<Option.Option<Exit.Exit<A, E>>>((waiter) => {
    const scheduler = waiter.getFiberRef(FiberRef.currentScheduler)
    const priority = waiter.getFiberRef(FiberRef.currentSchedulingPriority)
    return Effect.async((resume) => {
      let left = turns
      closing.addObserver((exit) => {
        left = 0
        resume(Effect.succeedSome(exit))
      })
      const tick = (): void => {
        if (left === 0) return
        left--
        if (left === 0) resume(orElse)
        else scheduler.scheduleTask(tick, priority)
      }
      scheduler.scheduleTask(tick, priority)
    })
  })
