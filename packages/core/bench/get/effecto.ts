import { Repo } from "@effecto/core"
import { Effect } from "effect"
import type { Contestant } from "../../../../scripts/bench/Contestant.js"
import { close, type DatabaseWithRepo, databaseWithRepo, keys, People, validateSum } from "../rows.js"

const contestant: Contestant<DatabaseWithRepo, number> = {
  setup: databaseWithRepo,
  ops: keys.length,
  run: ({ runtime }) =>
    runtime.runPromise(
      Effect.gen(function* () {
        let sum = 0
        for (const key of keys) sum += (yield* Repo.fetch(People, key)).age
        return sum
      })
    ),
  validate: validateSum,
  teardown: close
}
export default contestant
