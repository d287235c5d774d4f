import type { Question } from "../../../../scripts/bench/Contestant.js"

const question: Question = {
  question:
    "What does a hit cost among 1,000,000 entries, against among 1,000, beside what it costs a native Map more?",
  baseline: "map-1k",
  doesNotShow:
    "Keys that are all read alike: these are Zipf's, of which the processor's caches hold the hottest however many there are."
}
export default question
