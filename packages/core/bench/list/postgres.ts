import { list } from "../contest.js"
import { postgres } from "../ways/postgres.js"

export default list(postgres)
