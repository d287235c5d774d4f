/** Whether a write that failed has done nothing: a failure alone does not say so. */
import { SqlError } from "@effect/sql"
import { CommitFailed, DbError, ServerAnswer } from "./RepoError.js"
import { answerOf, isAnswered, wasNeverSent } from "./sqlstate.js"

/** Of a statement that was sent, and whose end nobody was told. */
const isUnanswered = (answer: unknown): boolean =>
  answer instanceof ServerAnswer && !isAnswered(answer) && !wasNeverSent(answer)

/** How far causes are followed: an error may be its own. */
const deepest = 16

/**
 * Says whether a write that failed with this may have been done all the same: its connection was lost on the way, the COMMIT around it was not answered, or
 * what it wrote could not be read. Of what is no failure of the database, and has none as its `cause`, it says `false`.
 *
 * What a Repo writes inside of a transaction whose connection is lost before COMMIT is not in doubt: nothing of that is kept.
 *
 * @since 0.1.0
 * @category guards
 */
export const isInDoubt = (error: unknown): boolean => {
  let at = error
  for (let depth = 0; depth < deepest && typeof at === "object" && at !== null; depth++) {
    if (at instanceof CommitFailed) return at.outcome === "unknown"
    if (at instanceof DbError)
      return at.kind === "connection" ? !at.retryable : at.kind === "decode" || isUnanswered(at.cause)
    // What we refuse to send, and what became of a transaction, comes as an error of ours within.
    if (at instanceof SqlError.SqlError && !(at.cause instanceof DbError || at.cause instanceof CommitFailed))
      return isUnanswered(answerOf(at))
    at = "cause" in at ? at.cause : undefined
  }
  return false
}
