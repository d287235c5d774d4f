/** One service in every shape of a call, directly and through a handle, and the loops that call it. */
import { Supervised, SupervisionTree } from "@effecto/core"
import { Context, Effect, Exit, Layer, Scope } from "effect"
import type { Contestant } from "../../../scripts/bench/Contestant.js"

export interface It {
  /** A method whose Effect is an answer already. */
  readonly succeed: (n: number) => Effect.Effect<number>
  readonly sync: (n: number) => Effect.Effect<number>
  /** A method of several steps that never suspends. */
  readonly chain: (n: number) => Effect.Effect<number>
  /** A method that gives way, and answers later. */
  readonly wait: (n: number) => Effect.Effect<number>
  /** An Effect that is a member. */
  readonly next: Effect.Effect<number>
  readonly plain: (n: number) => number
  readonly field: number
}
export const It = Context.GenericTag<It>("It")

const make = (): It => ({
  succeed: (n) => Effect.succeed(n + 1),
  sync: (n) => Effect.sync(() => n + 1),
  chain: (n) =>
    Effect.flatMap(
      Effect.sync(() => n),
      (m) => Effect.map(Effect.succeed(m), (k) => k + 1)
    ),
  wait: (n) => Effect.as(Effect.yieldNow(), n + 1),
  next: Effect.sync(() => 1),
  plain: (n) => n + 1,
  field: 1
})

const layer = Layer.sync(It, make)

export interface State {
  readonly it: It
  readonly scope: Scope.CloseableScope
}

const build = (layer: Layer.Layer<It>): State =>
  Effect.runSync(
    Effect.flatMap(Scope.make(), (scope) =>
      Effect.map(Effect.provideService(Effect.map(Layer.build(layer), Context.get(It)), Scope.Scope, scope), (it) => ({
        it,
        scope
      }))
    )
  )

export const direct = (): State => build(layer)

/** Started by a fiber: the first start of a child is not synchronous. */
export const handle = (): Promise<State> =>
  Effect.runPromise(
    Effect.flatMap(Scope.make(), (scope) =>
      layer.pipe(
        Supervised.layer({ id: "it" }),
        SupervisionTree.layer({ name: "bench" }),
        Layer.build,
        Effect.map((context) => ({ it: Context.get(context, It), scope })),
        Effect.provideService(Scope.Scope, scope)
      )
    )
  )

export const ops = 20_000

const expected = (ops * (ops + 1)) / 2

/** A contestant that makes one kind of call again and again, in a generator. */
export const calling = (
  setup: () => State | Promise<State>,
  call: (it: It, n: number) => Effect.Effect<number>,
  calls = ops
): Contestant<State, number> => ({
  setup,
  ops: calls,
  run: ({ it }) =>
    Effect.runPromise(
      Effect.gen(function* () {
        let sum = 0
        for (let n = 0; n < calls; n += 1) sum += yield* call(it, n)
        return sum
      })
    ),
  validate: (sum) => {
    if (sum !== (calls * (calls + 1)) / 2) throw new Error(`the answers add up to ${sum}`)
  },
  teardown: ({ scope }) => Effect.runPromise(Scope.close(scope, Exit.void))
})

/** A contestant that reads without an Effect. */
export const reading = (
  setup: () => State | Promise<State>,
  read: (it: It, n: number) => number
): Contestant<State, number> => ({
  setup,
  ops: ops * 10,
  run: ({ it }) => {
    let sum = 0
    for (let round = 0; round < 10; round += 1) for (let n = 0; n < ops; n += 1) sum += read(it, n)
    return sum
  },
  validate: (sum) => {
    if (sum !== expected * 10) throw new Error(`the answers add up to ${sum}`)
  },
  teardown: ({ scope }) => Effect.runPromise(Scope.close(scope, Exit.void))
})
