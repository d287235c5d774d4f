import { get } from "../contest.js"
import { effecto } from "../ways/effecto.js"

export default get(effecto)
