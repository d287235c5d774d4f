/** Row locks: the text behind a select, and waits that end in time without spoiling the transaction. */
import type { SqlError } from "@effect/sql"
import { type Duration, Effect } from "effect"
import { millisFrom, millisOf, shown } from "../durations.js"
import type { Associations } from "./association.js"
import type { Database } from "./database.js"
import type { Transaction } from "./frame.js"
import { CommitFailed, DbError, type InvalidInput, LockTimeout, type StatementError } from "./RepoError.js"
import { statementError } from "./sqlstate.js"
import { lockSource } from "./statementlog.js"
import { transactOn } from "./transact.js"
import { onlyKnown } from "./word.js"

/**
 * How a row is locked, strongest first. `"no key update"` is enough for changing a row, and lets others insert rows that refer to it.
 *
 * @since 0.1.0
 * @category locks
 */
export type RowLock = "update" | "no key update" | "share" | "key share"

/**
 * How long to wait for a lock: not at all, for a while (both fail with `LockTimeout`; at most about 25 days), or
 * until it is free (when nothing is said, or `Duration.infinity`).
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
export interface ReadOptions extends CountOptions {
  /** What belongs to the rows and is loaded with them: unlocked, and with a query for each association. */
  readonly preload?: Associations | undefined
  readonly lock?: RowLock | undefined
  /** `"skip locked"` leaves out the rows that somebody else has locked. */
  readonly wait?: Wait | "skip locked" | undefined
  /** Fails with `InvalidInput` for a key that does not fit its field, instead of finding nothing. */
  readonly strict?: boolean | undefined
}

/**
 * Which rows are seen.
 *
 * @since 0.1.0
 * @category models
 */
export interface CountOptions {
  /** Those too that were deleted softly. */
  readonly withDeleted?: boolean | undefined
}

/**
 * How rows are streamed: `chunkSize` at a time, 500 if nothing is said. So many are in memory, and so many `afterGet` is given at once.
 *
 * @since 0.1.0
 * @category models
 */
export interface StreamOptions extends CountOptions {
  readonly chunkSize?: number | undefined
}

/** What a strict read adds to the errors. */
export type StrictError<Name extends string, O> = [O["strict" & keyof O]] extends [false | undefined]
  ? never
  : InvalidInput<Name>

/** What is required of whoever asks for a lock. */
export type LockContext<O> = [O["lock" & keyof O]] extends [undefined] ? never : Transaction

/** What a wait that ends adds to the errors. */
export type LockError<O> = [O["wait" & keyof O]] extends ["skip locked" | undefined] ? never : LockTimeout

/** By what they are called: nothing else of an option ever gets into a text. */
const locks: ReadonlyMap<unknown, string> = new Map<RowLock, string>([
  ["update", " for update"],
  ["no key update", " for no key update"],
  ["share", " for share"],
  ["key share", " for key share"]
])
const waits: ReadonlyMap<unknown, string> = new Map<ReadOptions["wait"], string>([
  [undefined, ""],
  ["nowait", " nowait"],
  ["skip locked", " skip locked"]
])
const names: ReadonlySet<string> = new Set<keyof ReadOptions>(["lock", "wait", "strict", "withDeleted", "preload"])

const choice = (values: Iterable<unknown>): string =>
  [...values]
    .filter((one) => one !== undefined)
    .map(shown)
    .join(", ")

const countNames: ReadonlySet<string> = new Set<keyof CountOptions>(["withDeleted"])

/** Whether rows that were deleted softly are asked for too. Throws for what the types do not allow. */
export const seesDeleted = (table: string, options: CountOptions | undefined): boolean => {
  if (options === undefined) return false
  onlyKnown(`reading ${table}`, options, countNames)
  return options.withDeleted === true
}

const streamNames: ReadonlySet<string> = new Set<keyof StreamOptions>(["withDeleted", "chunkSize"])

/** The most rows that PostgreSQL can be asked for at a time. */
const largest = 2 ** 31 - 1

/** How many rows a chunk has, if that is asked for. Throws for what the types do not allow. */
export const chunkSizeOf = (table: string, options: StreamOptions | undefined): number | undefined => {
  if (options === undefined) return undefined
  onlyKnown(`reading ${table}`, options, streamNames)
  const { chunkSize } = options
  if (chunkSize !== undefined && !(Number.isSafeInteger(chunkSize) && chunkSize > 0))
    throw new Error(
      `the chunkSize of a stream of ${table} is a number of rows, one at least, and not ${shown(chunkSize)}`
    )
  return chunkSize === undefined ? undefined : Math.min(chunkSize, largest)
}

/** The lock as it stands behind a select, if one is asked for. Throws for what the types do not allow. */
export const lockText = (table: string, options: ReadOptions | undefined): string | undefined => {
  if (options === undefined) return undefined
  onlyKnown(`reading ${table}`, options, names)
  const lock = locks.get(options.lock)
  if (lock === undefined && options.lock !== undefined)
    throw new Error(`there is no lock ${shown(options.lock)} on rows of ${table}: one of ${choice(locks.keys())}`)
  const wait = waits.get(options.wait)
  if (wait === undefined && millisOf(options.wait) === undefined)
    throw new Error(
      `there is no wait ${shown(options.wait)} for rows of ${table}: one of ${choice(waits.keys())}, or a duration`
    )
  return lock === undefined ? undefined : `${lock}${wait ?? ""}`
}

/** Whether a wait can fail, and has to be kept from spoiling the transaction. */
const isBounded = (wait: ReadOptions["wait"]): wait is Wait =>
  wait !== undefined && wait !== "skip locked" && (wait === "nowait" || Number.isFinite(millisFrom("wait", wait)))

/** The longest that PostgreSQL can be told, about 25 days. */
const longest = 2 ** 31 - 1

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
): Effect.Effect<A, E | StatementError | LockTimeout> => boundedTogether(database, wait, resource, () => statement)

/**
 * The same for statements that share one wait: between two of them, the effect that `statements` is given leaves the next one only what is left of it.
 */
export const boundedTogether = <A, E>(
  database: Database,
  wait: ReadOptions["wait"],
  resource: string,
  statements: (shorten: Effect.Effect<unknown, StatementError>) => Effect.Effect<A, E>
): Effect.Effect<A, E | StatementError | LockTimeout> => {
  if (!isBounded(wait)) return statements(Effect.void)
  const operation = `lock ${resource}`
  const control = (value: string) =>
    Effect.mapError(setting(database, value), (error) => statementError(error, operation))
  const limited = (millis: number) => control(`${Math.min(longest, Math.max(1, Math.floor(millis)))}ms`)
  const timed: Effect.Effect<A, E | StatementError> =
    wait === "nowait"
      ? statements(Effect.void)
      : Effect.suspend(() => {
          const millis = millisFrom("wait", wait)
          // PostgreSQL measures in real time, whatever the clock of a test says.
          const begun = performance.now()
          const shorten = Effect.suspend(() => limited(millis - (performance.now() - begun)))
          return Effect.flatMap(limited(millis), (old) => Effect.zipLeft(statements(shorten), control(old)))
        })
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
