import { update } from "../contest.js"
import { postgres } from "../ways/postgres.js"

export default update(postgres)
