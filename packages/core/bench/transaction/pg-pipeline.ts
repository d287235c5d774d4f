import { transaction } from "../contest.js"
import { pipelined } from "../ways/pg.js"

export default transaction(pipelined)
