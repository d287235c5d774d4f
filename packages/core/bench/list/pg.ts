import type { Contestant } from "../../../../scripts/bench/Contestant.js"
import { close, columns, type Database, database, rows } from "../rows.js"

const contestant: Contestant<Database, number> = {
  setup: database,
  ops: 1,
  run: async ({ pool }) => (await pool.query(`select ${columns} from people`)).rows.length,
  validate: (count) => {
    if (count !== rows) throw new Error(`${count} rows`)
  },
  teardown: close
}
export default contestant
