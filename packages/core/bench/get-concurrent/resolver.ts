import { concurrent } from "../contest.js"
import { resolver } from "../ways/effect.js"

export default concurrent(resolver)
