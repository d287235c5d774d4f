import { list } from "../contest.js"
import { effecto } from "../ways/effecto.js"

export default list(effecto)
