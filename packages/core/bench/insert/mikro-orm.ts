import { insert } from "../contest.js"
import { mikroorm } from "../ways/mikroorm.js"

export default insert(mikroorm)
