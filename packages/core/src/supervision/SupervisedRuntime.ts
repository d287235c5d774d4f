/**
 * A runtime around a tree: what connects a program that is not written with Effect (a handler of a web framework, a test of
 * another library) to services of a supervision tree.
 *
 * ```text
 *   idle ──first run──▶ building ──▶ up ──give-up──▶ ended        ended: every run fails with SupervisorShutdown
 *    ▲                     │         │
 *    └───────failed────────┘         └───dispose───▶ ended
 * ```
 *
 * Each run is a fiber that knows nothing of the others. Nothing is raced: the end of the tree interrupts those that run, and
 * each of them answers for itself with why.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import * as FiberRef from "effect/FiberRef"
import * as FiberRefs from "effect/FiberRefs"
import * as Layer from "effect/Layer"
import * as Runtime from "effect/Runtime"
import * as RuntimeFlags from "effect/RuntimeFlags"
import * as Scheduler from "effect/Scheduler"
import * as Scope from "effect/Scope"
import { telling } from "./runner.js"
import { SupervisorShutdown } from "./SupervisionError.js"
import type { Supervisor } from "./supervisor.js"

/**
 * Runs Effects with the services of a supervision tree. It has what a `ManagedRuntime` has, and says when the tree has ended.
 *
 * - The tree is built by the first run, for all of them. A build that fails is that run's failure, and the next one tries again.
 * - When the tree gives up, whatever runs is interrupted and fails with `SupervisorShutdown`, and so does every later run.
 * - `dispose` ends what runs, with `SupervisorShutdown`, waits for that up to 5 seconds, and closes the tree. It can be called
 *   any number of times, and is done when the tree is closed. Runs after it fail at once. A build under way is interrupted
 *   first, and waited for: one that cannot be interrupted holds `dispose` up. A run may dispose of its own runtime, and ends with
 *   that; from a region that cannot be interrupted it only holds itself up, for those 5 seconds.
 *
 * @since 0.1.0
 * @category models
 */
export interface SupervisedRuntime<in R, out E> {
  readonly runFork: <A, E2>(
    effect: Effect.Effect<A, E2, R>,
    options?: Runtime.RunForkOptions
  ) => Fiber.RuntimeFiber<A, E | E2 | SupervisorShutdown>
  readonly runPromise: <A, E2>(
    effect: Effect.Effect<A, E2, R>,
    options?: { readonly signal?: AbortSignal }
  ) => Promise<A>
  readonly runPromiseExit: <A, E2>(
    effect: Effect.Effect<A, E2, R>,
    options?: { readonly signal?: AbortSignal }
  ) => Promise<Exit.Exit<A, E | E2 | SupervisorShutdown>>
  readonly runSync: <A, E2>(effect: Effect.Effect<A, E2, R>) => A
  readonly runSyncExit: <A, E2>(effect: Effect.Effect<A, E2, R>) => Exit.Exit<A, E | E2 | SupervisorShutdown>
  readonly runCallback: <A, E2>(
    effect: Effect.Effect<A, E2, R>,
    options?: Runtime.RunCallbackOptions<A, E | E2 | SupervisorShutdown>
  ) => Runtime.Cancel<A, E | E2 | SupervisorShutdown>
  /** Builds the tree, if that is not done yet: to find out at once whether it can be built. */
  readonly ready: Effect.Effect<void, E | SupervisorShutdown>
  readonly dispose: () => Promise<void>
  readonly disposeEffect: Effect.Effect<void>
}

interface Building<R, E> {
  readonly _tag: "Building"
  readonly fiber: Fiber.RuntimeFiber<Runtime.Runtime<R>, E>
  /** A part that was complete has ended before the whole was. */
  gaveUp: SupervisorShutdown | undefined
}

type State<R, E> =
  | { readonly _tag: "Idle" }
  | Building<R, E>
  | { readonly _tag: "Up"; readonly runtime: Runtime.Runtime<R> }
  | { readonly _tag: "Ended"; readonly error: SupervisorShutdown }

/**
 * Not interruptible at the outside, so that a fiber which was interrupted inside can still say why; what it runs is
 * interruptible as ever.
 */
const unending = <R>(runtime: Runtime.Runtime<R>): Runtime.Runtime<R> =>
  Runtime.make({
    ...runtime,
    runtimeFlags: RuntimeFlags.disable(Runtime.defaultRuntimeFlags, RuntimeFlags.Interruption)
  })

const outside = unending(Runtime.defaultRuntime)

class Impl<R, E> implements SupervisedRuntime<R, E> {
  private state: State<R, E> = { _tag: "Idle" }
  private readonly running = new Set<Fiber.RuntimeFiber<unknown, unknown>>()
  private readonly disposed = Deferred.unsafeMake<void>(FiberId.none)
  private disposing = false
  private scope: Scope.CloseableScope | undefined
  private path = "(not built yet)"

  constructor(
    private readonly tree: Layer.Layer<R, E>,
    private readonly supervisorOf: (runtime: Runtime.Runtime<R>) => Supervisor
  ) {}

  readonly runFork: SupervisedRuntime<R, E>["runFork"] = (effect, options) =>
    Runtime.runFork(outside, this.run(effect), options)

  readonly runPromise: SupervisedRuntime<R, E>["runPromise"] = (effect, options) =>
    Runtime.runPromise(outside, this.run(effect), options)

  readonly runPromiseExit: SupervisedRuntime<R, E>["runPromiseExit"] = (effect, options) =>
    Runtime.runPromiseExit(outside, this.run(effect), options)

  readonly runSync: SupervisedRuntime<R, E>["runSync"] = (effect) => Runtime.runSync(outside, this.run(effect))

  readonly runSyncExit: SupervisedRuntime<R, E>["runSyncExit"] = (effect) =>
    Runtime.runSyncExit(outside, this.run(effect))

  readonly runCallback: SupervisedRuntime<R, E>["runCallback"] = (effect, options) =>
    Runtime.runCallback(outside)(this.run(effect), options)

  readonly ready: SupervisedRuntime<R, E>["ready"] = Effect.asVoid(Effect.suspend(() => this.built()))

  readonly disposeEffect: Effect.Effect<void> = Effect.suspend(() => {
    if (!this.disposing) {
      this.disposing = true
      Effect.runFork(Effect.intoDeferred(this.close(), this.disposed))
    }
    return Deferred.await(this.disposed)
  })

  readonly dispose = (): Promise<void> => Effect.runPromise(this.disposeEffect)

  private run<A, E2>(effect: Effect.Effect<A, E2, R>): Effect.Effect<A, E | E2 | SupervisorShutdown> {
    return Effect.withFiberRuntime<A, E | E2 | SupervisorShutdown>((fiber) => {
      this.running.add(fiber)
      const work = Effect.flatMap(this.built(), (runtime) => Effect.provide(effect, runtime))
      return Effect.matchCauseEffect(Effect.interruptible(work), {
        onSuccess: (value) => {
          this.running.delete(fiber)
          return Effect.succeed(value)
        },
        onFailure: (cause) => {
          this.running.delete(fiber)
          const { state } = this
          return state._tag === "Ended" && endedBy(cause) ? Effect.fail(state.error) : Effect.failCause(cause)
        }
      })
    })
  }

  /** The runtime of the tree, which is built if nobody has asked for it before. */
  private built(): Effect.Effect<Runtime.Runtime<R>, E | SupervisorShutdown> {
    const { state } = this
    switch (state._tag) {
      case "Ended":
        return Effect.fail(state.error)
      case "Up":
        return Effect.succeed(state.runtime)
      case "Building":
        return this.awaited(state)
      case "Idle":
        return this.awaited(this.build())
    }
  }

  private awaited(building: Building<R, E>): Effect.Effect<Runtime.Runtime<R>, E | SupervisorShutdown> {
    return Effect.flatMap(
      Fiber.await(building.fiber),
      (exit): Effect.Effect<Runtime.Runtime<R>, E | SupervisorShutdown> => {
        const { state } = this
        if (state._tag === "Ended") return Effect.fail(state.error)
        if (building.gaveUp !== undefined) return Effect.fail(building.gaveUp)
        return state._tag === "Up" ? Effect.succeed(state.runtime) : exit
      }
    )
  }

  private build(): Building<R, E> {
    const scope = Effect.runSync(Scope.make())
    this.scope = scope
    const { built, layer } = telling(this.tree, (error) => this.gaveUp(error))
    const build = Layer.toRuntime(layer).pipe(
      Scope.extend(scope),
      Effect.zipLeft(built),
      Effect.tap((runtime) => Effect.sync(() => this.isUp(runtime))),
      Effect.onError((cause) =>
        Effect.ensuring(
          Scope.close(scope, Exit.failCause(cause)),
          Effect.sync(() => {
            // Nothing of it is left, so that the next run may try again.
            if (this.state._tag === "Building") this.state = { _tag: "Idle" }
          })
        )
      )
    )
    // For a build that needs no waiting nobody has to wait: `runSync` may be the first.
    const scheduler = new Scheduler.SyncScheduler()
    const fiber = Effect.runFork(build, { scheduler })
    const building: Building<R, E> = { _tag: "Building", fiber, gaveUp: undefined }
    this.state = building
    scheduler.flush()
    return building
  }

  /** A supervisor of the graph has given up. While that is built, it is the build which fails. */
  private gaveUp(error: SupervisorShutdown): void {
    const { state } = this
    if (state._tag === "Building") {
      state.gaveUp ??= error
      state.fiber.unsafeInterruptAsFork(FiberId.none)
    } else this.end(error)
  }

  private isUp(runtime: Runtime.Runtime<R>): void {
    if (this.state._tag === "Ended") return
    const supervisor = this.supervisorOf(runtime)
    this.path = supervisor.path
    // The scheduler is the one of each run, and not that of the build: `runSync` has its own.
    const fiberRefs = FiberRefs.delete(runtime.fiberRefs, FiberRef.currentScheduler)
    this.state = { _tag: "Up", runtime: Runtime.make({ ...runtime, fiberRefs }) }
    supervisor.onFinish((error) => this.end(error))
  }

  /** Nothing runs any more from now on. */
  private end(error: SupervisorShutdown): void {
    if (this.state._tag === "Ended") return
    this.state = { _tag: "Ended", error }
    for (const fiber of this.running) fiber.unsafeInterruptAsFork(FiberId.none)
  }

  private close(): Effect.Effect<void> {
    return Effect.suspend(() => {
      const building = this.state._tag === "Building" ? this.state.fiber : undefined
      const { path } = this
      this.end(new SupervisorShutdown({ path, childId: undefined, reason: "closed", restarts: 0, cause: Cause.empty }))
      const runs = Array.from(this.running)
      return Effect.zipRight(building === undefined ? Effect.void : Fiber.interrupt(building), patiently(runs)).pipe(
        // What a run does at its end may need the services; what never ends must not keep them.
        Effect.zipRight(
          Effect.suspend(() => (this.scope === undefined ? Effect.void : Scope.close(this.scope, Exit.void)))
        )
      )
    })
  }
}

const patiently = (runs: ReadonlyArray<Fiber.RuntimeFiber<unknown, unknown>>): Effect.Effect<void> =>
  runs.length === 0
    ? Effect.void
    : Effect.asVoid(Effect.timeoutOption(Effect.disconnect(Effect.forEach(runs, Fiber.await)), "5 seconds"))

/** Whether a failure may be due to the end of the tree: an interruption, or a call that found it had ended. */
const endedBy = (cause: Cause.Cause<unknown>): boolean =>
  Cause.isInterrupted(cause) || Array.from(Cause.defects(cause)).some((defect) => defect instanceof SupervisorShutdown)

/** `supervisorOf` finds the tree's supervisor among its services. */
export const make = <R, E>(
  tree: Layer.Layer<R, E>,
  supervisorOf: (runtime: Runtime.Runtime<R>) => Supervisor
): SupervisedRuntime<R, E> => new Impl(tree, supervisorOf)
