/**
 * Children of a supervision tree. A child is a Layer: `Supervised.layer` makes one of any layer, and the services it provides
 * keep their types. What others get are *handles*, which reach the current instance and stay valid across restarts.
 *
 * An instance is one build of the layer: a scope of its own, nothing memoised from the one before. The fibers that outlive the
 * build are part of it, whoever forked them and how. If one of them fails, the instance has crashed: calls waiting for it die
 * with `InstanceDied`, its scope is closed, and the supervisor decides what is started again. A forked helper that ends well is
 * no exit.
 *
 * What a handle answers with is guarded: Effects, Streams, and functions that return them. An object that a method returns is
 * not; it belongs to its instance. While the child is down an Effect waits, but a function that returns a plain value has to
 * throw, and one that was never called before cannot know which of them it is: test the answer of its Effect, not the result.
 *
 * Not for values that should survive a restart: those belong in a layer that is not supervised, or in a child of their own.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import { checked } from "../durations.js"
import { carrierOf } from "./carrier.js"
import type { ChildSettings } from "./child.js"
import { CurrentInstance } from "./currentinstance.js"
import * as Linking from "./linking.js"
import type { RestartType } from "./machine.js"
import { register } from "./registration.js"
import { CurrentSupervisor } from "./runner.js"
import { ChildDown, HeartbeatFailed, InstanceDied, SupervisorConfigError } from "./SupervisionError.js"

export { detach } from "./detached.js"
export { type Origin, type Originating, OriginTypeId } from "./origin.js"
export {
  /**
   * @since 0.1.0
   * @category errors
   */
  ChildDown,
  /**
   * @since 0.1.0
   * @category context
   */
  CurrentSupervisor,
  /**
   * @since 0.1.0
   * @category errors
   */
  HeartbeatFailed,
  /**
   * @since 0.1.0
   * @category errors
   */
  InstanceDied
}

/**
 * How a child is started, stopped and restarted.
 *
 * - `id`: its name in paths; default: the keys of the services its layer provides.
 * - `restart`: `"permanent"` (default): after every exit. `"transient"`: after a crash only. `"temporary"`: never.
 * - `shutdown`: how long its scope may take to close before it is left to itself as orphaned; default 5 seconds,
 *   and `"infinity"` for a child with a tree inside, whose own children have their time. `"infinity"` waits as long as it takes,
 *   `"brutalKill"` not at all.
 * - `startTimeout`: how long a build may take before it counts as failed; default: as long as it takes.
 * - `whenDown`: what a call does while the child is down: wait up to `await` (default 5 seconds), or `"fail"` at once. Either
 *   way it then dies with `ChildDown`.
 * - `significant`: whether the end of this child counts for its tree's `autoShutdown`; default false; not for `"permanent"`.
 * - `backoff`: how long each restart waits; default: not at all. The delays begin anew when no restart of the child counts any
 *   more, a Schedule that is over stays at its last delay, and siblings that are restarted with the child are stopped at once and
 *   wait with it. Restarts count when they are decided, so that a supervisor gives up without waiting. A Schedule under which it
 *   never could is refused: the longest delay, times `intensity + 1`, has to be shorter than the tree's `period`, for its first
 *   `intensity + 1` delays (with jitter at its worst); what grows later stops growing there. Not for `"temporary"`.
 * - `heartbeat`: asks an instance whether it still answers; see `Heartbeat`. Default: nobody asks, and no timer runs.
 * - `inFlight`: what becomes of calls that an instance has not answered when it ends: `"fail"` (default): they die with
 *   `InstanceDied`. `"detach"`: they go on, and answer with what they come to; one that waits for the instance may wait for ever.
 * - `link`: whether fibers that outlive the build belong to the instance: `"auto"` (default): if one fails, the instance has
 *   crashed, and they are ended with it. `"manual"`: only those forked by `Supervised.fork` do.
 * - `dependsOn`: services whose children this one depends on. Under `"rest_for_dependents"` uses of a service are noticed by
 *   themselves, and this is for those that cannot be: through a layer between the two that is not supervised. They have to be
 *   provided by children started before.
 *
 * @since 0.1.0
 * @category models
 */
export interface ChildOptions<out H = never> {
  readonly id?: string
  readonly restart?: RestartType
  readonly shutdown?: Duration.DurationInput | "brutalKill" | "infinity"
  readonly startTimeout?: Duration.DurationInput
  readonly whenDown?: "fail" | { readonly await: Duration.DurationInput }
  readonly significant?: boolean
  readonly backoff?: Schedule.Schedule<unknown, Cause.Cause<unknown>>
  readonly heartbeat?: Heartbeat<H>
  readonly inFlight?: "fail" | "detach"
  readonly link?: "auto" | "manual"
  readonly dependsOn?: ReadonlyArray<{ readonly key: string }>
}

/**
 * A question that is put to an instance again and again. One that fails, dies, or is not answered within `timeout` (default 5
 * seconds) crashes the instance with `HeartbeatFailed`. The first comes `every` after the instance is up, and each next one as
 * long after the answer before. `check` may use the services that the layer provides: of the instance itself, not handles.
 *
 * @since 0.1.0
 * @category models
 */
export interface Heartbeat<out H = never> {
  readonly check: Effect.Effect<unknown, unknown, H>
  readonly every: Duration.DurationInput
  readonly timeout?: Duration.DurationInput
}

/**
 * What a layer has to provide for the check of its heartbeat.
 *
 * @since 0.1.0
 * @category models
 */
export type Provides<A, H> = [H] extends [A]
  ? unknown
  : { readonly "the heartbeat needs a service that the layer does not provide": H }

/**
 * What the requirements of a layer must not hold: `CurrentSupervisor`. It would mean a supervised layer inside a supervised
 * layer, which would register another child at every restart. Put a `SupervisionTree.layer` around the inner one.
 *
 * @since 0.1.0
 * @category models
 */
export type NotNested<R> = CurrentSupervisor extends R
  ? { readonly "a supervised layer cannot contain another one without a SupervisionTree.layer between them": never }
  : unknown

/**
 * Makes a child of a layer. The result provides the same services as handles, and requires a `SupervisionTree.layer` around it.
 *
 * Used twice in one graph it is one child, like any layer. A first start that fails is the layer's failure, with its error.
 *
 * @example
 * ```ts
 * import { Supervised, SupervisionTree } from "@effecto/core"
 * import { Context, Effect, Layer } from "effect"
 *
 * class Greeter extends Context.Tag("Greeter")<Greeter, { readonly greet: (name: string) => Effect.Effect<string> }>() {}
 *
 * const GreeterLive = Layer.succeed(Greeter, { greet: (name) => Effect.succeed(`Hello, ${name}`) })
 *
 * const AppLive = GreeterLive.pipe(
 *   Supervised.layer({ id: "greeter", shutdown: "1 second" }),
 *   SupervisionTree.layer({ name: "app" })
 * )
 *
 * const program = Effect.flatMap(Greeter, (greeter) => greeter.greet("Ada"))
 *
 * Effect.runPromise(program.pipe(SupervisionTree.provide(AppLive))).then(console.log) // Hello, Ada
 * ```
 *
 * @example
 * ```ts
 * import { Supervised, SupervisionTree } from "@effecto/core"
 * import { Context, Effect, Layer, Schedule } from "effect"
 *
 * class Db extends Context.Tag("Db")<Db, { readonly ping: Effect.Effect<void>; readonly name: string }>() {}
 * class Orders extends Context.Tag("Orders")<Orders, { readonly from: string }>() {}
 *
 * // Restarted after 100 ms, 200 ms and so on, but never so late that the tree could not give up; and if it hangs.
 * const DbLive = Layer.succeed(Db, { ping: Effect.void, name: "orders.db" }).pipe(
 *   Supervised.layer({
 *     id: "db",
 *     backoff: Schedule.exponential("100 millis"),
 *     heartbeat: { check: Effect.flatMap(Db, (db) => db.ping), every: "10 seconds", timeout: "1 second" }
 *   })
 * )
 *
 * const OrdersLive = Layer.effect(
 *   Orders,
 *   Effect.map(Db, (db) => ({ from: db.name }))
 * ).pipe(Supervised.layer({ id: "orders" }))
 *
 * const AppLive = OrdersLive.pipe(
 *   Layer.provide(DbLive),
 *   SupervisionTree.layer({ name: "app", strategy: "rest_for_dependents", intensity: 5, period: "1 minute" })
 * )
 *
 * const program = Effect.map(SupervisionTree.snapshot, (tree) => SupervisionTree.render(tree, { reads: true }))
 *
 * Effect.runPromise(program.pipe(SupervisionTree.provide(AppLive))).then(console.log)
 * // app rest_for_dependents, 0 of 5 restarts in 60 s
 * // ├─ db up #1
 * // └─ orders up #1, reads db
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer: {
  <H = never>(
    options?: ChildOptions<H>
  ): <A, E, R>(self: Layer.Layer<A, E, R> & NotNested<R> & Provides<A, H>) => Layer.Layer<A, E, R | CurrentSupervisor>
  <A, E, R>(
    self: Layer.Layer<A, E, R> & NotNested<R>,
    options?: ChildOptions<NoInfer<A>>
  ): Layer.Layer<A, E, R | CurrentSupervisor>
} = ((first?: Layer.Layer<unknown, unknown, unknown> | ChildOptions<unknown>, options?: ChildOptions<unknown>) =>
  // The two forms are told apart by their first argument; each is checked against its signature above.
  Layer.isLayer(first)
    ? supervised(first, options ?? {})
    : (self: Layer.Layer<unknown, unknown, unknown>) => supervised(self, first ?? {})) as typeof layer

const supervised = <A, E, R>(
  self: Layer.Layer<A, E, R>,
  options: ChildOptions<unknown>
): Layer.Layer<A, E, R | CurrentSupervisor> =>
  Layer.scopedContext(
    Effect.gen(function* () {
      const supervisor = yield* CurrentSupervisor
      const scope = yield* Scope.Scope
      const settings = settingsOf(supervisor.path, options)
      return yield* Effect.uninterruptibleMask((restore) =>
        restore(register(supervisor, self, settings)).pipe(
          // Into the scope itself: `Effect.addFinalizer` would keep all FiberRefs of now for it, and compare them with those of then.
          Effect.tap(({ child }) => Scope.addFinalizerExit(scope, (exit) => supervisor.closeChild(child, exit))),
          Effect.map(({ handles }) => handles)
        )
      )
    })
  )

const restartTypes: ReadonlyArray<RestartType> = ["permanent", "transient", "temporary"]

const settingsOf = (path: string, options: ChildOptions<unknown>): ChildSettings => {
  const {
    backoff,
    dependsOn,
    heartbeat,
    id,
    inFlight = "fail",
    link = "auto",
    restart = "permanent",
    shutdown,
    significant = false,
    startTimeout,
    whenDown
  } = options
  const refuse = (problem: string): never => {
    throw new SupervisorConfigError({
      path,
      problem: `child ${id === undefined ? "without id" : `"${id}"`}: ${problem}`
    })
  }
  const read = checked(refuse)
  if (!restartTypes.includes(restart)) {
    refuse(`restart is "${restart}"; it has to be one of ${restartTypes.join(", ")}`)
  }
  const choose = (name: string, value: string, known: ReadonlyArray<string>): void => {
    if (!known.includes(value)) refuse(`${name} is "${value}"; it has to be one of ${known.join(", ")}`)
  }
  choose("inFlight", inFlight, ["fail", "detach"])
  choose("link", link, ["auto", "manual"])
  const every = heartbeat === undefined ? 0 : read.millis("heartbeat.every", heartbeat.every)
  // One without a pause would never let the fiber go.
  if (heartbeat !== undefined && every === 0) refuse("heartbeat.every is 0 ms; it has to be longer")
  if (heartbeat !== undefined && !Effect.isEffect(heartbeat.check)) refuse("heartbeat.check is not an Effect")
  if (backoff !== undefined && !Schedule.isSchedule(backoff)) refuse("backoff is not a Schedule")
  for (const tag of dependsOn ?? []) {
    if (typeof tag?.key !== "string") refuse(`dependsOn holds ${String(tag)}, which is not the tag of a service`)
  }
  if (id === "") refuse("the id is empty; it is a part of its path")
  if (significant && restart === "permanent") {
    refuse("significant, but permanent: a permanent child is always restarted, so its end can never count")
  }
  return {
    id,
    restart,
    significant,
    backoff,
    inFlight,
    link,
    heartbeat:
      heartbeat === undefined
        ? undefined
        : {
            check: heartbeat.check,
            every,
            timeout: read.millis("heartbeat.timeout", heartbeat.timeout ?? "5 seconds")
          },
    dependsOn: dependsOn?.map((tag) => tag.key),
    shutdown: read.shutdown(shutdown),
    startTimeout: startTimeout === undefined ? undefined : read.millis("startTimeout", startTimeout),
    whenDown: whenDown === "fail" ? "fail" : read.millis("whenDown", whenDown?.await ?? "5 seconds")
  }
}

/**
 * A child that is one Effect: what the Effect ends with is the child's exit. Under `restart: "permanent"` (default) it is run
 * again whatever it ended with, under `"transient"` after a failure only.
 *
 * @since 0.1.0
 * @category layers
 */
export const effect = <A, E, R>(
  id: string,
  run: Effect.Effect<A, E, R>,
  options?: Omit<ChildOptions, "id">
): Layer.Layer<never, never, Exclude<R, Scope.Scope> | CurrentSupervisor> =>
  supervised(
    Layer.scopedDiscard(
      Effect.flatMap(CurrentInstance, (instance) =>
        Effect.forkScoped(Effect.onExit(run, (exit) => Effect.sync(() => instance?.exitWith(exit))))
      )
    ),
    { ...options, id }
  )

/**
 * Forks an Effect in the scope of the instance being built and links it: if it fails, the instance has crashed, even before it
 * is up. Ending well is no exit. Fibers forked otherwise are linked, too, if they outlive the build; this one need not.
 *
 * Outside an instance it is `Effect.forkScoped`.
 *
 * @since 0.1.0
 * @category linking
 */
export const fork = <A, E, R>(
  self: Effect.Effect<A, E, R>
): Effect.Effect<Fiber.RuntimeFiber<A, E>, never, R | Scope.Scope> =>
  Effect.flatMap(CurrentInstance, (instance) =>
    Effect.forkScoped(Effect.onError(self, (cause) => Effect.sync(() => instance?.exitWith(Exit.failCause(cause)))))
  )

/**
 * Ends the instance that the Effect runs in, as its own decision: `"normal"` or `"shutdown"` for an orderly end, or a Cause for
 * a crash. To be run by a fiber of the instance (its build has failures for that); a method is run by its caller, and has to ask such a fiber.
 * Never returns: the fiber is interrupted with the instance.
 *
 * @since 0.1.0
 * @category linking
 */
export const exit = (reason: "normal" | "shutdown" | Cause.Cause<unknown>): Effect.Effect<never> =>
  Effect.flatMap(CurrentInstance, (instance) => {
    if (instance === undefined) return Effect.dieMessage("Supervised.exit was run outside a supervised instance")
    if (reason === "normal" || reason === "shutdown") instance.exit({ exit: reason, cause: Cause.empty })
    else instance.exit({ exit: "abnormal", cause: reason })
    return Effect.never
  })

/**
 * Runs an Effect so that the fibers it forks are not part of the instance being built: if they fail, it has not crashed, and
 * they are not ended with it, unless their scope is.
 *
 * @since 0.1.0
 * @category linking
 */
export const unlinked: <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R> = Linking.untracked

/**
 * The service of the current instance itself instead of a handle, for shapes that a handle cannot carry: a `Ref`, a `Queue`, a
 * `Map` to iterate. Waits for the child like a call does. The value belongs to its instance: ask again for each use.
 *
 * For a service that is not supervised this is the service.
 *
 * @since 0.1.0
 * @category accessors
 */
export const current = <I, S>(tag: Context.Tag<I, S>): Effect.Effect<S, never, I> =>
  Effect.flatMap(Effect.context<I>(), (context) =>
    // What a Context, or an instance, holds under a tag's key is a service of that tag: it was typed so.
    Effect.map(serviceOf(context, tag.key, Context.get(context, tag)), (service) => service as S)
  )

const serviceOf = (context: Context.Context<never>, key: string, handle: unknown): Effect.Effect<unknown> => {
  const carrier = carrierOf(context, key)
  if (carrier === undefined) return Effect.succeed(handle)
  carrier.onRead?.()
  // The child's own service may be the handle for that of a child of a tree inside.
  return Effect.flatMap(carrier.slot.awaitUp, ({ context: inner }) => serviceOf(inner, key, inner.unsafeMap.get(key)))
}
