import type { Question } from "../../../../scripts/bench/Contestant.js"
import { settled } from "../settled.js"

const question: Question = {
  question: "What does reading a thousand rows of seven columns cost, as instances of their model?",
  baseline: "pg",
  doesNotShow:
    "Transformed fields (dates, options), wider rows, or a network; the driver's and raw @effect/sql's rows are no instances.",
  ...settled
}
export default question
