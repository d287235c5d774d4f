import type { Question } from "../../../../scripts/bench/Contestant.js"

const question: Question = {
  question: "What does a caller cost among 1,000 that ask for one missing key, whose load takes 5 ms?",
  baseline: "each-for-itself",
  doesNotShow: "What 1,000 loads would cost the database, which is the point of having one."
}
export default question
