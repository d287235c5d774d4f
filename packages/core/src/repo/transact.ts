/**
 * How a transaction begins and ends.
 *
 * The effect runs interruptibly between two parts that are not: taking a connection and BEGIN before it; COMMIT or ROLLBACK, the connection's way
 * back and the registered work after it. So "committed", "reported as committed" and "after-commit work ran" are one thing, whatever is
 * interrupted when.
 */
import { Duration, Effect, Exit, Schedule } from "effect"
import { millisOf, noDuration, shown } from "../durations.js"
import { uninterruptibleMask } from "../primitives.js"
import { type Database, foreignConnection } from "./database.js"
import { discard } from "./driver.js"
import {
  announcing,
  commit,
  control,
  type Ending,
  endedByItself,
  limit,
  over,
  reported,
  rollback,
  rolledBack
} from "./ending.js"
import { currentFrame, Frame, frameOf, Session, type Transaction } from "./frame.js"
import { lived, type Opening } from "./framelife.js"
import { hookState } from "./hookstate.js"
import type { Reserved } from "./lending.js"
import { limitsText } from "./limits.js"
import { isStale } from "./prepared.js"
import {
  CommitFailed,
  DbError,
  SerializationFailure,
  ServerAnswer,
  type StatementError,
  TransactionTimeout
} from "./RepoError.js"
import { join, savepoint } from "./savepoint.js"
import { answerOf, statementError } from "./sqlstate.js"
import { unknownOption, unknownWord } from "./word.js"

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
  /**
   * PostgreSQL's own limit for each statement, COMMIT with its deferred constraints included: a `DbError` with the code 57014. That of a savepoint holds
   * until its end; one that joins another transaction has none of its own, and is refused with `DbError`.
   */
  readonly statementTimeout?: Duration.DurationInput | undefined
  /** PostgreSQL's own limit for each wait for a lock: a `DbError` with the code 55P03. Inside of another transaction like `statementTimeout`. */
  readonly lockTimeout?: Duration.DurationInput | undefined
}

/**
 * What every outermost transaction of a Repo gets, unless it asks for something else itself: also those that the Repo opens for a write and its hooks.
 *
 * @since 0.1.0
 * @category models
 */
export interface TransactionDefaults extends Pick<TransactOptions, "isolation" | "statementTimeout" | "lockTimeout"> {}

const completed = (options: TransactOptions, defaults: TransactionDefaults | undefined): TransactOptions =>
  defaults === undefined
    ? options
    : {
        ...options,
        isolation: options.isolation ?? defaults.isolation,
        statementTimeout: options.statementTimeout ?? defaults.statementTimeout,
        lockTimeout: options.lockTimeout ?? defaults.lockTimeout
      }

/**
 * What a timeout adds to the errors of a transaction.
 *
 * @since 0.1.0
 * @category models
 */
export type TimeoutError<O> = [O["timeout" & keyof O]] extends [undefined] ? never : TransactionTimeout

/** What a transaction itself adds to the errors of its effect. */
export type TransactError = CommitFailed | StatementError

const isolations: ReadonlyArray<unknown> = ["read committed", "repeatable read", "serializable"]

/** BEGIN with its options: all of them are ours, none is a user's text. */
const beginText = (options: TransactOptions): string =>
  [
    "begin",
    options.isolation === undefined ? "" : ` isolation level ${options.isolation}`,
    options.readOnly === undefined ? "" : options.readOnly ? " read only" : " read write",
    options.deferrable === undefined ? "" : options.deferrable ? " deferrable" : " not deferrable",
    limitsText(options)
  ].join("")

const durations = ["timeout", "statementTimeout", "lockTimeout"] as const

const wrongRetry = ({ base = 0, times }: NonNullable<TransactOptions["retry"]>): string | undefined => {
  const millis = millisOf(base)
  if (millis === undefined) return noDuration("retry.base", base)
  if (!Number.isFinite(millis)) return "retry.base is not a finite duration"
  return Number.isSafeInteger(times) && times >= 0
    ? undefined
    : `retry.times is ${shown(times)}; it has to be an integer from 0 up`
}

/** What is wrong with options: those that were forced past their types would be words in the text of a statement. */
const wrongOption = (options: TransactOptions): string | undefined => {
  const { isolation, nested, retry } = options
  const unknown =
    unknownOption("a transaction", options, names) ??
    (retry === undefined ? undefined : unknownOption("the retry of a transaction", retry, retryNames))
  if (unknown !== undefined) return unknown
  if (isolation !== undefined && !isolations.includes(isolation)) return unknownWord("isolation", isolation, isolations)
  if (nested !== undefined && !nestings.includes(nested)) return unknownWord("nested", nested, nestings)
  for (const name of durations) {
    const duration = options[name]
    if (duration !== undefined && millisOf(duration) === undefined) return noDuration(name, duration)
  }
  return retry === undefined ? undefined : wrongRetry(retry)
}

const names: ReadonlySet<string> = new Set<keyof TransactOptions>([
  "isolation",
  "readOnly",
  "deferrable",
  "nested",
  "retry",
  "timeout",
  "statementTimeout",
  "lockTimeout"
])
const retryNames: ReadonlySet<string> = new Set<keyof NonNullable<TransactOptions["retry"]>>(["times", "base"])

const nestings: ReadonlyArray<unknown> = ["savepoint", "join", "forbid"]

const outermost = <A, E, R>(
  database: Database,
  self: Effect.Effect<A, E, R>,
  options: TransactOptions,
  opening: Opening,
  /** What is run in it is one statement, which BEGIN may be sent with: its failure is that of the same call. */
  isOneStatement: boolean
): Effect.Effect<A, E | TransactError, R> => {
  const text = beginText(options)
  // Several statements do not go with another one.
  const waits = isOneStatement && !text.includes(";")
  const begin = (reserved: Reserved) =>
    waits
      ? Effect.void
      : Effect.onError(control(reserved.connection, text, limit), () =>
          Effect.zipRight(discard(reserved.connection), reserved.giveBack)
        )
  const begun = (reserved: Reserved) => {
    const session = new Session(database, reserved.connection)
    session.patience = reserved.patience
    if (waits) session.beginsWith(text)
    const frame = new Frame(session, undefined, currentFrame(opening.context), 0, undefined, opening.opener)
    const end = (exit: Exit.Exit<A, E | StatementError>): Effect.Effect<Ending> => {
      // It was never begun.
      if (session.unsent !== undefined) return Effect.succeed({ outcome: "rolledBack", failure: undefined })
      // What may have begun since is nobody's: the connection ends with it.
      if (session.isLost) return Effect.as(discard(session.connection), endedByItself())
      if (Exit.isFailure(exit)) return rollback(frame)
      const spoiled = frame.spoiled ?? (session.broken ? "a savepoint could not be rolled back" : undefined)
      return spoiled === undefined
        ? commit(frame)
        : Effect.map(rollback(frame), (): Ending => ({ outcome: "rolledBack", failure: rolledBack(spoiled) }))
    }
    return Effect.flatMap(lived(frame, opening, announcing(frame, self), end), ([exit, { failure, outcome }]) => {
      frame.dropChild()
      frame.leave(outcome === "committed")
      return Effect.zipRight(over(frame, outcome, reserved.giveBack), reported(exit, failure))
    })
  }
  return Effect.flatMap(
    Effect.mapError(Effect.tap(database.take(opening.restore), begin), (error) =>
      statementError(error, "begin a transaction")
    ),
    begun
  )
}

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
  options: TransactOptions,
  isOneStatement = false
): Effect.Effect<A, E | TransactError, Exclude<R, Transaction>> => {
  const wrong = wrongOption(options) ?? wrongOption(database.options.transactions ?? {})
  if (wrong !== undefined) return Effect.die(new TypeError(wrong))
  const body = limited(self, options.timeout)
  const once = uninterruptibleMask((restore) =>
    Effect.withFiberRuntime<A, E | TransactError, R>((fiber) => {
      const context = fiber.currentContext
      const parent = frameOf(context, database.client)
      const opening = { context, fiber, restore, opener: fiber.getFiberRef(hookState).guarded }
      if (parent === undefined) {
        if (foreignConnection(context) === undefined) {
          const chosen = completed(options, database.options.transactions)
          return database.ground === undefined
            ? outermost(database, body, chosen, opening, isOneStatement)
            : savepoint(database.ground, body, chosen, opening)
        }
        return misuse(
          "it is inside of a withTransaction of @effect/sql's own client, whose end cannot be observed. Use the SqlClient that Repo.layer provides for both."
        )
      }
      switch (options.nested) {
        case "join":
          return limitsText(options) === ""
            ? join(parent, restore(body))
            : misuse(
                'a statementTimeout or lockTimeout was asked for, with nested: "join": the transaction that it joins is that of others too. Give it to the outermost transaction, or be a savepoint of that.'
              )
        case "forbid":
          return misuse('a transaction is open, and nested: "forbid" was asked for.')
        default:
          return savepoint(parent, body, options, opening)
      }
    })
  )
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
  commitFailed: (failure: CommitFailed) => F,
  isOneStatement = false
): Effect.Effect<A, E | F | StatementError, Exclude<R, Transaction>> =>
  Effect.mapError(
    transactOn(
      database,
      Effect.mapError(self, (error) => new FromInside(error)),
      {},
      isOneStatement
    ),
    (error) => (error instanceof FromInside ? error.error : error instanceof CommitFailed ? commitFailed(error) : error)
  )
