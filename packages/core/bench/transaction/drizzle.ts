import { transaction } from "../contest.js"
import { drizzle } from "../ways/drizzle.js"

export default transaction(drizzle)
