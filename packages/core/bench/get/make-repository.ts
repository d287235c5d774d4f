import { Model } from "@effect/sql"
import { Effect, Option } from "effect"
import type { Contestant } from "../../../../scripts/bench/Contestant.js"
import { close, type Database, database, keys, Person, validateSum } from "../rows.js"

const contestant: Contestant<Database, number> = {
  setup: database,
  ops: keys.length,
  run: ({ runtime }) =>
    runtime.runPromise(
      Effect.gen(function* () {
        const repository = yield* Model.makeRepository(Person, { tableName: "people", idColumn: "id", spanPrefix: "p" })
        let sum = 0
        for (const key of keys) sum += Option.getOrThrow(yield* repository.findById(key)).age
        return sum
      })
    ),
  validate: validateSum,
  teardown: close
}
export default contestant
