import { update } from "../contest.js"
import { drizzle } from "../ways/drizzle.js"

export default update(drizzle)
