import { preload } from "../contest.js"
import { kysely } from "../ways/kysely.js"

export default preload(kysely)
