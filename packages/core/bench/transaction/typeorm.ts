import { transaction } from "../contest.js"
import { typeorm } from "../ways/typeorm.js"

export default transaction(typeorm)
