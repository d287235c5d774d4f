import { update } from "../contest.js"
import { typeorm } from "../ways/typeorm.js"

export default update(typeorm)
