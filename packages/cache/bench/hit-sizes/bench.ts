import type { Question } from "../../../../scripts/bench/Contestant.js"
import { variants } from "../drawn.js"

const question: Question = {
  question:
    "What does a hit cost as a user of each library reads it, by how many entries there are and how keys are drawn?",
  baseline: "lru-cache",
  doesNotShow:
    "Misses and eviction. The lifetimes of Effect's Cache, bentocache, cacheable and async-cache-dedupe do not slide; a fetch of lru-cache, and each of the last three, makes a promise.",
  variants
}
export default question
