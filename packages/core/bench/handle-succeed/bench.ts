import type { Question } from "../../../../scripts/bench/Contestant.js"

const question: Question = {
  question: "What does a call through a handle cost whose Effect is an answer already, in a generator?",
  baseline: "direct",
  doesNotShow: "Calls from elsewhere than a generator, or what the first call costs."
}
export default question
