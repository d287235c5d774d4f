import { Cache } from "@effecto/cache"
import { Effect, Scope } from "effect"
import type { Contestant } from "../../../../scripts/bench/Contestant.js"
import { CALLERS, everybody, makeLoad, validateCallers } from "../callers.js"

interface State {
  readonly counted: { loads: number }
  readonly load: Effect.Effect<number>
  readonly cache: Cache.Cache<string, number>
}

const effecto: Contestant<State, number> = {
  setup: () =>
    Effect.runSync(
      Effect.flatMap(Scope.make(), (scope) =>
        Effect.map(Scope.extend(Cache.make<string, number>({ name: "bench" }), scope), (cache) => ({
          ...makeLoad(),
          cache
        }))
      )
    ),
  ops: CALLERS,
  run: async ({ cache, counted, load }) => {
    counted.loads = 0
    const sum = await Effect.runPromise(Effect.zipRight(cache.clear, everybody(cache.getOrLoad("key", load))))
    if (counted.loads !== 1) throw new Error(`${counted.loads} loads, where there should be one`)
    return sum
  },
  validate: validateCallers
}
export default effecto
