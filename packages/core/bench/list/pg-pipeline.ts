import { list } from "../contest.js"
import { pipelined } from "../ways/pg.js"

export default list(pipelined)
