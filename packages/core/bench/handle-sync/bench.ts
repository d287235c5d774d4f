import type { Question } from "../../../../scripts/bench/Contestant.js"

const question: Question = {
  question: "What does a call through a handle cost that is answered by Effect.sync, in a generator?",
  baseline: "direct",
  doesNotShow: "Calls from elsewhere than a generator, or what the first call costs."
}
export default question
