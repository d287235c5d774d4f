import { transaction } from "../contest.js"
import { kysely } from "../ways/kysely.js"

export default transaction(kysely)
