import { insert } from "../contest.js"
import { byHand } from "../ways/effect.js"

export default insert(byHand)
