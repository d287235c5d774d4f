import { update } from "../contest.js"
import { byHand } from "../ways/effect.js"

export default update(byHand)
