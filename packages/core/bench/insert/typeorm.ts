import { insert } from "../contest.js"
import { typeorm } from "../ways/typeorm.js"

export default insert(typeorm)
