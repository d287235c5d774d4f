import { SqlClient } from "@effect/sql"
import { Effect } from "effect"
import type { Contestant } from "../../../../scripts/bench/Contestant.js"
import { close, type Database, database, rows } from "../rows.js"

const contestant: Contestant<Database, number> = {
  setup: database,
  ops: 1,
  run: ({ runtime }) =>
    runtime.runPromise(
      Effect.flatMap(SqlClient.SqlClient, (sql) =>
        Effect.map(sql<{ firstName: string }>`select * from people`, (people) =>
          people[0]?.firstName === undefined ? Number.NaN : people.length
        )
      )
    ),
  validate: (count) => {
    if (count !== rows) throw new Error(`${count} rows`)
  },
  teardown: close
}
export default contestant
