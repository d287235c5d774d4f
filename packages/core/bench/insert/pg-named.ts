import { insert } from "../contest.js"
import { named } from "../ways/pg.js"

export default insert(named)
