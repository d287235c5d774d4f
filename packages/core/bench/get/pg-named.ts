import { get } from "../contest.js"
import { named } from "../ways/pg.js"

export default get(named)
