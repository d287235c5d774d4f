import { update } from "../contest.js"
import { named } from "../ways/pg.js"

export default update(named)
