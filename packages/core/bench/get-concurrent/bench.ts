import type { Question } from "../../../../scripts/bench/Contestant.js"
import { settled } from "../settled.js"

const question: Question = {
  question: "What do a hundred reads by key cost, all at once, on a pool of ten?",
  baseline: "pg",
  doesNotShow:
    "A network; the driver's rows are no instances; pipelining has one connection only, so that one slow statement holds up all others.",
  ...settled
}
export default question
