/**
 * How a transaction begins and ends.
 *
 * The effect runs interruptibly between two parts that are not: taking a connection and BEGIN before it; COMMIT or ROLLBACK, the connection's way
 * back and the registered work after it. So "committed", "reported as committed" and "after-commit work ran" are one thing, whatever is
 * interrupted when.
 *
 * COMMIT is not believed until its command tag is read: PostgreSQL answers ROLLBACK, without any error, when a statement of the transaction had
 * failed and the program went on regardless.
 */
import { SqlClient, type SqlConnection } from "@effect/sql"
import { Cause, Context, Duration, Effect, Exit, FiberRef, Schedule } from "effect"
import { type Answer, holding } from "./connection.js"
import { type Database, foreignConnection } from "./database.js"
import { discard, execute, outsideReason } from "./driver.js"
import { currentFrame, Frame, frameOf, type Outcome, type Registration, Session, Transaction } from "./frame.js"
import { type Guarded, hookState } from "./hookstate.js"
import type { Reserved } from "./lending.js"
import { isStale } from "./prepared.js"
import {
  CommitFailed,
  DbError,
  SerializationFailure,
  ServerAnswer,
  type StatementError,
  TransactionClosed,
  TransactionTimeout
} from "./RepoError.js"
import { answerOf, classified, isConnectionProblem, statementError, wasNeverSent } from "./sqlstate.js"
import { observed, transactionSource } from "./statementlog.js"
import { unknownWord } from "./word.js"

/**
 * How strictly concurrent transactions are kept apart. PostgreSQL's default is `"read committed"`.
 *
 * @since 0.1.0
 * @category models
 */
export type Isolation = "read committed" | "repeatable read" | "serializable"

/**
 * What a transaction may be asked for. Isolation, `readOnly` and `deferrable` count for the outermost transaction only.
 *
 * @since 0.1.0
 * @category models
 */
export interface TransactOptions {
  readonly isolation?: Isolation | undefined
  readonly readOnly?: boolean | undefined
  readonly deferrable?: boolean | undefined
  /**
   * Inside of another transaction: `"savepoint"` (the default) fails alone, `"join"` takes part in the outer one and spoils it when it fails, `"forbid"`
   * fails with `DbError` at once.
   */
  readonly nested?: "savepoint" | "join" | "forbid" | undefined
  /**
   * Runs the whole effect again after a serialization failure or a deadlock, up to `times` times, after about `base` (20 ms), twice that, and so on. Only the
   * outermost transaction does; work registered by an attempt that failed is dropped.
   */
  readonly retry?: { readonly times: number; readonly base?: Duration.DurationInput | undefined } | undefined
  /**
   * For how long the effect may run, each time it does: then it is interrupted, all of it is rolled back, and `transact` fails with `TransactionTimeout`.
   * Waiting for a connection and COMMIT are not part of it.
   */
  readonly timeout?: Duration.DurationInput | undefined
  /** PostgreSQL's own limit for each statement, COMMIT with its deferred constraints included: a `DbError` with the code 57014. */
  readonly statementTimeout?: Duration.DurationInput | undefined
  /** PostgreSQL's own limit for each wait for a lock: a `DbError` with the code 55P03. */
  readonly lockTimeout?: Duration.DurationInput | undefined
}

/**
 * What a timeout adds to the errors of a transaction.
 *
 * @since 0.1.0
 * @category models
 */
export type TimeoutError<O> = [O["timeout" & keyof O]] extends [undefined] ? never : TransactionTimeout

export type Restore = <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>

/** Ending a frame is not interruptible, waiting for its turn included. */
export const stay: Restore = (self) => self

/** What a transaction itself adds to the errors of its effect. */
export type TransactError = CommitFailed | StatementError

/**
 * How long PostgreSQL may take for what begins a transaction or undoes it, in milliseconds of real time: it has nothing to wait for there, so no
 * answer means that there is no server any more. Then the connection is destroyed, and whoever is left of the server rolls back.
 */
export const limit = 5000

export const control = (connection: SqlConnection.Connection, text: string, within: number | undefined) =>
  observed(execute(connection, text, [], within), transactionSource, text, undefined)

const isolations: ReadonlyArray<unknown> = ["read committed", "repeatable read", "serializable"]

/** BEGIN with its options: all of them are ours, none is a user's text. */
const beginText = (options: TransactOptions): string =>
  [
    "begin",
    options.isolation === undefined ? "" : ` isolation level ${options.isolation}`,
    options.readOnly === undefined ? "" : options.readOnly ? " read only" : " read write",
    options.deferrable === undefined ? "" : options.deferrable ? " deferrable" : " not deferrable",
    localLimit("statement_timeout", options.statementTimeout),
    localLimit("lock_timeout", options.lockTimeout)
  ].join("")

/** The longest that PostgreSQL can be told, about 25 days. */
const longest = 2 ** 31 - 1

const localLimit = (setting: string, duration: Duration.DurationInput | undefined): string => {
  if (duration === undefined) return ""
  const millis = Duration.toMillis(duration)
  // Zero would be no limit at all.
  return `; set local ${setting} = ${Number.isFinite(millis) ? Math.min(longest, Math.max(1, Math.floor(millis))) : 0}`
}

/** What is wrong with options that were forced past their types: their words go into the text of a statement. */
const wrongOption = ({ isolation, nested }: TransactOptions): string | undefined =>
  isolation !== undefined && !isolations.includes(isolation)
    ? unknownWord("isolation", isolation, isolations)
    : nested !== undefined && !nestings.includes(nested)
      ? unknownWord("nested", nested, nestings)
      : undefined

const nestings: ReadonlyArray<unknown> = ["savepoint", "join", "forbid"]

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

/** A context whose statements belong to this frame. */
export const within = (context: Context.Context<never>, frame: Frame): Context.Context<never> =>
  context.pipe(
    Context.add(Transaction, frame),
    // What @effect/sql's own statements, and a client that was not made by us, look for.
    Context.add(SqlClient.TransactionConnection, [frame.session.database.channelOf(frame), frame.depth] as const)
  )

/** The effect, inside of the frame. */
const inside = <A, E, R>(frame: Frame, context: Context.Context<never>, self: Effect.Effect<A, E, R>) =>
  Effect.locally(self, FiberRef.currentContext, within(context, frame))

const rolledBack = (reason: string, code?: string, cause?: unknown) =>
  new CommitFailed({ code, outcome: "rolledBack", reason, cause })

/** What became of COMMIT: nothing to report, or why not. */
type Ending = { readonly outcome: Outcome; readonly failure: CommitFailed | SerializationFailure | undefined }

const commitFailure = (error: unknown): Ending => {
  const answer = answerOf(error)
  if (answer instanceof TransactionClosed) return { outcome: "rolledBack", failure: rolledBack(answer.message) }
  if (wasNeverSent(answer)) {
    const reason = `the connection to PostgreSQL was lost before it could commit (${answer.message})`
    return { outcome: "rolledBack", failure: rolledBack(reason, undefined, answer) }
  }
  if (answer.code === undefined || isConnectionProblem(answer)) {
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

const swallowed =
  "a statement of this transaction failed and the program went on, so PostgreSQL rolled it back (25P02). Let the failure end the transaction, or wrap the part that may fail in a transact of its own"

/** Rolls back what fibers that outlived this frame had begun below it. */
const dropOpenChild = (frame: Frame) =>
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
const endedByItself = (): Ending => ({
  outcome: "unknown",
  failure: new CommitFailed({ code: undefined, outcome: "unknown", reason: outsideReason, cause: undefined })
})

/** COMMIT has no limit: deferred constraints and other servers that have to confirm may take their time. */
const commit = (frame: Frame): Effect.Effect<Ending> =>
  Effect.zipRight(dropOpenChild(frame), Effect.map(control(frame.session.connection, "commit", undefined), ended)).pipe(
    Effect.catchAll((error) => Effect.succeed(commitFailure(error))),
    // A refusal has ended the transaction. Of a connection whose COMMIT had no answer, nothing is known.
    Effect.tap((ending) => (ending.outcome === "unknown" ? discard(frame.session.connection) : Effect.void))
  )

export const rollback = (frame: Frame): Effect.Effect<Ending> =>
  Effect.as(
    Effect.catchAll(control(frame.session.connection, "rollback", limit), () => discard(frame.session.connection)),
    { outcome: "rolledBack", failure: undefined }
  )

/** What the effect came to, unless it succeeded and its end did not. */
const reported = <A, E, F>(exit: Exit.Exit<A, E>, failure: F | undefined): Exit.Exit<A, E | F> =>
  failure === undefined || Exit.isFailure(exit) ? exit : Exit.fail(failure)

/** An effect, and behind it what is to be done in its transaction before that is committed. */
const announcing = <A, E, R>(frame: Frame, self: Effect.Effect<A, E, R>): Effect.Effect<A, E | StatementError, R> =>
  Effect.tap(self, () =>
    Effect.catchAll(frame.session.database.announcer.beforeCommit(frame.changes) ?? Effect.void, (error) => {
      const failure = statementError(error, "announce what this transaction changed")
      // What was swallowed before is for COMMIT to say.
      return failure._tag === "DbError" && failure.kind === "aborted" ? Effect.void : Effect.fail(failure)
    })
  )

/** What follows the end of an outermost transaction. */
const over = (frame: Frame, outcome: Outcome, giveBack: Effect.Effect<void>): Effect.Effect<void> =>
  Effect.zipRight(
    outcome === "rolledBack" ? Effect.void : frame.session.database.announcer.announceAll(outcome, frame.changes),
    Effect.zipRight(giveBack, runRegistrations(frame.registrations, outcome))
  )

const outermost = <A, E, R>(
  database: Database,
  context: Context.Context<never>,
  self: Effect.Effect<A, E, R>,
  options: TransactOptions,
  restore: Restore,
  opener: Guarded | undefined
): Effect.Effect<A, E | TransactError, R> => {
  const begin = (reserved: Reserved) =>
    Effect.onError(control(reserved.connection, beginText(options), limit), () =>
      Effect.zipRight(discard(reserved.connection), reserved.giveBack)
    )
  const begun = (reserved: Reserved) => {
    const session = new Session(database, reserved.connection)
    const frame = new Frame(session, undefined, currentFrame(context), 0, undefined, opener)
    return Effect.flatMap(Effect.exit(inside(frame, context, restore(announcing(frame, self)))), (exit) => {
      frame.end()
      // Looked at when the connection is ours: until then a statement of another fiber may have been on its way.
      const ending = Effect.suspend(() => {
        // What may have begun since is nobody's: the connection ends with it.
        if (session.isLost) return Effect.as(discard(session.connection), endedByItself())
        if (Exit.isFailure(exit)) return rollback(frame)
        const spoiled = frame.spoiled ?? (session.broken ? "a savepoint could not be rolled back" : undefined)
        return spoiled === undefined
          ? commit(frame)
          : Effect.map(rollback(frame), (): Ending => ({ outcome: "rolledBack", failure: rolledBack(spoiled) }))
      })
      return holding(frame, true, stay, ending, ending).pipe(
        Effect.flatMap(({ failure, outcome }) => {
          frame.dropChild()
          frame.leave(outcome === "committed")
          return Effect.zipRight(over(frame, outcome, reserved.giveBack), reported(exit, failure))
        })
      )
    })
  }
  return Effect.flatMap(
    Effect.mapError(Effect.tap(database.take(restore), begin), (error) => statementError(error, "begin a transaction")),
    begun
  )
}

/** Has PostgreSQL look at deferred constraints as COMMIT would, and leaves their rule as it was. */
const lookAtConstraints =
  "savepoint effecto_commit; set constraints all immediate; rollback to savepoint effecto_commit"

/**
 * A savepoint: fails alone, and hands what waits for the commit to the transaction around it when it succeeds. In a sandbox, that of an outermost
 * transaction stands for it: its end is reported as COMMIT's would be, and what waits for the commit is done.
 */
const savepoint = <A, E, R>(
  parent: Frame,
  context: Context.Context<never>,
  self: Effect.Effect<A, E, R>,
  restore: Restore,
  opener: Guarded | undefined
): Effect.Effect<A, E | TransactError, R> => {
  const isOutermost = parent === parent.session.database.ground
  const { session } = parent
  const name = session.nextSavepoint()
  // Between the two there may be a transaction of another client.
  const innermost = currentFrame(context)
  const enclosing = innermost === parent ? parent.enclosing : innermost
  const frame = new Frame(session, isOutermost ? undefined : parent, enclosing, parent.depth + 1, name, opener)
  let outcome: Outcome = "rolledBack"
  const leave = (kept: boolean) => {
    outcome = kept ? "committed" : "rolledBack"
    frame.leave(kept)
    if (parent.child === frame) parent.child = undefined
  }
  const closed = new TransactionClosed({ operation: "open a savepoint", reason: "ended" })
  const open = holding(
    parent,
    false,
    restore,
    Effect.mapError(control(session.connection, `savepoint ${name}`, limit), (error) =>
      statementError(error, "open a savepoint")
    ).pipe(
      Effect.flatMap(() => {
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
  const keep: Effect.Effect<CommitFailed | SerializationFailure | undefined> = dropOpenChild(frame).pipe(
    Effect.zipRight(isOutermost ? control(session.connection, lookAtConstraints, undefined) : Effect.void),
    Effect.zipRight(control(session.connection, `release savepoint ${name}`, limit)),
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
  return Effect.zipRight(
    open,
    Effect.flatMap(
      Effect.exit(inside(frame, context, restore(isOutermost ? announcing(frame, self) : self))),
      (exit) => {
        frame.end()
        const ending: Effect.Effect<CommitFailed | SerializationFailure | undefined> = Effect.suspend(() => {
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
        })
        const after = Effect.suspend(() => (isOutermost ? over(frame, outcome, Effect.void) : Effect.void))
        return Effect.flatMap(holding(frame, true, stay, ending, ending), (failure) =>
          Effect.zipRight(after, reported(exit, failure))
        )
      }
    )
  )
}

/** Takes part in the transaction around it: a failure that is handled outside leaves nothing to keep all the same. */
const join = <A, E, R>(parent: Frame, self: Effect.Effect<A, E, R>): Effect.Effect<A, E | TransactError, R> =>
  parent.isOpen
    ? Effect.onError(self, (cause) =>
        Effect.sync(() => {
          parent.spoiled ??= Cause.isInterruptedOnly(cause)
            ? "a transaction that joined this one was interrupted"
            : "a transaction that joined this one failed"
        })
      )
    : Effect.fail(new TransactionClosed({ operation: "join a transaction", reason: "ended" }))

const misuse = (reason: string) =>
  Effect.fail(
    new DbError({
      operation: "begin a transaction",
      kind: "statement",
      code: undefined,
      retryable: false,
      reason,
      cause: undefined
    })
  )

/** A raw statement's error is not ours yet, but its SQLSTATE says as much. */
const mayBeRetried = (error: unknown): boolean => {
  if (error instanceof SerializationFailure) return true
  const answer = answerOf(error)
  return (
    answer instanceof ServerAnswer &&
    (answer.code === "40001" || answer.code === "40P01" || isStale(answer.code, answer.message))
  )
}

/** An effect that is interrupted when it takes too long. */
const limited = <A, E, R>(self: Effect.Effect<A, E, R>, timeout: Duration.DurationInput | undefined) =>
  timeout === undefined
    ? self
    : Effect.timeoutFail(self, {
        duration: timeout,
        // Sound: a transaction with a timeout has this error in its type.
        onTimeout: () => new TransactionTimeout({ millis: Duration.toMillis(timeout) }) as never
      })

export const transactOn = <A, E, R>(
  database: Database,
  self: Effect.Effect<A, E, R>,
  options: TransactOptions
): Effect.Effect<A, E | TransactError, Exclude<R, Transaction>> => {
  const body = limited(self, options.timeout)
  const once = Effect.uninterruptibleMask((restore) =>
    Effect.withFiberRuntime<A, E | TransactError, R>((fiber) => {
      const context = fiber.currentContext
      const parent = frameOf(context, database.client)
      const opener = fiber.getFiberRef(hookState).guarded
      if (parent === undefined) {
        if (foreignConnection(context) === undefined)
          return database.ground === undefined
            ? outermost(database, context, body, options, restore, opener)
            : savepoint(database.ground, context, body, restore, opener)
        return misuse(
          "it is inside of a withTransaction of @effect/sql's own client, whose end cannot be observed. Use the SqlClient that Repo.layer provides for both."
        )
      }
      switch (options.nested) {
        case "join":
          return join(parent, restore(body))
        case "forbid":
          return misuse('a transaction is open, and nested: "forbid" was asked for.')
        default:
          return savepoint(parent, context, body, restore, opener)
      }
    })
  )
  const wrong = wrongOption(options)
  if (wrong !== undefined) return Effect.die(new TypeError(wrong))
  const { retry } = options
  const attempts =
    retry === undefined
      ? once
      : Effect.withFiberRuntime<A, E | TransactError, R>((fiber) =>
          frameOf(fiber.currentContext, database.client) === undefined
            ? Effect.retry(once, {
                while: mayBeRetried,
                times: retry.times,
                schedule: Schedule.jittered(Schedule.exponential(retry.base ?? "20 millis"))
              })
            : once
        )
  // Sound: `inside` provides the Transaction.
  return attempts as Effect.Effect<A, E | TransactError, Exclude<R, Transaction>>
}

/** What an effect inside of a transaction failed with, told apart from what the transaction itself fails with. */
class FromInside<E> {
  constructor(readonly error: E) {}
}

/** Like {@link transactOn}, with another error for a commit that failed. A CommitFailed that the effect itself fails with stays what it is. */
export const transactFor = <A, E, R, F>(
  database: Database,
  self: Effect.Effect<A, E, R>,
  commitFailed: (failure: CommitFailed) => F
): Effect.Effect<A, E | F | StatementError, Exclude<R, Transaction>> =>
  Effect.mapError(
    transactOn(
      database,
      Effect.mapError(self, (error) => new FromInside(error)),
      {}
    ),
    (error) => (error instanceof FromInside ? error.error : error instanceof CommitFailed ? commitFailed(error) : error)
  )
