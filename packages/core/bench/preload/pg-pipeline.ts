import { preload } from "../contest.js"
import { pipelined } from "../ways/pg.js"

export default preload(pipelined)
