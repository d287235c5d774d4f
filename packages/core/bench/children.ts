/** A tree of many children that do next to nothing, started and stopped, and as many layers without a tree. */
import { Supervised, SupervisionTree } from "@effecto/core"
import { Context, Effect, Exit, Layer, Logger, LogLevel, Scope } from "effect"
import type { Contestant } from "../../../scripts/bench/Contestant.js"

export interface Counted {
  up: number
  down: number
}

const It = Context.GenericTag<{ readonly n: number }>("It")

/** Merged by tens: a merge of a hundred thousand at once is one call with as many arguments. */
const merged = <A, R>(layers: ReadonlyArray<Layer.Layer<A, never, R>>) => {
  let level = layers
  while (level.length > 1) {
    const next: Array<(typeof level)[number]> = []
    for (let at = 0; at < level.length; at += 10) {
      const [first, ...rest] = level.slice(at, at + 10)
      if (first !== undefined) next.push(Layer.mergeAll(first, ...rest))
    }
    level = next
  }
  return level[0] ?? Layer.empty
}

const child = (counted: Counted) =>
  Layer.scoped(
    It,
    Effect.acquireRelease(
      Effect.sync(() => {
        counted.up += 1
        return { n: counted.up }
      }),
      () =>
        Effect.sync(() => {
          counted.down += 1
        })
    )
  )

const contestant = (
  children: number,
  graphOf: (counted: Counted) => Layer.Layer<never>
): Contestant<Counted, Counted> => ({
  setup: () => ({ up: 0, down: 0 }),
  ops: children,
  once: children > 10_000,
  run: (counted) => {
    counted.up = 0
    counted.down = 0
    return Effect.runPromise(
      Effect.gen(function* () {
        const scope = yield* Scope.make()
        yield* Effect.provideService(Layer.build(graphOf(counted)), Scope.Scope, scope)
        yield* Scope.close(scope, Exit.void)
        return counted
      }).pipe(Logger.withMinimumLogLevel(LogLevel.None))
    )
  },
  validate: ({ down, up }) => {
    if (up !== children || down !== children) throw new Error(`${up} of ${children} were started, ${down} were stopped`)
  }
})

/** Supervised. */
export const starting = (children: number): Contestant<Counted, Counted> =>
  contestant(children, (counted) => {
    const each = Array.from({ length: children }, (_, n) => child(counted).pipe(Supervised.layer({ id: `child ${n}` })))
    return SupervisionTree.layer({ name: "many" })(merged(each))
  })

/** Bare layers: what Effect itself needs to compose, build and close them. */
export const building = (layers: number): Contestant<Counted, Counted> =>
  contestant(layers, (counted) => merged(Array.from({ length: layers }, () => child(counted))))
