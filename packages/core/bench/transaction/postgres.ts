import { transaction } from "../contest.js"
import { postgres } from "../ways/postgres.js"

export default transaction(postgres)
