import type { Question } from "../../../../scripts/bench/Contestant.js"

const question: Question = {
  question: "What does it cost to start and stop one child of a tree that has 1,000, 10,000 or 100,000 of them?",
  baseline: "children-1000",
  doesNotShow:
    "Children that do something, or how long a stop takes that has to wait for finalizers. Those of 100,000 are run once, without warming up."
}
export default question
