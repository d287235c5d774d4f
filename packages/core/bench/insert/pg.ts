import { insert } from "../contest.js"
import { plain } from "../ways/pg.js"

export default insert(plain)
