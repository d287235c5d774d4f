import { Repo } from "@effecto/core"
import type { Contestant } from "../../../../scripts/bench/Contestant.js"
import { Entries } from "../rows.js"
import { type Inserting, inserting } from "../ways/inserting.js"

const contestant: Contestant<Inserting, number> = inserting((row) => Repo.insert(Entries, row))
export default contestant
