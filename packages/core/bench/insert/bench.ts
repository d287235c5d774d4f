import type { Question } from "../../../../scripts/bench/Contestant.js"
import { settled } from "../settled.js"

const question: Question = {
  question: "What does inserting one row of five columns cost, one after the other, with the row that was inserted?",
  baseline: "pg",
  doesNotShow: "A network, or a disk that is waited for: the server does not.",
  ...settled
}
export default question
