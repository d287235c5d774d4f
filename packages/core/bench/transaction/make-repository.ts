import { transaction } from "../contest.js"
import { repository } from "../ways/effect.js"

export default transaction(repository)
