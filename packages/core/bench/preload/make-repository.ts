import { preload } from "../contest.js"
import { repository } from "../ways/effect.js"

export default preload(repository)
