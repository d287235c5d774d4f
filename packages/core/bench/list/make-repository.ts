import { list } from "../contest.js"
import { repository } from "../ways/effect.js"

export default list(repository)
