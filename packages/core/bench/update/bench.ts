import type { Question } from "../../../../scripts/bench/Contestant.js"
import { settled } from "../settled.js"

const question: Question = {
  question: "What does updating one row by its key cost, one after the other, with the row as it is then?",
  baseline: "pg",
  doesNotShow:
    "A network, or a disk that is waited for: the server does not; a repository of @effect/sql writes all columns.",
  ...settled
}
export default question
