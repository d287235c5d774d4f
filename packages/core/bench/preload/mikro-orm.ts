import { preload } from "../contest.js"
import { mikroorm } from "../ways/mikroorm.js"

export default preload(mikroorm)
