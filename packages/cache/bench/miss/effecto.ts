import { Cache } from "@effecto/cache"
import { Effect, Option, Scope } from "effect"
import type { Contestant } from "../../../../scripts/bench/Contestant.js"
import { MISSES, validateMisses } from "../misses.js"

const effecto: Contestant<Cache.Cache<number, number>, number> = {
  setup: () =>
    Effect.runSync(
      Effect.flatMap(Scope.make(), (scope) =>
        Scope.extend(
          Cache.make({ name: "bench", idle: "10 minutes", lookup: (key: number) => Effect.succeed(Option.some(key)) }),
          scope
        )
      )
    ),
  ops: MISSES,
  run: (cache) =>
    Effect.runPromise(
      Effect.gen(function* () {
        yield* cache.clear
        let sum = 0
        for (let key = 0; key < MISSES; key += 1) sum += yield* cache.fetch(key)
        return sum
      })
    ),
  validate: validateMisses
}
export default effecto
