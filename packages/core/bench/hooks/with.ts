import { Repo, Table } from "@effecto/core"
import { Effect } from "effect"
import type { Contestant } from "../../../../scripts/bench/Contestant.js"
import { Entries } from "../rows.js"
import { type Inserting, inserting } from "../ways/inserting.js"

const Hooked = Entries.pipe(
  Table.hooks({ beforeInsert: (row) => Effect.succeed(row), afterInsert: (row) => Effect.succeed(row) })
)

const contestant: Contestant<Inserting, number> = inserting((row) => Repo.insert(Hooked, row))
export default contestant
