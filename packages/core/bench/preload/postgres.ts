import { preload } from "../contest.js"
import { postgres } from "../ways/postgres.js"

export default preload(postgres)
