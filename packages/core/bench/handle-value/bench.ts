import type { Question } from "../../../../scripts/bench/Contestant.js"

const question: Question = {
  question: "What do a function that returns a value and a field cost, through a handle?",
  baseline: "direct",
  doesNotShow:
    "Functions that do anything: a call takes a few nanoseconds, and the handle's own are a multiple of that."
}
export default question
