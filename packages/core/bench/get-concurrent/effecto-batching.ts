import { concurrent } from "../contest.js"
import { batching } from "../ways/effecto.js"

export default concurrent(batching)
