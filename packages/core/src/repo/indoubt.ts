/** Whether a write that failed has done nothing: a failure alone does not say so. */
import { SqlError } from "@effect/sql"
import { CommitFailed, DbError, ServerAnswer } from "./RepoError.js"
import { answerOf, isAnswered, wasNeverSent } from "./sqlstate.js"

/** Of a statement that was sent, and whose end nobody was told. */
const isUnanswered = (answer: unknown): boolean =>
  answer instanceof ServerAnswer && !isAnswered(answer) && !wasNeverSent(answer)

/**
 * Says whether a write that failed with this may have been done all the same: its connection was lost on the way, the COMMIT around it was not answered, or
 * what it wrote could not be read. Of what is no failure of the database it says `false`.
 *
 * What a Repo writes inside of a transaction whose connection is lost before COMMIT is not in doubt: nothing of that is kept.
 *
 * @since 0.1.0
 * @category guards
 */
export const isInDoubt = (error: unknown): boolean => {
  if (error instanceof CommitFailed) return error.outcome === "unknown"
  if (error instanceof DbError)
    return error.kind === "connection" ? !error.retryable : error.kind === "decode" || isUnanswered(error.cause)
  // What we refuse to send comes as a DbError within.
  return error instanceof SqlError.SqlError && !(error.cause instanceof DbError) && isUnanswered(answerOf(error))
}
