import { concurrent } from "../contest.js"
import { kysely } from "../ways/kysely.js"

export default concurrent(kysely)
