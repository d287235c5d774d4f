import { transaction } from "../contest.js"
import { mikroorm } from "../ways/mikroorm.js"

export default transaction(mikroorm)
