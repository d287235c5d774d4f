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
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import { CurrentInstance } from "./currentinstance.js"
import type { AlreadyStarted, MaxChildren, NotFound, Terminated } from "./dynamicerror.js"
import { settingsOf } from "./dynamicoptions.js"
import { Dynamic } from "./dynamicruntime.js"
import { serviceOf } from "./dynamicservice.js"
import type { RestartType } from "./machine.js"
import type { SupervisionEvent } from "./report.js"
import { CurrentSupervisor } from "./runner.js"
import type { SupervisorShutdown } from "./SupervisionError.js"
import type { TreeNode } from "./TreeNode.js"

export { AlreadyStarted, Ignored, MaxChildren, NotFound, Terminated } from "./dynamicerror.js"

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
