import { list } from "../contest.js"
import { kysely } from "../ways/kysely.js"

export default list(kysely)
