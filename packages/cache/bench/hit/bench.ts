import type { Question } from "../../../../scripts/bench/Contestant.js"

const question: Question = {
  question: "What does a hit cost in a generator, with a sliding lifetime, 1,000 entries and Zipf keys?",
  baseline: "lru-cache",
  doesNotShow:
    "Misses, eviction, more entries than a processor's caches hold, or reads outside of a generator (see hit-flatmap, hit-promise)."
}
export default question
