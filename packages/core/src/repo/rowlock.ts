/** Row locks: the text behind a select, and waits that end in time without spoiling the transaction. */
import type { SqlError } from "@effect/sql"
import { Duration, Effect } from "effect"
import type { Database } from "./database.js"
import type { Transaction } from "./frame.js"
import { CommitFailed, DbError, LockTimeout, type StatementError } from "./RepoError.js"
import { statementError } from "./sqlstate.js"
import { lockSource } from "./statementlog.js"
import { transactOn } from "./transact.js"

/**
 * How a row is locked, strongest first. `"no key update"` is enough for changing a row, and lets others insert rows that refer to it.
 *
 * @since 0.1.0
 * @category locks
 */
export type RowLock = "update" | "no key update" | "share" | "key share"

/**
 * How long to wait for a lock: not at all, for a while (both fail with `LockTimeout`), or until it is free (when nothing is said).
 *
 * @since 0.1.0
 * @category locks
 */
export type Wait = "nowait" | Duration.DurationInput

/**
 * How rows are read: with a lock that is held until the transaction ends, which is required then.
 *
 * @since 0.1.0
 * @category locks
 */
export interface ReadOptions {
  readonly lock?: RowLock | undefined
  /** `"skip locked"` leaves out the rows that somebody else has locked. */
  readonly wait?: Wait | "skip locked" | undefined
}

/** What is required of whoever asks for a lock. */
export type LockContext<O> = [O["lock" & keyof O]] extends [undefined] ? never : Transaction

/** What a wait that ends adds to the errors. */
export type LockError<O> = [O["wait" & keyof O]] extends ["skip locked" | undefined] ? never : LockTimeout

export const lockText = (options: ReadOptions | undefined): string => {
  if (options?.lock === undefined) return ""
  const wait = options.wait === "nowait" || options.wait === "skip locked" ? ` ${options.wait}` : ""
  return ` for ${options.lock}${wait}`
}

/** Whether a wait can fail, and has to be kept from spoiling the transaction. */
const isBounded = (wait: ReadOptions["wait"]): wait is Wait => wait !== undefined && wait !== "skip locked"

const setting = (database: Database, value: string): Effect.Effect<string, SqlError.SqlError> =>
  Effect.map(
    // Subqueries of one select are evaluated in the order they are written: the old value is read before it is changed.
    database.query(
      "select old, set_config('lock_timeout', $1, true) as new from (select current_setting('lock_timeout') as old offset 0) as before",
      [value],
      lockSource
    ),
    (answer) => String(answer.rows[0]?.old)
  )

/**
 * Runs a statement that takes a lock, in a savepoint when its wait may end: PostgreSQL aborts a transaction whose lock was not to be had, and only a
 * savepoint keeps the rest of it usable.
 */
export const bounded = <A, E>(
  database: Database,
  wait: ReadOptions["wait"],
  resource: string,
  statement: Effect.Effect<A, E>
): Effect.Effect<A, E | StatementError | LockTimeout> => {
  if (!isBounded(wait)) return statement
  const operation = `lock ${resource}`
  const control = (value: string) =>
    Effect.mapError(setting(database, value), (error) => statementError(error, operation))
  const timed =
    wait === "nowait"
      ? statement
      : Effect.flatMap(control(`${Math.max(1, Math.round(Duration.toMillis(wait)))}ms`), (old) =>
          Effect.zipLeft(statement, control(old))
        )
  return Effect.catchAll(
    transactOn(database, timed, {}),
    (error): Effect.Effect<never, E | StatementError | LockTimeout> => {
      if (error instanceof CommitFailed) return Effect.fail(statementError(error, operation))
      return Effect.fail(
        error instanceof DbError && error.code === "55P03" ? new LockTimeout({ resource, cause: error.cause }) : error
      )
    }
  )
}
