import type { Contestant } from "../../../../scripts/bench/Contestant.js"
import { close, columns, type Database, database, keys, validateSum } from "../rows.js"

const text = `select ${columns} from people where id = $1`

const contestant: Contestant<Database, number> = {
  setup: database,
  ops: keys.length,
  run: async ({ pool }) => {
    let sum = 0
    for (const key of keys) sum += (await pool.query({ name: "get", text, values: [key] })).rows[0].age
    return sum
  },
  validate: validateSum,
  teardown: close
}
export default contestant
