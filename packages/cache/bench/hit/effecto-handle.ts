/** The same, through the handle of a supervised cache. */
import { Cache } from "@effecto/cache"
import { Supervised, SupervisionTree } from "@effecto/core"
import { Context, Effect, Layer, Scope } from "effect"
import type { Contestant } from "../../../../scripts/bench/Contestant.js"
import type { OurCache } from "../filled.js"
import { entries, IDLE, keys, validateSum } from "../keys.js"

const Numbers = Context.GenericTag<OurCache>("Numbers")

const supervised: Contestant<OurCache, number> = {
  setup: () =>
    Effect.runPromise(
      Effect.gen(function* () {
        const scope = yield* Scope.make()
        const context = yield* Cache.layer(Numbers, { name: "bench", idle: IDLE }).pipe(
          Supervised.layer({ id: "numbers" }),
          SupervisionTree.layer({ name: "bench" }),
          Layer.build,
          Effect.provideService(Scope.Scope, scope)
        )
        const cache = Context.get(context, Numbers)
        for (const key of entries) yield* cache.put(key, key)
        return cache
      })
    ),
  ops: keys.length,
  run: (cache) =>
    Effect.runPromise(
      Effect.gen(function* () {
        let sum = 0
        for (const key of keys) sum += yield* cache.fetch(key)
        return sum
      })
    ),
  validate: validateSum
}
export default supervised
