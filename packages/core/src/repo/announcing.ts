/** The one place where a write is announced: when its transaction has been committed, or at once where there is none. */
import { Cause, Effect, Exit, Option } from "effect"
import type { Changed } from "./changes.js"
import { type Database, foreignConnection } from "./database.js"
import { frameOf } from "./frame.js"
import { type CommitFailed, DbError, type StatementError } from "./RepoError.js"
import { transactFor } from "./transact.js"

/** The keys of what was written; `"all"` where they are not known. */
export type Keys = Iterable<unknown> | "all"

/** What a write came to, as far as others may see it: nothing when it certainly did nothing. */
const outcomeOf = <E>(cause: Cause.Cause<E>): "committed" | "unknown" | undefined => {
  const failure = Cause.failureOption(cause)
  // Interrupted, or a defect: the statement may have been faster.
  if (Option.isNone(failure)) return "unknown"
  const error = failure.value
  if (!(error instanceof DbError)) return undefined
  if (error.kind === "decode") return "committed"
  return error.kind === "connection" && !error.retryable ? "unknown" : undefined
}

/**
 * Whether a row can be asked for by this key only. A text may be another one in the database (a uuid in upper case, a citext, a number that is read as a
 * text), and whoever remembers rows does so by the keys that these have.
 */
const hasOneSpelling = (key: unknown): boolean =>
  typeof key === "object" && key !== null
    ? Object.getPrototypeOf(key) === Object.prototype && Object.values(key).every(hasOneSpelling)
    : typeof key === "number" || typeof key === "bigint" || typeof key === "boolean"

/** The keys of the rows that are asked for by these keys, as far as they are known before the database has answered. */
const before = (known: Keys): Keys => {
  if (known === "all") return known
  const keys = [...known]
  return keys.every(hasOneSpelling) ? keys : "all"
}

/**
 * A statement that writes. `known` are the keys it is about, where they are known beforehand; `keysOf` reads them from its result. Free while nobody
 * listens.
 */
export const announced = <A, E, F>(
  database: Database,
  table: Changed,
  known: Keys,
  keysOf: (result: A) => Keys,
  commitFailed: (failure: CommitFailed) => F,
  statement: Effect.Effect<A, E>
): Effect.Effect<A, E | F | StatementError> =>
  Effect.withFiberRuntime((fiber) => {
    const { announcer, client } = database
    if (!announcer.isHeard) return statement
    const frame = frameOf(fiber.currentContext, client)
    const foreign = frame === undefined && foreignConnection(fiber.currentContext) !== undefined
    if (frame === undefined && !foreign && announcer.needsTransaction)
      return transactFor(database, announced(database, table, known, keysOf, commitFailed, statement), commitFailed)
    const tell = (outcome: "committed" | "unknown", keys: Keys): Effect.Effect<void> => {
      if (frame?.note(table, keys) === true) return Effect.void
      const isSure = frame === undefined && !foreign
      return announcer.announceOne(isSure ? outcome : "unknown", table, keys)
    }
    const write = (restore: <B, G>(effect: Effect.Effect<B, G>) => Effect.Effect<B, G>) =>
      Effect.flatMap(Effect.exit(restore(statement)), (exit): Effect.Effect<A, E> => {
        if (Exit.isSuccess(exit)) return Effect.zipRight(tell("committed", keysOf(exit.value)), exit)
        const outcome = outcomeOf(exit.cause)
        return outcome === undefined ? exit : Effect.zipRight(tell(outcome, before(known)), exit)
      })
    return Effect.uninterruptibleMask((restore) => {
      if (!announcer.isGuarded) return write(restore)
      return Effect.suspend(() => {
        const end = Effect.sync(announcer.begin(table, before(known)))
        if (frame?.isOpen !== true) return Effect.ensuring(write(restore), end)
        frame.registrations.push({ key: undefined, on: () => end, batch: undefined, forced: undefined })
        return write(restore)
      })
    })
  })
