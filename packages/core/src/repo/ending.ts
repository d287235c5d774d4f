/**
 * What becomes of a transaction, and what is done about it.
 *
 * COMMIT is not believed until its command tag is read: PostgreSQL answers ROLLBACK, without any error, when a statement of the transaction had
 * failed and the program went on regardless.
 */
import type { SqlConnection } from "@effect/sql"
import { Effect, Exit } from "effect"
import type { Restore } from "../primitives.js"
import type { CommitStatement, OnEnd } from "./changes.js"
import type { Answer } from "./connection.js"
import { command, commitWith, discard, NotCommitted, outsideReason } from "./driver.js"
import type { Frame, Outcome, Registration } from "./frame.js"
import { boundStatement } from "./pipeline.js"
import { forgetPrepared, isStale, renamedWhereOutdated } from "./prepared.js"
import {
  CommitFailed,
  SerializationFailure,
  ServerAnswer,
  type StatementError,
  TransactionClosed
} from "./RepoError.js"
import { answerOf, classified, isAnswered, statementError, wasNeverSent } from "./sqlstate.js"
import { count, observed, transactionSource } from "./statementlog.js"

/** Ending a frame is not interruptible, waiting for its turn included. */
export const stay: Restore = (self) => self

/**
 * How long PostgreSQL may take for what begins a transaction or undoes it, in milliseconds of real time: it has nothing to wait for there, so no
 * answer means that there is no server any more. Then the connection is destroyed, and whoever is left of the server rolls back.
 */
export const limit = 5000

export const control = (connection: SqlConnection.Connection, text: string, within: number | undefined) =>
  observed(command(connection, text, within), transactionSource, text, undefined)

export const rolledBack = (reason: string, code?: string, cause?: unknown) =>
  new CommitFailed({ code, outcome: "rolledBack", reason, cause })

/** What became of COMMIT: nothing to report, or why not. */
export type Ending = { readonly outcome: Outcome; readonly failure: CommitFailed | StatementError | undefined }

export const commitFailure = (error: unknown): Ending => {
  const answer = answerOf(error)
  if (answer instanceof TransactionClosed) return { outcome: "rolledBack", failure: rolledBack(answer.message) }
  if (wasNeverSent(answer)) {
    const reason = `the connection to PostgreSQL was lost before it could commit (${answer.message})`
    return { outcome: "rolledBack", failure: rolledBack(reason, undefined, answer) }
  }
  if (!isAnswered(answer)) {
    const said = answer.code === undefined ? answer.message : `${answer.code} ${answer.message}`
    const reason = `the connection to PostgreSQL was lost while it committed (${said})`
    return {
      outcome: "unknown",
      failure: new CommitFailed({ code: answer.code, outcome: "unknown", reason, cause: answer })
    }
  }
  const failure = classified(answer, "commit")
  if (failure instanceof SerializationFailure) return { outcome: "rolledBack", failure }
  const where = answer.table === undefined ? "" : ` on ${answer.table}`
  const reason =
    answer.constraint === undefined
      ? `${answer.message} (${answer.code})`
      : `deferred constraint ${answer.constraint}${where} is not satisfied (${answer.code})`
  return { outcome: "rolledBack", failure: rolledBack(reason, answer.code, answer) }
}

export const swallowed =
  "a statement of this transaction failed and the program went on, so PostgreSQL rolled it back (25P02). Let the failure end the transaction, or wrap the part that may fail in a transact of its own"

/** Rolls back what fibers that outlived this frame had begun below it. */
export const dropOpenChild = (frame: Frame) =>
  Effect.suspend(() =>
    frame.child === undefined
      ? Effect.void
      : Effect.zipRight(
          control(frame.session.connection, `rollback to savepoint ${frame.child.savepoint}`, limit),
          Effect.sync(() => frame.dropChild())
        )
  )

const ended = (raw: unknown): Ending => {
  // Sound: `pg` answers a single statement with one result.
  const { command } = raw as Answer
  return command === "COMMIT"
    ? { outcome: "committed", failure: undefined }
    : {
        outcome: "rolledBack",
        failure: rolledBack(
          swallowed,
          "25P02",
          new ServerAnswer({ message: `COMMIT was answered with ${command}`, code: "25P02" })
        )
      }
}

/** PostgreSQL would answer COMMIT also where there is no transaction. */
export const endedByItself = (): Ending => ({
  outcome: "unknown",
  failure: new CommitFailed({ code: undefined, outcome: "unknown", reason: outsideReason, cause: undefined })
})

/** COMMIT, and with it what it was to be accompanied by. */
const committed = (frame: Frame, ends: Array<(outcome: Outcome) => void>): Effect.Effect<Ending> => {
  let statements: ReadonlyArray<CommitStatement> = []
  return Effect.suspend(() => {
    const { connection, database } = frame.session
    // Now, and not when the effect was done: what was on its way then has been noted since.
    try {
      statements = database.announcer.commitStatements(frame.changes, (listener) => ends.push(listener))
    } catch (problem) {
      const failure = statementError(problem, announcement)
      return Effect.map(rollback(frame), (): Ending => ({ outcome: "rolledBack", failure }))
    }
    if (statements.length === 0) return Effect.map(control(connection, "commit", undefined), ended)
    const before = statements.map((statement) => boundStatement(statement, database.options.prepare))
    for (const _ of before) count(transactionSource)
    const text = [...statements.map(({ text }) => text), "commit"].join("; ")
    return Effect.map(observed(commitWith(connection, before), transactionSource, text, undefined), ended)
  }).pipe(
    Effect.catchAll((error) => {
      if (!(error instanceof NotCommitted)) return Effect.succeed(commitFailure(error))
      const answer = answerOf(error.error)
      if (answer instanceof ServerAnswer && !isAnswered(answer)) return Effect.succeed(commitFailure(error.error))
      const failure = statementError(error.error, announcement)
      // For the next one: this transaction cannot be gone on with.
      if (isStale(answer instanceof ServerAnswer ? answer.code : undefined, answer.message)) forgetPrepared()
      else renamedWhereOutdated(error.error.cause, statements)
      return Effect.map(
        rollback(frame),
        // What was swallowed before is that transaction's failure.
        (): Ending =>
          failure._tag === "DbError" && failure.kind === "aborted"
            ? { outcome: "rolledBack", failure: rolledBack(swallowed, "25P02", answer) }
            : { outcome: "rolledBack", failure }
      )
    })
  )
}

const announcement = "announce what this transaction changed"

/** COMMIT has no limit: deferred constraints and other servers that have to confirm may take their time. */
export const commit = (frame: Frame): Effect.Effect<Ending> =>
  Effect.suspend(() => {
    const ends: Array<(outcome: Outcome) => void> = []
    return Effect.zipRight(dropOpenChild(frame), committed(frame, ends)).pipe(
      Effect.catchAll((error) => Effect.succeed(commitFailure(error))),
      // A refusal has ended the transaction. Of a connection whose COMMIT had no answer, nothing is known.
      Effect.tap(({ outcome }) => {
        for (const end of ends) end(outcome)
        return outcome === "unknown" ? discard(frame.session.connection) : Effect.void
      })
    )
  })

export const rollback = (frame: Frame): Effect.Effect<Ending> =>
  Effect.as(
    Effect.catchAll(control(frame.session.connection, "rollback", limit), () => discard(frame.session.connection)),
    { outcome: "rolledBack", failure: undefined }
  )

/** What the effect came to, unless it succeeded and its end did not. */
export const reported = <A, E, F>(exit: Exit.Exit<A, E>, failure: F | undefined): Exit.Exit<A, E | F> =>
  failure === undefined || Exit.isFailure(exit) ? exit : Exit.fail(failure)

/** Who is to be told of the end of a transaction, in the order of what else waits for it. */
const endOf =
  (frame: Frame): OnEnd =>
  (listener) => {
    frame.registrations.push({
      key: undefined,
      on: (outcome) => Effect.sync(() => listener(outcome)),
      batch: undefined,
      forced: undefined
    })
  }

/** An effect, and behind it what is to be done in its transaction before that is committed. */
export const announcing = <A, E, R>(
  frame: Frame,
  self: Effect.Effect<A, E, R>
): Effect.Effect<A, E | StatementError, R> =>
  Effect.tap(self, () =>
    Effect.catchAll(
      frame.session.database.announcer.beforeCommit(frame.changes, endOf(frame)) ?? Effect.void,
      (error) => {
        const failure = statementError(error, announcement)
        // What was swallowed before is for COMMIT to say.
        return failure._tag === "DbError" && failure.kind === "aborted" ? Effect.void : Effect.fail(failure)
      }
    )
  )

/** What follows the end of an outermost transaction. */
export const over = (frame: Frame, outcome: Outcome, giveBack: Effect.Effect<void>): Effect.Effect<void> =>
  Effect.zipRight(
    outcome === "rolledBack" ? Effect.void : frame.session.database.announcer.announceAll(outcome, frame.changes),
    Effect.zipRight(giveBack, runRegistrations(frame.registrations, outcome))
  )

/** Runs what was registered, in order and each on its own: none of it can change what became of the transaction. */
const runRegistrations = (registrations: ReadonlyArray<Registration>, outcome: Outcome) => {
  if (registrations.length === 0) return Effect.void
  const work: Array<Effect.Effect<void>> = []
  const last = new Map<unknown, number>()
  const batches = new Map<unknown, { readonly items: Array<unknown>; place: number }>()
  for (const registration of registrations) {
    const { batch } = registration
    if (batch !== undefined) {
      if ((registration.forced ?? outcome) !== "committed") continue
      const begun = batches.get(batch.of)
      const items = begun?.items ?? []
      items.push(batch.item)
      // Where its last item stands, and as that one says.
      if (begun !== undefined) work[begun.place] = Effect.void
      batches.set(batch.of, { items, place: work.length })
      work.push(Effect.suspend(() => batch.run(items)))
      continue
    }
    const effect = registration.on(registration.forced ?? outcome)
    if (effect === undefined) continue
    if (registration.key !== undefined) {
      const earlier = last.get(registration.key)
      if (earlier !== undefined) work[earlier] = Effect.void
      last.set(registration.key, work.length)
    }
    work.push(effect)
  }
  return Effect.forEach(
    work,
    (effect) =>
      Effect.catchAllCause(effect, (cause) =>
        Effect.logError(
          "work registered for the end of a transaction failed; the transaction is not changed by it",
          cause
        )
      ),
    { discard: true }
  )
}
