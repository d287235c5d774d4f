/** What Effect has today: a reload by hand. Nobody notices a crash, and callers may get the closed instance meanwhile. */
import { Effect, Exit, Layer, Reloadable, Scope } from "effect"
import type { Contestant } from "../../../../scripts/bench/Contestant.js"
import { type Counted, It, ops, worker } from "../restart.js"

const reloading = async () => {
  const counted: Counted = { built: 0, closed: 0 }
  const scope = await Effect.runPromise(Scope.make())
  const layer = Reloadable.manual(It, { layer: worker(counted) })
  const context = await Effect.runPromise(Effect.provideService(Layer.build(layer), Scope.Scope, scope))
  return { counted, context, scope }
}

const reloadable: Contestant<Awaited<ReturnType<typeof reloading>>, Counted> = {
  setup: reloading,
  ops,
  run: ({ context, counted }) =>
    Effect.as(Effect.repeatN(Reloadable.reload(It), ops - 1), counted).pipe(Effect.provide(context), Effect.runPromise),
  validate: (counted) => {
    if (counted.built < ops || counted.built - counted.closed !== 1)
      throw new Error(`${counted.built} were built, ${counted.closed} were closed`)
  },
  teardown: ({ scope }) => Effect.runPromise(Scope.close(scope, Exit.void))
}
export default reloadable
