import type { Question } from "../../../../scripts/bench/Contestant.js"
import { settled } from "../settled.js"

const question: Question = {
  question: "What does a transaction cost that takes an advisory lock and updates a row?",
  baseline: "pg",
  doesNotShow: "A lock that is waited for, a network, or a disk that is waited for.",
  ...settled
}
export default question
