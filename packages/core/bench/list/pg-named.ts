import { list } from "../contest.js"
import { named } from "../ways/pg.js"

export default list(named)
