/**
 * A supervisor for children that come and go: one for each connected device, tenant or job. It starts empty, and each child is
 * started with an argument when it is wanted.
 *
 * ```text
 *   Devices.start("d1") ──▶ app/devices/1   an Effect run with "d1", in a scope of its own, its fibers linked
 *   Devices.start("d2") ──▶ app/devices/2
 *   d1 crashes          ──▶ app/devices/1#2 the same Effect, run with "d1" again; whoever holds the child still reaches it
 * ```
 *
 * It is a Layer. Put `Supervised.layer` around it and it is a child of a `SupervisionTree`: its children are seen below it in the
 * tree's picture, and when it gives up the tree restarts it, empty. In a tree's graph without that, its give-up is the end of the
 * tree's run (`SupervisionTree.launch`). Without a tree it stands alone, and `awaitShutdown` tells.
 *
 * Children know nothing of each other, so nothing of one waits for another: they start side by side, a start that hangs holds up
 * nobody, and they are stopped side by side, which takes as long as the slowest and not as long as all of them. There is no
 * strategy to choose and no order, and no child ends the supervisor by ending (OTP's `auto_shutdown` is always `never` here).
 *
 * What OTP calls extra arguments are values that the function `child` closes over. What it calls a task supervisor is one with
 * `restart: "temporary"` and a `task` as its child: to get a result, put a `Deferred` into the argument
 * (`task(({ done, work }) => Effect.intoDeferred(work, done))`); one that waits for nothing leaves it out.
 *
 * Not for children that others depend on by type: those are layers, of a `SupervisionTree`. Not for many short Effects that
 * nobody needs to see or restart: those are `Effect.forEach` or a `FiberSet`.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import { CurrentInstance } from "./currentinstance.js"
import { detach, detachStream } from "./detached.js"
import type { ChildSettings, DynamicChild } from "./dynamicchild.js"
import type { Refusal } from "./dynamicmachine.js"
import { Dynamic, type Settings, terminated } from "./dynamicruntime.js"
import type { RestartType } from "./machine.js"
import type { SupervisionEvent } from "./report.js"
import { CurrentSupervisor } from "./runner.js"
import { ControlError, SupervisorConfigError, type SupervisorShutdown } from "./SupervisionError.js"
import type { TreeNode } from "./TreeNode.js"
import { Wait } from "./waits.js"

/**
 * A child of a dynamic supervisor, for as long as it lives.
 *
 * - `id`: its name, unique among the children that live at one time. `path`: the supervisor's path and the id.
 * - `service`: what the child's Effect answered with, as a handle: it reaches the current instance, stays good when the child is
 *   restarted, waits while it is down and dies with `ChildDown` or `SupervisorShutdown` once it is gone (see `Supervised`).
 *   Throws as long as the child has not come up for the first time, which only a child can see that starts another one twice.
 * - `current`: what the current instance answered with, itself. For shapes that a handle cannot carry, such as a `Queue`.
 *
 * @since 0.1.0
 * @category models
 */
export interface Child<out Handle> {
  readonly id: string
  readonly path: string
  readonly service: Handle
  readonly current: Effect.Effect<Handle>
}

/**
 * How many children there are, as OTP counts them. `specs`: all of them. `active`: those that are up. `supervisors`: those with a
 * tree inside, `workers`: the others, those that are being started or restarted included.
 *
 * @since 0.1.0
 * @category models
 */
export interface Counts {
  readonly specs: number
  readonly active: number
  readonly supervisors: number
  readonly workers: number
}

/**
 * What one child may have for itself, instead of what its supervisor says.
 *
 * @since 0.1.0
 * @category models
 */
export interface StartOptions {
  readonly id?: string
  readonly restart?: RestartType
  readonly shutdown?: Duration.DurationInput | "brutalKill" | "infinity"
  readonly startTimeout?: Duration.DurationInput
}

/**
 * A running dynamic supervisor.
 *
 * - `start` runs the child's Effect with an argument, and answers when it is up. Fails with what that fails with, and then
 *   nothing is kept; with `AlreadyStarted` if a child of this id lives (while that is still starting or stopping, this waits);
 *   with `MaxChildren`; with `Terminated` if it is terminated before it is up; and with `SupervisorShutdown` once the supervisor is
 *   ending. Interrupted while it waits, it leaves no child behind; a fiber that is interrupted in the very step in which its start
 *   succeeds does, so give a child that nobody may forget an `id`, and terminate it by that.
 *   The child does not run in the name of its starter: it has the services, and the fiber-local values, of the layer.
 * - `terminate` stops a child, whatever it is doing, and waits until it is gone. It is no crash, and not counted.
 * - `find` answers with the child of an id, `children` with all, in no particular order. Those that are being restarted are
 *   included, those that have not come up yet are not.
 * - `count`: see `Counts`.
 * - `awaitShutdown` fails when the supervisor gives up. Until then it waits, and it never succeeds; when the supervisor is closed
 *   instead, it is interrupted.
 * - `events`: what happens to the children from now on; ends with the supervisor. A subscriber that falls more than 256 events behind loses the oldest.
 * - `snapshot`: the supervisor as it is now, for `SupervisionTree.render`. Of many children the first twenty are in it, and how
 *   many there are besides.
 *
 * @since 0.1.0
 * @category models
 */
export interface DynamicSupervisor<in Arg, out Handle, out E = never> {
  readonly start: (
    arg: Arg,
    options?: StartOptions
  ) => Effect.Effect<Child<Handle>, E | AlreadyStarted<Handle> | MaxChildren | Terminated | SupervisorShutdown>
  readonly terminate: (child: Child<unknown> | string) => Effect.Effect<void, NotFound>
  readonly find: (id: string) => Effect.Effect<Option.Option<Child<Handle>>>
  readonly children: Effect.Effect<ReadonlyArray<Child<Handle>>>
  readonly count: Effect.Effect<Counts>
  readonly awaitShutdown: Effect.Effect<never, SupervisorShutdown>
  readonly events: Stream.Stream<SupervisionEvent>
  readonly snapshot: Effect.Effect<TreeNode>
}

/**
 * How a dynamic supervisor starts, stops and restarts its children.
 *
 * - `child`: the Effect that is a child's build, for the argument that it is started with. What it answers with is the child's
 *   service; what it forks is part of the child; what it acquires in its Scope lives as long as the instance. For a Layer:
 *   `Effect.map(Layer.build(DeviceLive(arg)), Context.get(Device))`. Failing with `Ignored` says there is nothing to start.
 * - `id`: the id for an argument; default: `"1"`, `"2"` and so on. With one, there is at most one child for each.
 * - `name`: the path of one that stands alone; default: the key of its tag. In a tree it is that of the child it is.
 * - `restart`: as of `Supervised.layer`, default `"permanent"` as in OTP. A child that is not restarted is forgotten.
 *   `"temporary"` is for those that nobody restarts; their argument is kept no longer than their first start takes.
 * - `shutdown`: how long a child's scope may take to close; default 5 seconds, for a child with a tree inside as long as it takes.
 * - `startTimeout`: how long a build may take before it counts as failed; default: as long as it takes.
 * - `whenDown`: what calls of a child's `service` do while it is being restarted; default: wait up to 5 seconds.
 * - `maxChildren`: how many may be there, those that are being started, restarted or stopped included; default: any number.
 * - `intensity`, `period`: how many restarts are allowed in how long, over all children; default 3 in 5 seconds. One more and the
 *   supervisor gives up. A start that fails while restarting is tried again without delay, and counts again.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options<in Arg, out Handle, out E, out R> {
  readonly child: (arg: Arg) => Effect.Effect<Handle, E, R>
  readonly id?: (arg: Arg) => string
  readonly name?: string
  readonly restart?: RestartType
  readonly shutdown?: Duration.DurationInput | "brutalKill" | "infinity"
  readonly startTimeout?: Duration.DurationInput
  readonly whenDown?: "fail" | { readonly await: Duration.DurationInput }
  readonly maxChildren?: number
  readonly intensity?: number
  readonly period?: Duration.DurationInput
}

/**
 * The failure of a start when a child of the same id lives. `child` is that one.
 *
 * @since 0.1.0
 * @category errors
 */
export class AlreadyStarted<out Handle> extends Data.TaggedError("AlreadyStarted")<{
  readonly path: string
  readonly child: Child<unknown>
}> {
  declare readonly child: Child<Handle>
  override get message(): string {
    return `a child "${this.path}" is already there: use it (field "child"), terminate it first, or start another one under another id`
  }
}

/**
 * The failure of a start when there are as many children as there may be.
 *
 * @since 0.1.0
 * @category errors
 */
export class MaxChildren extends Data.TaggedError("MaxChildren")<{
  readonly path: string
  readonly maxChildren: number
}> {
  override get message(): string {
    return `"${this.path}" has ${this.maxChildren} children, as many as it may have (option maxChildren); terminate one first`
  }
}

/**
 * The failure of a start when somebody else terminated the child before it was up.
 *
 * @since 0.1.0
 * @category errors
 */
export class Terminated extends Data.TaggedError("Terminated")<{ readonly path: string }> {
  override get message(): string {
    return `the child "${this.path}" was terminated before it was up; start it again if it is still wanted`
  }
}

/**
 * The failure of `terminate` when the child is not, or no longer, one of this supervisor.
 *
 * @since 0.1.0
 * @category errors
 */
export class NotFound extends Data.TaggedError("NotFound")<{
  readonly path: string
  readonly id: string
}> {
  override get message(): string {
    return `"${this.path}" has no child "${this.id}": it has ended, or was never there`
  }
}

/**
 * What a child's Effect fails with to say that there is nothing to start: OTP's `ignore`. The start fails with it, and at a restart
 * the child is forgotten. Neither is counted.
 *
 * @since 0.1.0
 * @category errors
 */
export class Ignored extends Data.TaggedError("Ignored")<{ readonly reason?: string }> {
  override get message(): string {
    return `the child declined to start${this.reason === undefined ? "" : `: ${this.reason}`}`
  }
}

/**
 * What a dynamic supervisor requires: what its child does, but for the Scope, which each instance has of its own. If that is
 * `CurrentSupervisor`, nobody can provide it: there is a supervised layer inside the child, which would register with a tree outside
 * at every start. Put a `SupervisionTree.layer` around it.
 *
 * @since 0.1.0
 * @category models
 */
export type Requirements<R> =
  | Exclude<R, Scope.Scope | CurrentSupervisor>
  | (CurrentSupervisor extends R
      ? { readonly "a supervised layer in a child needs a SupervisionTree.layer around it": never }
      : never)

/**
 * Makes a dynamic supervisor and provides it under a tag.
 *
 * A number out of range is a `SupervisorConfigError` defect.
 *
 * @example
 * ```ts
 * import { DynamicSupervisor, Supervised, SupervisionTree } from "@effecto/core"
 * import { Context, Effect, Ref } from "effect"
 *
 * interface Device {
 *   readonly read: Effect.Effect<string>
 * }
 *
 * class Devices extends Context.Tag("Devices")<Devices, DynamicSupervisor.DynamicSupervisor<string, Device>>() {}
 *
 * // One child for each connected device: its connection, and a worker that polls it.
 * const DevicesLive = DynamicSupervisor.layer(Devices, {
 *   child: (serial) =>
 *     Effect.gen(function* () {
 *       const degrees = yield* Ref.make(20)
 *       yield* Ref.update(degrees, (n) => n + 1).pipe(Effect.delay("1 minute"), Effect.forever, Effect.forkScoped)
 *       return { read: Effect.map(Ref.get(degrees), (n) => `${serial} is ${n} °C`) }
 *     }),
 *   id: (serial) => serial,
 *   restart: "transient"
 * })
 *
 * const AppLive = DevicesLive.pipe(Supervised.layer({ id: "devices" }), SupervisionTree.layer({ name: "app" }))
 *
 * const program = Effect.gen(function* () {
 *   const devices = yield* Devices
 *   const kitchen = yield* devices.start("kitchen")
 *   yield* devices.start("cellar")
 *   console.log(yield* kitchen.service.read) // kitchen is 20 °C
 *   const again = yield* devices.start("kitchen").pipe(Effect.catchTag("AlreadyStarted", ({ child }) => Effect.succeed(child)))
 *   console.log(again.path) // app/devices/kitchen
 *   yield* devices.terminate("cellar")
 *   console.log((yield* devices.count).active) // 1
 * })
 *
 * Effect.runPromise(program.pipe(SupervisionTree.provide(AppLive)))
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = <I, Arg, Handle, E, R>(
  tag: Context.Tag<I, DynamicSupervisor<Arg, Handle, E>>,
  options: Options<NoInfer<Arg>, NoInfer<Handle>, NoInfer<E>, R>
): Layer.Layer<I, never, Requirements<R>> => Layer.scoped(tag, make<Arg, Handle, E, R>({ name: tag.key, ...options }))

/**
 * Makes a dynamic supervisor that lives as long as the Scope: when that closes, its children are stopped.
 *
 * @example
 * ```ts
 * import { DynamicSupervisor } from "@effecto/core"
 * import { Deferred, Effect } from "effect"
 *
 * const program = Effect.gen(function* () {
 *   const jobs = yield* DynamicSupervisor.make({
 *     name: "jobs",
 *     child: DynamicSupervisor.task((job: { readonly n: number; readonly done: Deferred.Deferred<number> }) =>
 *       Effect.intoDeferred(Effect.succeed(job.n * 2), job.done)
 *     ),
 *     restart: "temporary",
 *     maxChildren: 100
 *   })
 *   const done = yield* Deferred.make<number>()
 *   yield* jobs.start({ n: 21, done })
 *   console.log(yield* Deferred.await(done)) // 42
 * })
 *
 * Effect.runPromise(Effect.scoped(program))
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = <Arg, Handle, E, R>(
  options: Options<Arg, Handle, E, R>
): Effect.Effect<DynamicSupervisor<Arg, Handle, E>, never, Requirements<R> | Scope.Scope> =>
  Effect.suspend(() => {
    const { overrides, settings } = settingsOf(options)
    const dynamic = Dynamic.make<Arg, Requirements<R>>(settings, (context) =>
      // Not for the children's own layers: a supervised layer inside a child would register again at every start.
      Context.omit(CurrentSupervisor)(context as Context.Context<CurrentSupervisor>)
    )
    // What was built with these options answers with a `Handle`, and fails with an `E`.
    return Effect.map(dynamic, (self) => serviceOf<Arg, Handle, E>(self, options.id, overrides))
  })

/**
 * Makes a child of an Effect: what that ends with is the child's exit. For an Effect that succeeds, fails, or is to be run again and
 * again, where others are there to be called. It is started in a fiber, so that a start does not wait for its end.
 *
 * @since 0.1.0
 * @category constructors
 */
export const task =
  <Arg, A, E, R>(run: (arg: Arg) => Effect.Effect<A, E, R>) =>
  (arg: Arg): Effect.Effect<void, never, R | Scope.Scope> =>
    Effect.flatMap(CurrentInstance, (instance) =>
      Effect.asVoid(
        Effect.forkScoped(
          Effect.onExit(
            Effect.suspend(() => run(arg)),
            (exit) => Effect.sync(() => instance?.exitWith(exit))
          )
        )
      )
    )

type Starting<Handle, E> = Effect.Effect<
  Child<Handle>,
  E | AlreadyStarted<Handle> | MaxChildren | Terminated | SupervisorShutdown
>

const serviceOf = <Arg, Handle, E>(
  self: Dynamic<Arg>,
  idOf: ((arg: Arg) => string) | undefined,
  overrides: (options: StartOptions) => ChildSettings
): DynamicSupervisor<Arg, Handle, E> => {
  // The children of this supervisor were made by its `child`, so their services and failures are of its types.
  const typed = (child: DynamicChild): Child<Handle> => child as DynamicChild<Handle>
  const failureOf = (child: DynamicChild): Cause.Cause<E> => child.cause as Cause.Cause<E>

  /** In one step, and then waiting for what was begun. */
  const start = (
    arg: Arg,
    options: StartOptions | undefined,
    caller: Fiber.RuntimeFiber<unknown, unknown>,
    restore: <A, X>(effect: Effect.Effect<A, X>) => Effect.Effect<A, X>
  ): Starting<Handle, E> => {
    const id = options?.id ?? idOf?.(arg)
    if (id === "") refuse(self.path, "the id of a child is empty; it is a part of its path")
    // Noted before there is a build, which may be the one to find out that each of the two waits for the other.
    let wait: Wait | undefined
    const child = self.begin(id, arg, options === undefined ? undefined : overrides(options), (made) => {
      wait = Wait.of(caller, made)
      wait?.look()
    })

    const refused = (refusal: Refusal, other: DynamicChild | undefined): Starting<Handle, E> => {
      if (refusal === "max children") {
        return Effect.fail(new MaxChildren({ path: self.path, maxChildren: self.settings.maxChildren }))
      }
      if (refusal === "closed" || other === undefined) return Effect.fail(self.ended)
      const already = Effect.fail(new AlreadyStarted<Handle>({ path: other.path, child: other }))
      if (refusal === "already started") return already
      const turn = Wait.of(caller, other)
      if (turn?.look() !== undefined) {
        // It could only wait for itself, round some corner. What is going is no answer; what is coming is.
        return other.status === "stopping"
          ? Effect.die(
              new ControlError({ path: other.path, operation: "start", reason: "would deadlock", cause: Cause.empty })
            )
          : already
      }
      const decided = other.slot.until((): Effect.Effect<Starting<Handle, E>> | undefined => {
        if (other.status === "gone") return Effect.succeed(Effect.suspend(() => start(arg, options, caller, restore)))
        return other.starts > 0 && other.status !== "stopping" ? Effect.succeed(already) : undefined
      })
      return Effect.flatten(
        Effect.ensuring(
          restore(decided),
          Effect.sync(() => turn?.end())
        )
      )
    }
    const outcome = (): Starting<Handle, E> | undefined => {
      if (child.refused !== undefined) return refused(child.refused.refusal, child.refused.other)
      if (child.starts > 0 && !self.isOver) return Effect.succeed(typed(child))
      if (child.status !== "gone" && !self.isOver) return undefined
      if (self.machine.closed) return Effect.fail(self.ended)
      return child.cause === terminated
        ? Effect.fail(new Terminated({ path: child.path }))
        : Effect.failCause(failureOf(child))
    }
    const known = outcome()
    if (known !== undefined) {
      wait?.end()
      return known
    }
    const settled = child.slot.until(() => {
      const found = outcome()
      return found === undefined ? undefined : Effect.succeed(found)
    })
    const answer = Effect.onInterrupt(restore(settled), () => stop(child))
    return Effect.flatten(
      wait === undefined
        ? answer
        : Effect.ensuring(
            answer,
            Effect.sync(() => wait?.end())
          )
    )
  }

  const stop = (child: DynamicChild): Effect.Effect<void> =>
    Effect.suspend(() => {
      self.terminate(child)
      return child.slot.until(() => (child.status === "gone" ? Effect.void : undefined))
    })

  // Detached: what is still waited for when the supervisor ends is answered here, with why. A guard of the tree that it is in would
  // be the first to answer, and an interrupted start could not take back what it has begun in a fiber of the guard's.
  return {
    start: (arg, options) =>
      detach(
        Effect.withFiberRuntime<
          Child<Handle>,
          E | AlreadyStarted<Handle> | MaxChildren | Terminated | SupervisorShutdown
        >((caller) =>
          Effect.uninterruptibleMask((restore) =>
            // Its types are those of whoever runs it, and are not looked at.
            start(arg, options, caller as Fiber.RuntimeFiber<unknown, unknown>, restore)
          )
        )
      ),
    terminate: (target) =>
      detach(
        Effect.flatMap(CurrentInstance, (caller) => {
          const id = typeof target === "string" ? target : target.id
          const child = self.children.get(id)
          if (child === undefined || (typeof target !== "string" && target !== child)) {
            return Effect.fail(new NotFound({ path: self.path, id }))
          }
          // A finalizer that waits for the end of what it belongs to would wait for itself.
          if (caller !== undefined && caller === child.instance && caller.state !== "up") {
            return Effect.sync(() => self.terminate(child))
          }
          return stop(child)
        })
      ),
    find: (id) =>
      Effect.sync(() => Option.map(Option.filter(Option.fromNullable(self.children.get(id)), isLiving), typed)),
    children: Effect.sync(() => Array.from(self.children.values()).filter(isLiving).map(typed)),
    count: Effect.sync(() => {
      let [active, supervisors] = [0, 0]
      for (const child of self.children.values()) {
        if (child.status === "up") active++
        if (child.isSupervisor) supervisors++
      }
      const specs = self.children.size
      return { specs, active, supervisors, workers: specs - supervisors }
    }),
    awaitShutdown: detach(self.awaitShutdown),
    events: detachStream(self.emitted),
    snapshot: self.snapshot
  }
}

/** Has come up, and is to stay. */
const isLiving = (child: DynamicChild): boolean => child.starts > 0 && child.status !== "stopping"

const refuse = (path: string, problem: string): never => {
  throw new SupervisorConfigError({ path, problem })
}

const restartTypes: { readonly [_ in RestartType]: true } = { permanent: true, transient: true, temporary: true }

/** Of a static supervisor and its children, and without a meaning here. */
const foreign = ["strategy", "autoShutdown", "significant"]

const settingsOf = <Arg, Handle, E, R>(options: Options<Arg, Handle, E, R>) => {
  const {
    child,
    intensity = 3,
    maxChildren = Number.POSITIVE_INFINITY,
    name = "dynamic",
    period = "5 seconds",
    restart = "permanent",
    shutdown,
    startTimeout,
    whenDown
  } = options
  const bad = (problem: string): never => refuse(name, problem)
  const millis = (option: string, input: Duration.DurationInput): number => {
    const value = Duration.toMillis(input)
    return Number.isFinite(value) ? value : bad(`${option} is not a finite duration`)
  }
  for (const option of foreign) {
    if (option in options)
      bad(`there is no option ${option}: a dynamic supervisor is one_for_one, and does not end with its children`)
  }
  if (name === "") bad("the name is empty; it is the first part of every path")
  if (!Number.isInteger(intensity) || intensity < 0) bad(`intensity is ${intensity}; it has to be an integer from 0 up`)
  if (maxChildren !== Number.POSITIVE_INFINITY && (!Number.isInteger(maxChildren) || maxChildren < 0)) {
    bad(`maxChildren is ${maxChildren}; it has to be an integer from 0 up, or Infinity`)
  }
  const periodMillis = millis("period", period)
  if (periodMillis <= 0) bad(`period is ${periodMillis} ms; it has to be above 0`)

  const whenDownMillis = whenDown === "fail" ? "fail" : millis("whenDown", whenDown?.await ?? "5 seconds")
  const childSettings = (own: StartOptions): ChildSettings => {
    const type = own.restart ?? restart
    const stop = own.shutdown ?? shutdown
    const timeout = own.startTimeout ?? startTimeout
    if (!Object.hasOwn(restartTypes, type)) {
      bad(`restart is "${type}"; it has to be one of ${Object.keys(restartTypes).join(", ")}`)
    }
    return {
      restart: type,
      shutdown:
        stop === undefined || stop === "brutalKill" || stop === "infinity"
          ? stop
          : Duration.toMillis(stop) === Number.POSITIVE_INFINITY
            ? "infinity"
            : millis("shutdown", stop),
      startTimeout: timeout === undefined ? undefined : millis("startTimeout", timeout),
      whenDown: whenDownMillis
    }
  }
  const defaults = childSettings({})
  const settings: Settings<Arg> = {
    name,
    child,
    defaults,
    isIgnored: (failure) => failure instanceof Ignored,
    intensity,
    period: periodMillis,
    maxChildren
  }
  const overrides = (own: StartOptions): ChildSettings =>
    own.restart === undefined && own.shutdown === undefined && own.startTimeout === undefined
      ? defaults
      : childSettings(own)
  return { settings, overrides }
}
