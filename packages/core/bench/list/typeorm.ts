import { list } from "../contest.js"
import { typeorm } from "../ways/typeorm.js"

export default list(typeorm)
