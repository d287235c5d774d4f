import { Repo } from "@effecto/core"
import { Effect } from "effect"
import type { Contestant } from "../../../../scripts/bench/Contestant.js"
import { close, type DatabaseWithRepo, databaseWithRepo, People, Person, rows } from "../rows.js"

const contestant: Contestant<DatabaseWithRepo, number> = {
  setup: databaseWithRepo,
  ops: 1,
  run: ({ runtime }) =>
    runtime.runPromise(
      Effect.map(Repo.all(People), (people) => (people[0] instanceof Person ? people.length : Number.NaN))
    ),
  validate: (count) => {
    if (count !== rows) throw new Error(`${count} rows`)
  },
  teardown: close
}
export default contestant
