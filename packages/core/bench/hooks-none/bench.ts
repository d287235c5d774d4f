import type { Question } from "../../../../scripts/bench/Contestant.js"

const question: Question = {
  question: "What does it cost to ask a table for its hooks that has none, as each of the Repo's calls does?",
  baseline: "direct",
  doesNotShow: "The statement: this is all that stands between a call and its statement where there are no hooks."
}
export default question
