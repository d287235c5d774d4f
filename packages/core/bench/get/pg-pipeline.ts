import { get } from "../contest.js"
import { pipelined } from "../ways/pg.js"

export default get(pipelined)
