/** A service with a finalizer, and one with a worker besides, built and closed or crashed and restarted. */
import { Supervised, SupervisionTree, TestSupervision } from "@effecto/core"
import { Context, Effect, Exit, Layer, Logger, LogLevel, Reloadable, type Runtime, Scope } from "effect"
import type { Contestant } from "../../../scripts/bench/Contestant.js"

export interface Counted {
  built: number
  closed: number
}

export interface It {
  readonly ask: Effect.Effect<number>
}
export const It = Context.GenericTag<It>("It")

const service = (counted: Counted) =>
  Effect.acquireRelease(
    Effect.sync((): It => {
      counted.built += 1
      return { ask: Effect.succeed(counted.built) }
    }),
    () =>
      Effect.sync(() => {
        counted.closed += 1
      })
  )

export const plain = (counted: Counted): Layer.Layer<It> => Layer.scoped(It, service(counted))

/** Interruptible also where it is built in a region that is not, which is what a reload is. */
export const worker = (counted: Counted): Layer.Layer<It> =>
  Layer.scoped(It, Effect.zipLeft(service(counted), Effect.forkScoped(Effect.interruptible(Effect.never))))

export const ops = 200

/** Says nothing: what a line costs to be written is the logger's matter. */
export const silent = Logger.minimumLogLevel(LogLevel.None)

/** Makes each line, as for any logger, and drops it. */
export const dropped = Logger.replace(
  Logger.defaultLogger,
  Logger.make(() => {})
)

const checked = (counted: Counted) => {
  if (counted.built < ops || Math.abs(counted.built - counted.closed) > 1)
    throw new Error(`${counted.built} were built, ${counted.closed} were closed`)
}

export const buildAndClose = (layer: (counted: Counted) => Layer.Layer<It>): Contestant<Counted, Counted> => ({
  setup: () => ({ built: 0, closed: 0 }),
  ops,
  run: (counted) => {
    const once = Effect.scoped(Layer.build(layer(counted)))
    return Effect.as(Effect.repeatN(once, ops - 1), counted).pipe(Effect.runPromise)
  },
  validate: checked
})

export interface Running {
  readonly counted: Counted
  readonly runtime: Runtime.Runtime<SupervisionTree.SupervisionTree>
  readonly scope: Scope.CloseableScope
}

export const restarting = (
  layer: (counted: Counted) => Layer.Layer<It>,
  logging: Layer.Layer<never> = silent
): Contestant<Running, Counted> => ({
  setup: () => {
    const counted: Counted = { built: 0, closed: 0 }
    const tree = layer(counted).pipe(
      Supervised.layer({ id: "it" }),
      SupervisionTree.layer({ name: "bench", intensity: 1_000_000, period: 1 }),
      Layer.provide(logging)
    )
    return Effect.runPromise(
      Effect.flatMap(Scope.make(), (scope) =>
        Effect.map(Effect.provideService(Layer.toRuntime(tree), Scope.Scope, scope), (runtime) => ({
          counted,
          runtime,
          scope
        }))
      )
    )
  },
  ops,
  run: ({ counted, runtime }) => {
    const once = Effect.zipRight(
      TestSupervision.crash("bench/it", "a defect"),
      TestSupervision.awaitRestart("bench/it")
    )
    return Effect.as(Effect.repeatN(once, ops - 1), counted).pipe(Effect.provide(runtime), Effect.runPromise)
  },
  validate: checked,
  teardown: ({ scope }) => Effect.runPromise(Scope.close(scope, Exit.void))
})

export interface Reloading {
  readonly counted: Counted
  readonly context: Context.Context<Reloadable.Reloadable<It>>
  readonly scope: Scope.CloseableScope
}

/** What Effect has today: a reload by hand. Nobody notices a crash, and callers may get the closed instance meanwhile. */
export const reloading = (layer: (counted: Counted) => Layer.Layer<It>): Contestant<Reloading, Counted> => ({
  setup: async () => {
    const counted: Counted = { built: 0, closed: 0 }
    const scope = await Effect.runPromise(Scope.make())
    const reloadable = Reloadable.manual(It, { layer: layer(counted) })
    const context = await Effect.runPromise(Effect.provideService(Layer.build(reloadable), Scope.Scope, scope))
    return { counted, context, scope }
  },
  ops,
  run: ({ context, counted }) =>
    Effect.as(Effect.repeatN(Reloadable.reload(It), ops - 1), counted).pipe(Effect.provide(context), Effect.runPromise),
  validate: (counted) => {
    if (counted.built < ops || counted.built - counted.closed !== 1)
      throw new Error(`${counted.built} were built, ${counted.closed} were closed`)
  },
  teardown: ({ scope }) => Effect.runPromise(Scope.close(scope, Exit.void))
})
