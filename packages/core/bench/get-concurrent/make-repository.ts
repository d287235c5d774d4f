import { concurrent } from "../contest.js"
import { repository } from "../ways/effect.js"

export default concurrent(repository)
