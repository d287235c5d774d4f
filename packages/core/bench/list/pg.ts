import { list } from "../contest.js"
import { plain } from "../ways/pg.js"

export default list(plain)
