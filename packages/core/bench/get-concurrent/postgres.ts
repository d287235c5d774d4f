import { concurrent } from "../contest.js"
import { postgres } from "../ways/postgres.js"

export default concurrent(postgres)
