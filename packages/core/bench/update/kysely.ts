import { update } from "../contest.js"
import { kysely } from "../ways/kysely.js"

export default update(kysely)
