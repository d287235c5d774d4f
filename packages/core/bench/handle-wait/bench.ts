import type { Question } from "../../../../scripts/bench/Contestant.js"

const question: Question = {
  question: "What does a call through a handle cost that gives way once, and so has to be guarded?",
  baseline: "direct",
  doesNotShow: "Many callers at once, or a wait of any length."
}
export default question
