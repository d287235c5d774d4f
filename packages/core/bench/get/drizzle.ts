import { get } from "../contest.js"
import { drizzle } from "../ways/drizzle.js"

export default get(drizzle)
