import { insert } from "../contest.js"
import { pipelined } from "../ways/pg.js"

export default insert(pipelined)
