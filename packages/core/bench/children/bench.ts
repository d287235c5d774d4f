import type { Question } from "../../../../scripts/bench/Contestant.js"

const question: Question = {
  question: "What does it cost to start and stop one child of a tree that has 1,000 or 10,000 of them?",
  baseline: "children-1000",
  doesNotShow:
    "Children that do something, a tree of 100,000, or how long a stop takes that has to wait for finalizers."
}
export default question
