import { concurrent } from "../contest.js"
import { byHand } from "../ways/effect.js"

export default concurrent(byHand)
