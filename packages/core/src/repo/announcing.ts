/** The one place where a write is announced: when its transaction has been committed, or at once where there is none. */
import { Cause, Effect, Exit, Option } from "effect"
import { type Changed, Changes } from "./changes.js"
import { type Database, foreignConnection } from "./database.js"
import { foreignTransaction } from "./foreign.js"
import { frameOf } from "./frame.js"
import { type CommitFailed, DbError, type StatementError } from "./RepoError.js"
import { statementError } from "./sqlstate.js"
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
export const before = (known: Keys): Keys => {
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
    const connection = frame === undefined ? foreignConnection(fiber.currentContext) : undefined
    if (frame === undefined && connection === undefined && announcer.needsTransaction)
      return transactFor(database, announced(database, table, known, keysOf, commitFailed, statement), commitFailed)
    const foreign = connection && foreignTransaction(connection, announcer)
    const tell = (outcome: "committed" | "unknown", keys: Keys): Effect.Effect<void> => {
      if (frame?.note(table, keys) === true || foreign?.note(table, keys) === true) return Effect.void
      const isSure = frame === undefined && connection === undefined
      return announcer.announceOne(isSure ? outcome : "unknown", table, keys)
    }
    /** What is to be done before a COMMIT that we are not asked for is done behind each write. */
    const join = (keys: Keys): Effect.Effect<void, StatementError> => {
      if (connection === undefined || !announcer.needsTransaction) return Effect.void
      const changes = new Changes()
      changes.add(table, keys)
      return Effect.mapError(
        announcer.beforeCommit(changes, foreign?.onEnd ?? ((listener) => listener("unknown"))) ?? Effect.void,
        (error) => statementError(error, `announce what was changed in ${table.name}`)
      )
    }
    const write = (restore: <B, G>(effect: Effect.Effect<B, G>) => Effect.Effect<B, G>) =>
      Effect.flatMap(Effect.exit(restore(statement)), (exit): Effect.Effect<A, E | StatementError> => {
        if (Exit.isSuccess(exit)) {
          const keys = keysOf(exit.value)
          const told = tell("committed", keys)
          return Effect.zipRight(connection === undefined ? told : Effect.zipRight(told, join(keys)), exit)
        }
        const outcome = outcomeOf(exit.cause)
        if (outcome === undefined) return exit
        const keys = before(known)
        return Effect.zipRight(Effect.zipRight(tell(outcome, keys), Effect.ignore(join(keys))), exit)
      })
    return Effect.uninterruptibleMask((restore) => {
      if (!announcer.isGuarded) return write(restore)
      return Effect.suspend(() => {
        const over = announcer.begin(table, before(known))
        if (foreign !== undefined) {
          foreign.onEnd(over)
          return write(restore)
        }
        const end = Effect.sync(over)
        if (frame?.isOpen !== true) return Effect.ensuring(write(restore), end)
        frame.registrations.push({ key: undefined, on: () => end, batch: undefined, forced: undefined })
        return write(restore)
      })
    })
  })
