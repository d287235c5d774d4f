/** Transactions inside of others: savepoints, and those that take part in the one around them. */
import type { SqlConnection } from "@effect/sql"
import { Cause, Effect, Exit } from "effect"
import { execute } from "./driver.js"
import {
  announcing,
  commitFailure,
  control,
  dropOpenChild,
  type Ending,
  endedByItself,
  limit,
  over,
  reported,
  rolledBack,
  swallowed
} from "./ending.js"
import { currentFrame, Frame, type Outcome } from "./frame.js"
import { lived, type Opening } from "./framelife.js"
import { formerLimitsText, type Limits, nestedLimitsText } from "./limits.js"
import { ServerAnswer, TransactionClosed } from "./RepoError.js"
import { answerOf, statementError } from "./sqlstate.js"
import { observed, transactionSource } from "./statementlog.js"
import type { TransactError } from "./transact.js"
import { holding } from "./turns.js"

/** Has PostgreSQL look at deferred constraints as COMMIT would, and leaves their rule as it was. */
const lookAtConstraints =
  "savepoint effecto_commit; set constraints all immediate; rollback to savepoint effecto_commit"

/** Opens it, and gives what brings back the limits that held before it, if it has its own. */
const opened = (connection: SqlConnection.Connection, name: string, limits: Limits) => {
  const begin = `savepoint ${name}`
  const own = nestedLimitsText(limits)
  if (own === "") return Effect.as(control(connection, begin, limit), "")
  const text = `${begin}${own}`
  return Effect.map(
    observed(execute(connection, text, [], limit), transactionSource, text, undefined),
    formerLimitsText
  )
}

/**
 * A savepoint: fails alone, and hands what waits for the commit to the transaction around it when it succeeds. In a sandbox, that of an outermost
 * transaction stands for it: its end is reported as COMMIT's would be, and what waits for the commit is done.
 */
export const savepoint = <A, E, R>(
  parent: Frame,
  self: Effect.Effect<A, E, R>,
  limits: Limits,
  opening: Opening
): Effect.Effect<A, E | TransactError, R> => {
  const isOutermost = parent === parent.session.database.ground
  const { session } = parent
  const name = session.nextSavepoint()
  // Between the two there may be a transaction of another client.
  const innermost = currentFrame(opening.context)
  const enclosing = innermost === parent ? parent.enclosing : innermost
  const frame = new Frame(session, isOutermost ? undefined : parent, enclosing, parent.depth + 1, name, opening.opener)
  let outcome: Outcome = "rolledBack"
  let former = ""
  const leave = (kept: boolean) => {
    outcome = kept ? "committed" : "rolledBack"
    frame.leave(kept)
    if (parent.child === frame) parent.child = undefined
  }
  const closed = new TransactionClosed({ operation: "open a savepoint", reason: "ended" })
  const open = holding(
    parent,
    false,
    opening.restore,
    Effect.mapError(opened(session.connection, name, limits), (error) =>
      statementError(error, "open a savepoint")
    ).pipe(
      Effect.flatMap((before) => {
        former = before
        if (!parent.isOpen) return Effect.fail(closed)
        parent.child = frame
        return Effect.void
      })
    ),
    Effect.fail(closed)
  )
  const undo = Effect.catchAll(
    control(session.connection, `rollback to savepoint ${name}; release savepoint ${name}`, limit),
    () =>
      Effect.sync(() => {
        session.broken = true
      })
  ).pipe(
    Effect.zipRight(
      Effect.sync(() => {
        frame.dropChild()
        leave(false)
      })
    )
  )
  const keep: Effect.Effect<Ending["failure"]> = dropOpenChild(frame).pipe(
    Effect.zipRight(isOutermost ? control(session.connection, lookAtConstraints, undefined) : Effect.void),
    Effect.flatMap(() => control(session.connection, `${former}release savepoint ${name}`, limit)),
    Effect.map(() => {
      leave(true)
      return undefined
    }),
    Effect.catchAll((error) => {
      const answer = answerOf(error)
      if (isOutermost && answer instanceof ServerAnswer && answer.constraint !== undefined)
        return Effect.as(undo, commitFailure(error).failure)
      const reason = answer instanceof ServerAnswer && answer.code === "25P02" ? swallowed : answer.message
      const code = answer instanceof ServerAnswer ? answer.code : undefined
      return Effect.as(undo, rolledBack(reason, code, answer))
    })
  )
  const end = (exit: Exit.Exit<unknown, unknown>): Effect.Effect<Ending["failure"]> => {
    if (frame.isAbandoned) {
      leave(false)
      return Effect.succeed(rolledBack("the transaction around it ended before it did"))
    }
    if (session.isLost) {
      // What becomes of it is for the outermost to say, which does not know either.
      leave(true)
      outcome = "unknown"
      return Effect.succeed(endedByItself().failure)
    }
    if (Exit.isFailure(exit)) return Effect.as(undo, undefined)
    const { spoiled } = frame
    return spoiled === undefined ? keep : Effect.as(undo, rolledBack(spoiled))
  }
  return Effect.flatMap(
    Effect.zipRight(open, lived(frame, opening, isOutermost ? announcing(frame, self) : self, end)),
    ([exit, failure]) =>
      Effect.zipRight(isOutermost ? over(frame, outcome, Effect.void) : Effect.void, reported(exit, failure))
  )
}

/** Takes part in the transaction around it: a failure that is handled outside leaves nothing to keep all the same. */
export const join = <A, E, R>(parent: Frame, self: Effect.Effect<A, E, R>): Effect.Effect<A, E | TransactError, R> =>
  parent.isOpen
    ? Effect.onError(self, (cause) =>
        Effect.sync(() => {
          parent.spoiled ??= Cause.isInterruptedOnly(cause)
            ? "a transaction that joined this one was interrupted"
            : "a transaction that joined this one failed"
        })
      )
    : Effect.fail(new TransactionClosed({ operation: "join a transaction", reason: "ended" }))
