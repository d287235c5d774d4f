import { transaction } from "../contest.js"
import { plain } from "../ways/pg.js"

export default transaction(plain)
