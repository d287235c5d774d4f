import type { Question } from "../../../../scripts/bench/Contestant.js"

const question: Question = {
  question: "What does an Effect cost that is a member of a service, through a handle and in a generator?",
  baseline: "direct",
  doesNotShow: "Effects that suspend."
}
export default question
