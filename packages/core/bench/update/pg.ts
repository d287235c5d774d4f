import { update } from "../contest.js"
import { plain } from "../ways/pg.js"

export default update(plain)
