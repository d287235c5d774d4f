import { get } from "../contest.js"
import { kysely } from "../ways/kysely.js"

export default get(kysely)
