import { get } from "../contest.js"
import { plain } from "../ways/pg.js"

export default get(plain)
