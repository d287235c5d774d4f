import { insert } from "../contest.js"
import { drizzle } from "../ways/drizzle.js"

export default insert(drizzle)
