import { preload } from "../contest.js"
import { named } from "../ways/pg.js"

export default preload(named)
