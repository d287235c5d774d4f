import { preload } from "../contest.js"
import { byHand } from "../ways/effect.js"

export default preload(byHand)
