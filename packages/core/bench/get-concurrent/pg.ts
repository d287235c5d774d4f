import { concurrent } from "../contest.js"
import { plain } from "../ways/pg.js"

export default concurrent(plain)
