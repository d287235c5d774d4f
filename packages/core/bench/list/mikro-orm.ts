import { list } from "../contest.js"
import { mikroorm } from "../ways/mikroorm.js"

export default list(mikroorm)
