import type { Question } from "../../../../scripts/bench/Contestant.js"

const question: Question = {
  question: "What does a hit cost through forEach, where no generator can be answered directly?",
  baseline: "effect-cache",
  doesNotShow: "Reads in a generator (see hit), misses, or eviction."
}
export default question
