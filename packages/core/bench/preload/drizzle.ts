import { preload } from "../contest.js"
import { drizzle } from "../ways/drizzle.js"

export default preload(drizzle)
