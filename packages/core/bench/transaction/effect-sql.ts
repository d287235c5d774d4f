import { transaction } from "../contest.js"
import { byHand } from "../ways/effect.js"

export default transaction(byHand)
