import { update } from "../contest.js"
import { mikroorm } from "../ways/mikroorm.js"

export default update(mikroorm)
