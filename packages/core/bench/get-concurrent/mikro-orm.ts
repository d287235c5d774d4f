import { concurrent } from "../contest.js"
import { mikroorm } from "../ways/mikroorm.js"

export default concurrent(mikroorm)
