import { get } from "../contest.js"
import { postgres } from "../ways/postgres.js"

export default get(postgres)
