import { preload } from "../contest.js"
import { typeorm } from "../ways/typeorm.js"

export default preload(typeorm)
