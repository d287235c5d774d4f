import { preload } from "../contest.js"
import { plain } from "../ways/pg.js"

export default preload(plain)
