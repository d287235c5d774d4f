import { get } from "../contest.js"
import { byHand } from "../ways/effect.js"

export default get(byHand)
