import type { Question } from "../../../../scripts/bench/Contestant.js"

const question: Question = {
  question: "What does a hit cost that is run by itself, with runPromise?",
  baseline: "effect-cache",
  doesNotShow: "Reads in a generator (see hit), misses, or eviction."
}
export default question
