import { get } from "../contest.js"
import { typeorm } from "../ways/typeorm.js"

export default get(typeorm)
