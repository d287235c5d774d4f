import { insert } from "../contest.js"
import { effecto } from "../ways/effecto.js"

export default insert(effecto)
