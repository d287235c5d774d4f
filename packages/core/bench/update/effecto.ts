import { update } from "../contest.js"
import { effecto } from "../ways/effecto.js"

export default update(effecto)
