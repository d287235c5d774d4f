import { concurrent } from "../contest.js"
import { drizzle } from "../ways/drizzle.js"

export default concurrent(drizzle)
