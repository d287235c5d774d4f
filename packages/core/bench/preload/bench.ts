import type { Question } from "../../../../scripts/bench/Contestant.js"
import { settled } from "../settled.js"

const question: Question = {
  question: "What do a hundred rows cost, with the ten rows that belong to each?",
  baseline: "pg",
  doesNotShow: "A network, nesting, or rows that are there already.",
  ...settled
}
export default question
