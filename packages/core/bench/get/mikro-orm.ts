import { get } from "../contest.js"
import { mikroorm } from "../ways/mikroorm.js"

export default get(mikroorm)
