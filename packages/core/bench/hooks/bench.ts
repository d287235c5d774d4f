import type { Question } from "../../../../scripts/bench/Contestant.js"
import { settled } from "../settled.js"

const question: Question = {
  question: "What do one hook before and one after an insert cost, inside of an open transaction?",
  baseline: "without",
  doesNotShow: "What the hooks themselves do: these do nothing; a transaction that has to be opened for them.",
  ...settled
}
export default question
