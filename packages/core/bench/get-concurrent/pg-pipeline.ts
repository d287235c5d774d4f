import { concurrent } from "../contest.js"
import { pipelined } from "../ways/pg.js"

export default concurrent(pipelined)
