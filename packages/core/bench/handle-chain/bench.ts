import type { Question } from "../../../../scripts/bench/Contestant.js"

const question: Question = {
  question: "What does a call through a handle cost that takes some steps and never suspends, in a generator?",
  baseline: "direct",
  doesNotShow: "Longer calls, for which the same guard is a smaller part."
}
export default question
