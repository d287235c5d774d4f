import type { Question } from "../../../../scripts/bench/Contestant.js"

const question: Question = {
  question: "What does it cost to start and stop one child of a dynamic supervisor that has a thousand of them?",
  baseline: "scope-worker",
  doesNotShow:
    "Children that do something, or have much to give back; the memory of those that run. A bare Scope or fiber is not watched, restarted or found."
}
export default question
