import { SqlClient, SqlSchema } from "@effect/sql"
import { Effect, Schema } from "effect"
import type { Contestant } from "../../../../scripts/bench/Contestant.js"
import { close, type Database, database, Person, rows } from "../rows.js"

const contestant: Contestant<Database, number> = {
  setup: database,
  ops: 1,
  run: ({ runtime }) =>
    runtime.runPromise(
      Effect.flatMap(SqlClient.SqlClient, (sql) =>
        Effect.map(
          SqlSchema.findAll({ Request: Schema.Void, Result: Person, execute: () => sql`select * from people` })(
            undefined
          ),
          (people) => (people[0] instanceof Person ? people.length : Number.NaN)
        )
      )
    ),
  validate: (count) => {
    if (count !== rows) throw new Error(`${count} rows`)
  },
  teardown: close
}
export default contestant
