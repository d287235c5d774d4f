/**
 * A supervisor that is a Layer. Its children are the supervised layers (`Supervised.layer`) of the graph it is put around, in
 * the order in which the graph builds them.
 *
 * ```text
 *   Http ──needs──▶ Orders ──needs──▶ Db        three supervised layers, composed as always
 *   SupervisionTree.layer({ name: "app" })      put around the graph
 *
 *   app one_for_one, 0 of 3 restarts in 5 s     what runs
 *   ├─ db up #1
 *   ├─ orders up #1
 *   └─ http up #1
 * ```
 *
 * When a child crashes, the strategy says who is restarted with it, and the intensity how often that may happen. One restart
 * too many and the supervisor gives up: it stops its children in reverse order and ends with `SupervisorShutdown`, which
 * `launch` and `provide` fail with, and which every later call through a handle dies with. A tree inside a supervised layer
 * (a nested tree) ends its child with it, and the outer tree restarts that. One that is built among the children of another tree without
 * a `Supervised.layer` around it ends that tree with it, and trees that are merged end together for whoever runs them.
 *
 * A tree is a Layer, so whatever takes a Layer takes a tree. They differ in who learns of the end of it:
 *
 * | run by | a child crashes | the tree gives up |
 * | --- | --- | --- |
 * | `SupervisionTree.launch(tree)` | it is restarted | it fails with `SupervisorShutdown`; under `runMain` the process exits with 1 |
 * | `program.pipe(SupervisionTree.provide(tree))` | the program goes on | the program is interrupted, and the result is the failure |
 * | `SupervisionTree.runtime(tree)` | runs go on | they are interrupted and fail, and so does every later run |
 * | `Effect.provide`, `ManagedRuntime.make` | the program goes on | the next call through a handle dies with it; one that calls nothing is not told |
 * | `Layer.launch(tree)` | it is restarted | nobody is told but the log, at level fatal: use `launch` |
 *
 * In every case calls in flight die with `InstanceDied`, later ones wait until the child is up, and the log says what happened.
 *
 * Not for work that ends: run that as an ordinary Effect, with the tree provided.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import { millisOf, noDuration } from "../durations.js"
import { follow } from "./drawing.js"
import type { AutoShutdown, Strategy } from "./machine.js"
import type { SupervisionEvent } from "./report.js"
import { CurrentSupervisor, running } from "./runner.js"
import { make, type SupervisedRuntime } from "./SupervisedRuntime.js"
import { ControlError, SupervisorConfigError, SupervisorShutdown } from "./SupervisionError.js"
import { type Settings, Supervisor } from "./supervisor.js"
import { type ChildNode, render, type TreeNode } from "./TreeNode.js"

export {
  /**
   * @since 0.1.0
   * @category models
   */
  type ChildNode,
  /**
   * @since 0.1.0
   * @category errors
   */
  ControlError,
  /**
   * @since 0.1.0
   * @category conversions
   */
  render,
  /**
   * @since 0.1.0
   * @category models
   */
  type SupervisedRuntime,
  /**
   * @since 0.1.0
   * @category models
   */
  type SupervisionEvent,
  /**
   * @since 0.1.0
   * @category errors
   */
  SupervisorConfigError,
  /**
   * @since 0.1.0
   * @category errors
   */
  SupervisorShutdown,
  /**
   * @since 0.1.0
   * @category models
   */
  type TreeNode
}

/**
 * How a supervisor answers crashes.
 *
 * - `name`: the first part of every path; default `"tree"`. A nested tree takes the path of the child it is in.
 * - `strategy`: who is restarted when a child crashes. `"one_for_one"` (default): that child. `"one_for_all"`: every child.
 *   `"rest_for_one"`: that child and those started after it.
 *   `"rest_for_dependents"`: that child and whoever uses its services, directly or through others, also if they were down. Uses
 *   are noticed as they happen, and are remembered for as long as the child is known, since its next instance will use what the
 *   last one has; `dependsOn` of `Supervised.layer` names those that cannot be noticed. If one of them cannot be started again,
 *   only those who use it wait for it. `dependsOn` of a `snapshot` shows what is known.
 * - `intensity`: how many restarts are allowed inside `period`; default 3. With 0 the first crash ends the supervisor.
 * - `period`: default 5 seconds, counted in milliseconds of Effect's Clock; a restart exactly so long ago still counts.
 * - `autoShutdown`: whether the supervisor ends with its significant children; default `"never"`.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  readonly name?: string
  readonly strategy?: Strategy
  readonly intensity?: number
  readonly period?: Duration.DurationInput
  readonly autoShutdown?: AutoShutdown
}

/**
 * A running supervision tree. What can be asked of it are the functions of this module; the service itself is internal.
 *
 * @since 0.1.0
 * @category context
 */
export class SupervisionTree extends Context.Tag("@effecto/core/SupervisionTree")<SupervisionTree, Supervisor>() {}

/**
 * Makes the supervised layers of a graph the children of a supervisor.
 *
 * Children are started one at a time in the order in which the graph builds them, and stopped one at a time in reverse. A
 * child that cannot be built for the first time fails the layer, after those that are up have been stopped: only a child that
 * was up is restarted. A number out of range, or two children of one id, is a `SupervisorConfigError` defect.
 *
 * @example
 * ```ts
 * import { Supervised, SupervisionTree, TestSupervision } from "@effecto/core"
 * import { Context, Effect, Layer, Ref } from "effect"
 *
 * class Counter extends Context.Tag("Counter")<Counter, { readonly next: Effect.Effect<number> }>() {}
 *
 * const CounterLive = Layer.effect(
 *   Counter,
 *   Effect.map(Ref.make(0), (ref) => ({ next: Ref.updateAndGet(ref, (n) => n + 1) }))
 * ).pipe(Supervised.layer({ id: "counter" }), SupervisionTree.layer({ name: "app" }))
 *
 * const program = Effect.gen(function* () {
 *   const counter = yield* Counter
 *   yield* counter.next
 *   yield* TestSupervision.crash("app/counter")
 *   console.log(yield* counter.next) // 1: the same handle, a fresh counter
 *   console.log(SupervisionTree.render(yield* SupervisionTree.snapshot))
 * })
 *
 * Effect.runPromise(program.pipe(SupervisionTree.provide(CounterLive)))
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer =
  (options: Options = {}) =>
  <A, E, R>(children: Layer.Layer<A, E, R>): Layer.Layer<A | SupervisionTree, E, Exclude<R, CurrentSupervisor>> => {
    const supervisor = Layer.scoped(
      CurrentSupervisor,
      Effect.suspend(() => Supervisor.make(settingsOf(options)))
    )
    // Built after the children and so closed before them: from then on they are stopped in exact reverse order, although
    // Layer itself closes merged layers side by side.
    const self = Layer.scoped(
      SupervisionTree,
      Effect.tap(CurrentSupervisor, (tree) => {
        tree.completed()
        return Effect.addFinalizer(() => Effect.sync(() => tree.beginClose()))
      })
    )
    return self.pipe(Layer.provideMerge(children), Layer.provide(supervisor)) as Layer.Layer<
      A | SupervisionTree,
      E,
      Exclude<R, CurrentSupervisor>
    >
  }

// Records, so that none is forgotten.
const strategies: { readonly [_ in Strategy]: true } = {
  one_for_one: true,
  one_for_all: true,
  rest_for_one: true,
  rest_for_dependents: true
}
const autoShutdowns: { readonly [_ in AutoShutdown]: true } = {
  never: true,
  anySignificant: true,
  allSignificant: true
}

const settingsOf = (options: Options): Settings => {
  const {
    autoShutdown = "never",
    intensity = 3,
    name = "tree",
    period = "5 seconds",
    strategy = "one_for_one"
  } = options
  const refuse = (problem: string): never => {
    throw new SupervisorConfigError({ path: name, problem })
  }
  const choose = (option: string, value: string, known: object): void => {
    if (!Object.hasOwn(known, value))
      refuse(`${option} is "${value}"; it has to be one of ${Object.keys(known).join(", ")}`)
  }
  const millis = millisOf(period) ?? refuse(noDuration("period", period))
  choose("strategy", strategy, strategies)
  choose("autoShutdown", autoShutdown, autoShutdowns)
  if (name === "") refuse("the name is empty; it is the first part of every path")
  if (!Number.isInteger(intensity) || intensity < 0)
    refuse(`intensity is ${intensity}; it has to be an integer from 0 up`)
  if (!Number.isFinite(millis) || millis <= 0) refuse(`period is ${millis} ms; it has to be finite and above 0`)
  return { name, strategy, intensity, period: millis, autoShutdown }
}

/**
 * Fails when the tree's supervisor gives up, or ends with its significant children. Until then it waits, and it never succeeds.
 *
 * @since 0.1.0
 * @category operations
 */
export const awaitShutdown: Effect.Effect<never, SupervisorShutdown, SupervisionTree> = Effect.flatMap(
  SupervisionTree,
  (self) => Deferred.await(self.shutdown)
)

/**
 * Runs a tree until it gives up, which is its failure. The Effect to give to `runMain` for a program that is all tree.
 *
 * A graph may hold several trees, or dynamic supervisors, merged or one beneath the other: the first of them that gives up ends
 * all.
 *
 * @since 0.1.0
 * @category running
 */
export const launch = <A, E, R>(
  tree: Layer.Layer<A | SupervisionTree, E, R>
): Effect.Effect<never, E | SupervisorShutdown, R> =>
  // `never` keeps a process alive that has nothing else to wait for.
  running(tree, Effect.never)

/**
 * Runs an Effect with the services of a tree. If the tree gives up, or another one that is built with it, the Effect is interrupted
 * and the result is the failure; so it is if a call of the Effect dies of that first.
 *
 * @since 0.1.0
 * @category running
 */
export const provide =
  <A, E2, R2>(tree: Layer.Layer<A | SupervisionTree, E2, R2>) =>
  <B, E, R>(
    self: Effect.Effect<B, E, R>
  ): Effect.Effect<B, E | E2 | SupervisorShutdown, R2 | Exclude<R, A | SupervisionTree>> =>
    running(tree, self)

/**
 * A runtime for programs that are not Effects themselves: like `ManagedRuntime.make`, but its runs fail when the tree gives up,
 * and a build that failed is tried again by the next run.
 *
 * @example
 * ```ts
 * import { Supervised, SupervisionTree } from "@effecto/core"
 * import { Context, Effect, Layer } from "effect"
 *
 * class Greeter extends Context.Tag("Greeter")<Greeter, { readonly greet: (name: string) => Effect.Effect<string> }>() {}
 *
 * const GreeterLive = Layer.succeed(Greeter, { greet: (name) => Effect.succeed(`Hello, ${name}`) }).pipe(
 *   Supervised.layer({ id: "greeter" }),
 *   SupervisionTree.layer({ name: "app" })
 * )
 *
 * const runtime = SupervisionTree.runtime(GreeterLive)
 *
 * const handler = (name: string): Promise<string> =>
 *   runtime.runPromise(Effect.flatMap(Greeter, (greeter) => greeter.greet(name)))
 *
 * handler("Ada").then(console.log).finally(runtime.dispose) // Hello, Ada
 * ```
 *
 * @since 0.1.0
 * @category running
 */
export const runtime = <A, E>(tree: Layer.Layer<A | SupervisionTree, E>): SupervisedRuntime<A | SupervisionTree, E> =>
  make(tree, ({ context }) =>
    // The type of the tree says that it is in there, but a union is not known to hold it for every A.
    Context.get(context as Context.Context<SupervisionTree>, SupervisionTree)
  )

/**
 * The tree as it is now.
 *
 * @since 0.1.0
 * @category introspection
 */
export const snapshot: Effect.Effect<TreeNode, never, SupervisionTree> = Effect.flatMap(
  SupervisionTree,
  (self) => self.snapshot
)

/**
 * The tree as it is now, and then as it is after each change, in nested trees as well. A subscriber that falls more than 64
 * changes behind loses the oldest ones, and never the last; it does not slow the supervisor down. Each change costs a subscriber
 * a drawing of the whole tree. Ends when the supervisor does, with the tree closed.
 *
 * @since 0.1.0
 * @category introspection
 */
export const changes: Stream.Stream<TreeNode, never, SupervisionTree> = Stream.unwrap(
  Effect.map(SupervisionTree, follow)
)

/**
 * What happens in the tree from now on (not in trees nested in it). A subscriber that falls more than 256 events behind loses
 * the oldest ones; it never slows the supervisor down.
 *
 * @since 0.1.0
 * @category introspection
 */
export const events: Stream.Stream<SupervisionEvent, never, SupervisionTree> = Stream.unwrap(
  Effect.map(SupervisionTree, (self) => Stream.fromPubSub(self.events))
)

const control =
  (operation: ControlError["operation"]) =>
  (path: string): Effect.Effect<void, ControlError, SupervisionTree> =>
    Effect.flatMap(SupervisionTree, (self) => self.control(operation, path))

/**
 * Starts a child that is down. Waits until it is up. It is not counted against the intensity.
 *
 * @since 0.1.0
 * @category administration
 */
export const start: (path: string) => Effect.Effect<void, ControlError, SupervisionTree> = control("start")

/**
 * Stops a child, and keeps it down: only `start`, `restart` or the restart of its group brings it back. A temporary child is
 * forgotten. Also ends the attempts to restart a child that cannot start. Succeeds if it is down already.
 *
 * @since 0.1.0
 * @category administration
 */
export const terminate: (path: string) => Effect.Effect<void, ControlError, SupervisionTree> = control("terminate")

/**
 * Stops a child if it is up, and starts it. Waits until it is up. It is not counted against the intensity, and no other child
 * is restarted with it.
 *
 * @since 0.1.0
 * @category administration
 */
export const restart: (path: string) => Effect.Effect<void, ControlError, SupervisionTree> = control("restart")

/**
 * Forgets a child that is down. Calls through its handles die at once with `ChildDown` from then on.
 *
 * @since 0.1.0
 * @category administration
 */
export const remove: (path: string) => Effect.Effect<void, ControlError, SupervisionTree> = control("remove")
