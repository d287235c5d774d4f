import { transaction } from "../contest.js"
import { effecto } from "../ways/effecto.js"

export default transaction(effecto)
