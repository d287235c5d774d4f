import { list } from "../contest.js"
import { drizzle } from "../ways/drizzle.js"

export default list(drizzle)
