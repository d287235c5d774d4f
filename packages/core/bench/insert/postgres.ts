import { insert } from "../contest.js"
import { postgres } from "../ways/postgres.js"

export default insert(postgres)
