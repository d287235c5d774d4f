import { list } from "../contest.js"
import { byHand } from "../ways/effect.js"

export default list(byHand)
