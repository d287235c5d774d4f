import { SqlClient } from "@effect/sql"
import { Effect } from "effect"
import type { Contestant } from "../../../../scripts/bench/Contestant.js"
import { close, type Database, database, keys, validateSum } from "../rows.js"

/** Rows with their names transformed, no instances. */
const contestant: Contestant<Database, number> = {
  setup: database,
  ops: keys.length,
  run: ({ runtime }) =>
    runtime.runPromise(
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        let sum = 0
        for (const key of keys) {
          const rows = yield* sql<{ age: number }>`select * from people where id = ${key}`
          sum += rows[0]?.age ?? Number.NaN
        }
        return sum
      })
    ),
  validate: validateSum,
  teardown: close
}
export default contestant
