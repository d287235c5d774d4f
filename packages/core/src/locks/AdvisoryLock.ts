/**
 * Locks on names instead of rows, kept by PostgreSQL until the transaction that took them ends.
 *
 * They can be taken inside of a transaction only: `Transaction` is required, so anything else does not compile. (Outside of a transaction, PostgreSQL would
 * give the lock back at the end of the very statement that took it.)
 *
 * A name's key is the one that Elixir's BitcrowdEcto uses, so both can hold one lock.
 *
 * They are *not* for what outlives a transaction, and not a queue.
 *
 * @since 0.1.0
 */
import { createHash } from "node:crypto"
import type { SqlError } from "@effect/sql"
import { type Context, Effect } from "effect"
import type { Answer } from "../repo/connection.js"
import { currentFrame, type Transaction } from "../repo/frame.js"
import { type StatementError, TransactionClosed } from "../repo/RepoError.js"
import { statementError } from "../repo/sqlstate.js"
import { lockSource } from "../repo/statementlog.js"

/**
 * What PostgreSQL locks: a signed number of 64 bits. `label` is what logs and errors call it.
 *
 * @since 0.1.0
 * @category models
 */
export interface LockKey {
  readonly value: bigint
  readonly label: string
}

/**
 * The key of a name: the first eight bytes of its SHA-1, read as a signed number, most significant byte first.
 *
 * @since 0.1.0
 * @category constructors
 * @example
 * ```ts
 * import { AdvisoryLock } from "@effecto/core"
 *
 * console.log(AdvisoryLock.key("foo").value) // 859844163007352795n
 * ```
 */
export const key = (name: string): LockKey => ({
  value: createHash("sha1").update(name, "utf8").digest().readBigInt64BE(0),
  label: name
})

const lock = (verb: string, name: string | LockKey, text: string): Effect.Effect<Answer, StatementError, Transaction> =>
  Effect.contextWithEffect((context: Context.Context<Transaction>) => {
    const wanted = typeof name === "string" ? key(name) : name
    const operation = `${verb} the advisory lock "${wanted.label}"`
    // Sound: only looked into.
    const frame = currentFrame(context as Context.Context<never>)
    if (frame?.channel === undefined || !frame.isOpen)
      return Effect.fail(new TransactionClosed({ operation, reason: frame === undefined ? "none" : "ended" }))
    return Effect.mapError(
      frame.channel.query(text, [wanted.value.toString()], lockSource),
      (error: SqlError.SqlError) => statementError(error, operation)
    )
  })

/**
 * Waits until no other transaction holds the lock, and holds it until this one ends: by COMMIT, by ROLLBACK, or by the rollback of the savepoint it was
 * taken in. Taking it again in the same transaction does nothing. The wait can be interrupted.
 *
 * @since 0.1.0
 * @category locking
 */
export const acquire = (name: string | LockKey): Effect.Effect<void, StatementError, Transaction> =>
  Effect.asVoid(lock("take", name, "select pg_advisory_xact_lock($1)"))

/**
 * Takes the lock if nobody else holds it, without waiting, and says whether it did.
 *
 * @since 0.1.0
 * @category locking
 */
export const tryAcquire = (name: string | LockKey): Effect.Effect<boolean, StatementError, Transaction> =>
  Effect.map(
    lock("try", name, "select pg_try_advisory_xact_lock($1) as taken"),
    (answer) => answer.rows[0]?.taken === true
  )
