import { update } from "../contest.js"
import { repository } from "../ways/effect.js"

export default update(repository)
