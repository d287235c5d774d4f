import { preload } from "../contest.js"
import { resolver } from "../ways/effect.js"

export default preload(resolver)
