import { transaction } from "../contest.js"
import { named } from "../ways/pg.js"

export default transaction(named)
