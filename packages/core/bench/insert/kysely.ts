import { insert } from "../contest.js"
import { kysely } from "../ways/kysely.js"

export default insert(kysely)
