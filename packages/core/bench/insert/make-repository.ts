import { insert } from "../contest.js"
import { repository } from "../ways/effect.js"

export default insert(repository)
