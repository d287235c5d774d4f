import type { Question } from "../../../../scripts/bench/Contestant.js"
import { settled } from "../settled.js"

const question: Question = {
  question: "What does reading one row by its key cost, one after the other, as an instance of its model?",
  baseline: "pg",
  doesNotShow: "A network, several callers at once, or what a slow query costs; the driver's rows are no instances.",
  ...settled
}
export default question
