import { concurrent } from "../contest.js"
import { named } from "../ways/pg.js"

export default concurrent(named)
