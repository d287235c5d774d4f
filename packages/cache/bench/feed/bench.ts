import type { Question } from "../../../../scripts/bench/Contestant.js"
import { variants } from "../writing.js"

const question: Question = {
  question: "What does a write cost more where its change is told to the application's other processes?",
  baseline: "without",
  doesNotShow: "A network, a disk that is waited for, or what the processes do that hear of it.",
  variants,
  // A round trip is a tenth of a millisecond, and the engine takes seconds of them to settle.
  warmUp: 8_000,
  onTheClock: 2_000
}
export default question
