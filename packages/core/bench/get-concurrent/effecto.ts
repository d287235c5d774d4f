import { concurrent } from "../contest.js"
import { effecto } from "../ways/effecto.js"

export default concurrent(effecto)
