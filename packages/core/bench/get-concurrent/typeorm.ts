import { concurrent } from "../contest.js"
import { typeorm } from "../ways/typeorm.js"

export default concurrent(typeorm)
