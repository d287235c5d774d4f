/**
 * Who is told that a supervisor has given up which is in no child: nobody restarts that one.
 *
 * ```text
 *   launch ─▶ Runner ◀─ told by each root of the graph: a tree, or a dynamic supervisor, that is merged with others or beneath them
 *                         └─ told by what is built among its children without a `Supervised.layer`, as if it were the tree itself
 * ```
 *
 * Only what is built with the graph belongs to it. A tree that a worker builds later is that worker's business.
 */
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { CurrentInstance } from "./currentinstance.js"
import type { Instance } from "./instance.js"
import { SupervisorShutdown } from "./SupervisionError.js"
import type { Supervisor } from "./supervisor.js"

/**
 * The supervisor that a supervised layer registers with. It is provided by `SupervisionTree.layer` alone: a supervised layer
 * without a tree around it still requires it, and so does not run.
 *
 * @since 0.1.0
 * @category context
 */
export class CurrentSupervisor extends Context.Tag("@effecto/core/CurrentSupervisor")<
  CurrentSupervisor,
  Supervisor
>() {}

type Tell = (error: SupervisorShutdown) => void

/** Whoever runs a graph. What of that is nested has the same around it, and so is told apart from what is the runner's. */
interface Running {
  readonly instance: Instance | undefined
  readonly around: Supervisor | undefined
  readonly tell: Tell
  /** The graph is not complete yet. */
  building: boolean
}

class Runner extends Context.Reference<Runner>()("@effecto/core/supervision/Runner", {
  defaultValue: (): Running | undefined => undefined
}) {}

const around = Effect.map(Effect.serviceOption(CurrentSupervisor), Option.getOrUndefined)

/** Whom a supervisor that is built here tells when it gives up, besides the instance that it is in. */
export const told: Effect.Effect<Tell | undefined> = Effect.gen(function* () {
  const instance = yield* CurrentInstance
  const outer = yield* around
  const runner = yield* Runner
  if (runner?.building === true && runner.instance === instance && runner.around === outer) return runner.tell
  // In an instance, both end with that.
  if (instance !== undefined || outer === undefined || outer.isBuilt) return undefined
  return (error) => outer.partGaveUp(error)
})

/** Makes a layer tell `tell` when a supervisor gives up that is built with it, and is in no child. */
export const telling = <A, E, R>(
  layer: Layer.Layer<A, E, R>,
  tell: Tell
): { readonly layer: Layer.Layer<A, E, R>; readonly built: Effect.Effect<void> } => {
  let running: Running | undefined
  const runner = Layer.effect(
    Runner,
    Effect.gen(function* () {
      running = { instance: yield* CurrentInstance, around: yield* around, tell, building: true }
      return running
    })
  )
  return {
    layer: Layer.provide(layer, runner),
    built: Effect.sync(() => {
      if (running !== undefined) running.building = false
    })
  }
}

/**
 * Giving up is a failure of whoever runs the tree, also where it is learnt first from a child that was about to be built, or from
 * a call that died of it. A tree that is only closed is none: to use that is a mistake.
 */
const failing = <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E | SupervisorShutdown, R> =>
  Effect.catchSomeDefect(self, (defect) =>
    defect instanceof SupervisorShutdown && defect.reason !== "closed"
      ? Option.some(Effect.fail(defect))
      : Option.none()
  )

/**
 * Whichever is over first is the result, however it ended. `raceFirst` would wait for the other one if that fiber was
 * interrupted, by itself for one.
 */
const over = <A, E>(exit: Exit.Exit<Exit.Exit<A, E>>, other: Fiber.Fiber<unknown, unknown>): Effect.Effect<A, E> =>
  Effect.zipRight(Fiber.interrupt(other), Exit.flatten(exit))

/** Runs an Effect with the services of a graph, until a supervisor of that gives up: then it is interrupted, and that is the failure. */
export const running = <A, E2, R2, B, E, R>(
  graph: Layer.Layer<A, E2, R2>,
  self: Effect.Effect<B, E, R>
): Effect.Effect<B, E | E2 | SupervisorShutdown, R2 | Exclude<R, A>> =>
  // What the Effect and the graph fork stays with the caller: a race forks both sides, and would take it along when it is over.
  Effect.transplant((graft) => {
    const gaveUp = Deferred.unsafeMake<never, SupervisorShutdown>(FiberId.none)
    let done = false
    const { built, layer } = telling(graph, (error) => {
      // Not while the graph is closed after the Effect: that has been answered.
      if (!done) Deferred.unsafeDone(gaveUp, Exit.fail(error))
    })
    const program = Effect.onExit(Effect.zipRight(built, self), () =>
      Effect.sync(() => {
        done = true
      })
    )
    return failing(
      Effect.raceWith(Effect.exit(graft(Effect.provide(program, layer))), Effect.exit(Deferred.await(gaveUp)), {
        onSelfDone: over,
        onOtherDone: over
      })
    )
  })
