/**
 * What can go wrong between a program and its tables, one tagged class for each situation that a caller can act on.
 *
 * Messages name the table, the key or constraint, and the likely remedy. They never hold what a row or a parameter contains: PostgreSQL's own
 * detail ("Key (email)=(ada@…) already exists") is dropped, quoted values are cut out of its message, and what a trigger raises is withheld, before an
 * error is made.
 *
 * It is *not* for defects: a bug in the program dies, it does not fail.
 *
 * @since 0.1.0
 */
import { Data } from "effect"

/**
 * What the driver or the server said, without values: the SQLSTATE or the system's error code, the message, and the names it mentions.
 *
 * @since 0.1.0
 * @category models
 */
export class ServerAnswer extends Error {
  override readonly name = "ServerAnswer"
  readonly code: string | undefined
  readonly constraint: string | undefined
  readonly schema: string | undefined
  readonly table: string | undefined
  readonly column: string | undefined
  /** What it is about certainly never reached the server: there was no connection to send it on. */
  readonly neverSent: boolean

  constructor(fields: {
    readonly message: string
    readonly code?: string | undefined
    readonly constraint?: string | undefined
    readonly schema?: string | undefined
    readonly table?: string | undefined
    readonly column?: string | undefined
    readonly neverSent?: boolean | undefined
  }) {
    super(fields.message)
    this.code = fields.code
    this.constraint = fields.constraint
    this.schema = fields.schema
    this.table = fields.table
    this.column = fields.column
    this.neverSent = fields.neverSent ?? false
  }
}

/**
 * There is no row with that key.
 *
 * @since 0.1.0
 * @category errors
 */
export class NotFound<T extends string = string> extends Data.TaggedError("NotFound")<{
  readonly table: T
  /** The fields that were asked for. */
  readonly fields: ReadonlyArray<string>
}> {
  readonly #by: unknown

  constructor(given: { readonly table: T; readonly fields: ReadonlyArray<string>; readonly by: unknown }) {
    const { by, ...shown } = given
    // Sound: these are the fields declared above; the compiler does not look into a type that T is part of.
    super(shown as never)
    this.#by = by
  }

  /** What was looked for: the key, or the condition. For code only: it is in no message, no log and no JSON, because it may be a secret. */
  get by(): unknown {
    return this.#by
  }

  override get message() {
    return `there is no row in ${this.table} with that ${this.fields.join(", ")}`
  }
}

/**
 * The row was changed by somebody else after it was read: its version is not the one that was given.
 *
 * @since 0.1.0
 * @category errors
 */
export class StaleRow<T extends string = string> extends Data.TaggedError("StaleRow")<{
  readonly table: T
  /** The fields of the key. */
  readonly fields: ReadonlyArray<string>
  /** The version that the row was given with. */
  readonly expected: unknown
}> {
  override get message() {
    return `the row in ${this.table} with that ${this.fields.join(", ")} was changed after its version ${String(this.expected)} had been read: read it again and apply the change to what it holds now, or use Repo.modify`
  }
}

/**
 * More than one row answered where one at most was expected.
 *
 * @since 0.1.0
 * @category errors
 */
export class MultipleResults<T extends string = string> extends Data.TaggedError("MultipleResults")<{
  readonly table: T
  readonly fields: ReadonlyArray<string>
}> {
  override get message() {
    return `more than one row in ${this.table} has that ${this.fields.join(", ")}: ask for a unique field, or use Repo.all`
  }
}

/**
 * A value that was to be written does not fit the model: nothing was sent to the database.
 *
 * @since 0.1.0
 * @category errors
 */
export class InvalidInput<T extends string = string> extends Data.TaggedError("InvalidInput")<{
  readonly table: T
  readonly field: string
  readonly expected: string
}> {
  override get message() {
    return `field ${this.field} of ${this.table} does not fit its model: expected ${this.expected}`
  }
}

/**
 * What is known of a constraint that a write does not satisfy. `constraint` is one of the names that the table declares, `fields` are those
 * that it declares for it.
 *
 * @since 0.1.0
 * @category models
 */
export interface Violation<C extends string = string> {
  readonly table: string
  readonly constraint: C
  readonly fields: ReadonlyArray<string>
  readonly operation: string
  readonly cause: unknown
}

/**
 * Another row already has these values.
 *
 * @since 0.1.0
 * @category errors
 */
export class UniqueViolation<C extends string = string> extends Data.TaggedError("UniqueViolation")<Violation<C>> {
  override get message() {
    return `could not ${this.operation} ${this.table}: key (${this.fields.join(", ")}) already exists (constraint ${this.constraint})`
  }
}

/**
 * The row refers to one that does not exist, or is still referred to.
 *
 * @since 0.1.0
 * @category errors
 */
export class ForeignKeyViolation<C extends string = string> extends Data.TaggedError("ForeignKeyViolation")<
  Violation<C>
> {
  override get message() {
    return `could not ${this.operation} ${this.table}: (${this.fields.join(", ")}) refers to a row that does not exist, or other rows still refer to this one (constraint ${this.constraint})`
  }
}

/**
 * A value is not allowed by a check constraint.
 *
 * @since 0.1.0
 * @category errors
 */
export class CheckViolation<C extends string = string> extends Data.TaggedError("CheckViolation")<Violation<C>> {
  override get message() {
    return `could not ${this.operation} ${this.table}: (${this.fields.join(", ")}) is not allowed by constraint ${this.constraint}`
  }
}

/**
 * Another row excludes this one (an `exclude` constraint).
 *
 * @since 0.1.0
 * @category errors
 */
export class ExclusionViolation<C extends string = string> extends Data.TaggedError("ExclusionViolation")<
  Violation<C>
> {
  override get message() {
    return `could not ${this.operation} ${this.table}: (${this.fields.join(", ")}) conflicts with another row (constraint ${this.constraint})`
  }
}

/**
 * PostgreSQL chose this transaction to give way to another: the whole of it may be tried again.
 *
 * @since 0.1.0
 * @category errors
 */
export class SerializationFailure extends Data.TaggedError("SerializationFailure")<{
  readonly operation: string
  readonly code: "40001" | "40P01"
  readonly cause: unknown
}> {
  override get message() {
    const why = this.code === "40P01" ? "a deadlock with another transaction" : "a conflict with another transaction"
    return `could not ${this.operation}: ${why} (${this.code}). Nothing of this transaction is kept; run the whole of it again.`
  }
}

/**
 * A lock was not to be had in the time allowed.
 *
 * @since 0.1.0
 * @category errors
 */
export class LockTimeout extends Data.TaggedError("LockTimeout")<{
  readonly resource: string
  readonly cause: unknown
}> {
  override get message() {
    return `could not lock ${this.resource}: another transaction held it for the whole of the time allowed`
  }
}

/**
 * The connection that held a session lock has ended, and PostgreSQL has given the lock back: somebody else may hold it.
 *
 * @since 0.1.0
 * @category errors
 */
export class LockLost extends Data.TaggedError("LockLost")<{
  readonly resource: string
}> {
  override get message() {
    return `the lock ${this.resource} was lost: the connection that held it has ended, and somebody else may hold it by now. Whoever held it was interrupted.`
  }
}

/**
 * There is no open transaction where one is needed: a fiber outlived the transaction it was forked in, or the types were forced.
 *
 * @since 0.1.0
 * @category errors
 */
export class TransactionClosed extends Data.TaggedError("TransactionClosed")<{
  readonly operation: string
  readonly reason: "ended" | "none"
}> {
  override get message() {
    return this.reason === "ended"
      ? `could not ${this.operation}: the transaction it belongs to has ended. Await forked fibers inside of the transaction, or fork them outside.`
      : `could not ${this.operation}: there is no transaction. Wrap it in Repo.transact.`
  }
}

/**
 * COMMIT did not do what it was asked to.
 *
 * `outcome: "rolledBack"`: nothing was kept. `outcome: "unknown"`: the connection died between COMMIT and its answer, so everything or nothing
 * was kept: look before trying again.
 *
 * @since 0.1.0
 * @category errors
 */
export class CommitFailed extends Data.TaggedError("CommitFailed")<{
  readonly code: string | undefined
  readonly outcome: "rolledBack" | "unknown"
  readonly reason: string
  readonly cause: unknown
}> {
  override get message() {
    return this.outcome === "rolledBack"
      ? `could not commit: ${this.reason}. Nothing of this transaction was kept.`
      : `could not commit: ${this.reason}. Whether the transaction was committed is not known: look for its rows before running it again.`
  }
}

/**
 * The effect of a transaction took longer than its `timeout`: it was interrupted and nothing of it was kept.
 *
 * @since 0.1.0
 * @category errors
 */
export class TransactionTimeout extends Data.TaggedError("TransactionTimeout")<{
  readonly millis: number
}> {
  override get message() {
    return `the transaction was rolled back: it took longer than its timeout of ${this.millis} ms`
  }
}

/**
 * A hook stopped the operation: nothing of it is kept. Made by `delta.abort(reason)`.
 *
 * @since 0.1.0
 * @category errors
 */
export class HookAbort<T extends string = string> extends Data.TaggedError("HookAbort")<{
  readonly table: T
  readonly operation: string
  /** The hook that stopped it: `"beforeInsert"`, for example. */
  readonly hook: string
  readonly reason: string
}> {
  override get message() {
    return `${this.hook} of ${this.table} stopped the ${this.operation}: ${this.reason}`
  }
}

/**
 * Hooks ran hooks until it could not be meant any more. `path` names them, outermost first.
 *
 * @since 0.1.0
 * @category errors
 */
export class HookLoop extends Data.TaggedError("HookLoop")<{
  readonly path: ReadonlyArray<string>
}> {
  override get message() {
    const shown =
      this.path.length > 8 ? [...this.path.slice(0, 4), "…", ...this.path.slice(-4)].join(" > ") : this.path.join(" > ")
    return `hooks ran inside of each other ${this.path.length} deep: ${shown}. Let one of them have reentry: "skip", or raise its maxDepth.`
  }
}

/**
 * A hook that must not run inside of another one (`reentry: "fail"`) would have. `path` names the hooks around it, outermost first.
 *
 * @since 0.1.0
 * @category errors
 */
export class HookReentry extends Data.TaggedError("HookReentry")<{
  readonly hook: string
  readonly path: ReadonlyArray<string>
}> {
  override get message() {
    return `${this.hook} must not run inside of a hook (reentry: "fail"), and is inside of ${this.path.join(" > ")}`
  }
}

/**
 * Anything else that the database or the way to it reported.
 *
 * `kind` says where to look: `connection` (the server or the network), `constraint` (one that the table does not declare), `aborted` (an earlier
 * statement of the transaction failed), `decode` (a row does not fit its model), `refused` (by a middleware), `statement` (everything else). `retryable` is true where the same
 * call can succeed later.
 *
 * @since 0.1.0
 * @category errors
 */
export class DbError extends Data.TaggedError("DbError")<{
  readonly operation: string
  readonly kind: "connection" | "constraint" | "aborted" | "decode" | "refused" | "statement"
  readonly code: string | undefined
  readonly retryable: boolean
  readonly reason: string
  readonly cause: unknown
}> {
  override get message() {
    return `could not ${this.operation}: ${this.reason}`
  }
}

/**
 * What any statement can fail with, whatever it does.
 *
 * @since 0.1.0
 * @category models
 */
export type StatementError = DbError | SerializationFailure | TransactionClosed

/**
 * Says whether running the same thing again can succeed: the whole transaction after a serialization failure, the statement after a
 * connection that was refused.
 *
 * @since 0.1.0
 * @category guards
 */
export const isRetryable = (error: unknown): boolean =>
  error instanceof SerializationFailure || (error instanceof DbError && error.retryable)
