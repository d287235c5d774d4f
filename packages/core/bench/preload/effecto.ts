import { preload } from "../contest.js"
import { effecto } from "../ways/effecto.js"

export default preload(effecto)
