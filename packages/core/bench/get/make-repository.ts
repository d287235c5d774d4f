import { get } from "../contest.js"
import { repository } from "../ways/effect.js"

export default get(repository)
