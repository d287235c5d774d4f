import type { Question } from "../../../../scripts/bench/Contestant.js"

const question: Question = {
  question: "What does a restart of a service that has a finalizer cost, from its crash until the next instance is up?",
  baseline: "layer",
  doesNotShow:
    "What a log line costs to be written (effecto-logged makes them and drops them), a backoff, a strategy that restarts others, or a finalizer that takes its time.",
  // After a second of it the engine still compiles: the processor works for twice as long as the clock says.
  warmUp: 5_000,
  onTheClock: 1_500
}
export default question
