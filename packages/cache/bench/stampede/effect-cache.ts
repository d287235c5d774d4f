import { Cache, Effect } from "effect"
import type { Contestant } from "../../../../scripts/bench/Contestant.js"
import { CALLERS, everybody, makeLoad, validateCallers } from "../callers.js"

interface State {
  readonly counted: { loads: number }
  readonly cache: Cache.Cache<string, number>
}

const effectCache: Contestant<State, number> = {
  setup: () => {
    const { counted, load } = makeLoad()
    return Effect.runSync(
      Effect.map(Cache.make({ capacity: 10, timeToLive: "10 minutes", lookup: (_: string) => load }), (cache) => ({
        counted,
        cache
      }))
    )
  },
  ops: CALLERS,
  run: async ({ cache, counted }) => {
    counted.loads = 0
    const sum = await Effect.runPromise(Effect.zipRight(cache.invalidateAll, everybody(cache.get("key"))))
    if (counted.loads !== 1) throw new Error(`${counted.loads} loads, where there should be one`)
    return sum
  },
  validate: validateCallers
}
export default effectCache
