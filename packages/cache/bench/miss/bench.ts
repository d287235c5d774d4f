import type { Question } from "../../../../scripts/bench/Contestant.js"

const question: Question = {
  question: "What does a miss cost whose load is trivial, with the entry that it leaves and the clearing of it?",
  baseline: "effect-cache",
  doesNotShow: "Loads that wait, keys that are asked for by several at a time (see stampede), or eviction."
}
export default question
