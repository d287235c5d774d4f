import { update } from "../contest.js"
import { pipelined } from "../ways/pg.js"

export default update(pipelined)
