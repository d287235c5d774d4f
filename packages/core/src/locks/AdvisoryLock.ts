/**
 * Locks on names instead of rows, kept by PostgreSQL until the transaction that took them ends; or, as {@link session} locks, until a scope is closed.
 *
 * The former can be taken inside of a transaction only: `Transaction` is required, so anything else does not compile. (Outside of a transaction, PostgreSQL
 * would give the lock back at the end of the very statement that took it.)
 *
 * A name's key is the one that Elixir's BitcrowdEcto uses, so both can hold one lock.
 *
 * They are *not* a queue: whoever waits longest is not the next for sure.
 *
 * @since 0.1.0
 */
import type { SqlClient } from "@effect/sql"
import { type Context, Effect } from "effect"
import { currentFrame, type Frame, type Transaction } from "../repo/frame.js"
import { type StatementError, TransactionClosed } from "../repo/RepoError.js"
import type { NoOptions, Only } from "../repo/repository.js"
import { boundedTogether, type LockError, type Wait } from "../repo/rowlock.js"
import { statementError } from "../repo/sqlstate.js"
import { lockSource } from "../repo/statementlog.js"
import { type TransactError, transact } from "../repo/Transaction.js"
import { onlyKnown } from "../repo/word.js"
import { inOrder, type LockKey, labelOf, modeText, toKey } from "./lockkey.js"

export { key, keyOf, type LockKey } from "./lockkey.js"
export { type SessionLock, type SessionOptions, session, trySession, withSession } from "./sessionlock.js"

/**
 * How a lock is taken. `"shared"` locks exclude exclusive ones only. `wait` says for how long to wait, for all of them together; when it ends, `acquire` fails with `LockTimeout`
 * and the transaction goes on.
 *
 * @since 0.1.0
 * @category models
 */
export interface LockOptions {
  readonly mode?: "exclusive" | "shared" | undefined
  readonly wait?: Wait | undefined
}

const lockOptions: ReadonlySet<string> = new Set<keyof LockOptions>(["mode", "wait"])
const tryOptions: ReadonlySet<string> = new Set<keyof LockOptions>(["mode"])

/** The open transaction of the fiber that asks, to run something in. */
const inFrame = <A, E>(
  operation: string,
  run: (frame: Frame) => Effect.Effect<A, E>
): Effect.Effect<A, E | TransactionClosed, Transaction> =>
  Effect.contextWithEffect((context: Context.Context<Transaction>): Effect.Effect<A, E | TransactionClosed> => {
    // Sound: only looked into.
    const frame = currentFrame(context as Context.Context<never>)
    return frame === undefined || !frame.isOpen
      ? Effect.fail(new TransactionClosed({ operation, reason: frame === undefined ? "none" : "ended" }))
      : run(frame)
  })

/**
 * Waits until no other transaction holds the lock, and holds it until this one ends: by COMMIT, by ROLLBACK, or by the rollback of the savepoint it was
 * taken in. Taking it again in the same transaction does nothing. The wait can be interrupted.
 *
 * Several are taken one after the other in one order, whatever the order they are given in, so that two transactions that want the same ones do
 * not wait for each other.
 *
 * @since 0.1.0
 * @category locking
 */
export const acquire = <const O extends Only<O, LockOptions> = NoOptions>(
  names: string | LockKey | ReadonlyArray<string | LockKey>,
  options?: O
): Effect.Effect<void, StatementError | LockError<O>, Transaction> =>
  // What the types do not allow is a defect of the effect: a call never throws.
  Effect.suspend(() => acquired(names, options))

const acquired = <const O extends Only<O, LockOptions> = NoOptions>(
  names: string | LockKey | ReadonlyArray<string | LockKey>,
  options?: O
): Effect.Effect<void, StatementError | LockError<O>, Transaction> => {
  if (options !== undefined) onlyKnown("an advisory lock", options, lockOptions)
  const keys = inOrder(names)
  // PostgreSQL's own way of not waiting, for a lock, is another function; a wait of the shortest time is the same to the caller.
  const wait = options?.wait === "nowait" ? "1 millis" : options?.wait
  const label = labelOf(keys)
  const operation = `take the advisory lock ${label}`
  return inFrame(
    operation,
    (frame) => {
      const text = `select pg_advisory_xact_lock${modeText(options?.mode)}($1)`
      // Inside of the savepoint that bounds the wait, if there is one.
      const take = (wanted: LockKey) =>
        Effect.mapError(
          frame.session.database.query(text, [wanted.value.toString()], lockSource, true, true),
          (error) => statementError(error, operation)
        )
      return boundedTogether(frame.session.database, wait, label, (shorten) =>
        Effect.forEach(keys, (wanted, place) => (place === 0 ? take(wanted) : Effect.zipRight(shorten, take(wanted))), {
          discard: true
        })
      )
    }
    // Sound: LockTimeout comes of a wait only.
  ) as Effect.Effect<void, StatementError | LockError<O>, Transaction>
}

/**
 * Takes the lock if nobody else holds it, without waiting, and says whether it did.
 *
 * @since 0.1.0
 * @category locking
 */
export const tryAcquire = (
  name: string | LockKey,
  options?: { readonly mode?: "exclusive" | "shared" | undefined }
): Effect.Effect<boolean, StatementError, Transaction> =>
  Effect.suspend(() => {
    if (options !== undefined) onlyKnown("an advisory lock that is tried", options, tryOptions)
    const wanted = toKey(name)
    const operation = `try the advisory lock "${wanted.label}"`
    return inFrame(operation, (frame) =>
      Effect.mapBoth(
        frame.session.database.query(
          `select pg_try_advisory_xact_lock${modeText(options?.mode)}($1) as taken`,
          [wanted.value.toString()],
          lockSource,
          true
        ),
        {
          onFailure: (error) => statementError(error, operation),
          onSuccess: (answer) => answer.rows[0]?.taken === true
        }
      )
    )
  })

const around =
  <const O extends Only<O, LockOptions> = NoOptions>(
    names: string | LockKey | ReadonlyArray<string | LockKey>,
    options?: O
  ) =>
  <A, E, R>(
    self: Effect.Effect<A, E, R>
  ): Effect.Effect<A, E | TransactError | LockError<O>, Exclude<R, Transaction> | SqlClient.SqlClient> =>
    transact()(Effect.zipRight(acquire(names, options), self))

export {
  /**
   * Runs an effect in a transaction that begins with taking the lock: `transact` and {@link acquire} in one. Inside of another transaction that is a savepoint, and
   * the lock is held until the whole ends, unless the savepoint is rolled back.
   *
   * @since 0.1.0
   * @category locking
   * @example
   * ```ts
   * import { AdvisoryLock } from "@effecto/core"
   * import { EmbeddedPostgres } from "@effecto/core/testing"
   * import { Effect } from "effect"
   *
   * const program = Effect.sync(() => console.log("one after the other")).pipe( // one after the other
   *   AdvisoryLock.with("invoices of 2026", { wait: "5 seconds" }),
   *   Effect.catchTag("LockTimeout", () => Effect.logWarning("somebody else writes invoices"))
   * )
   *
   * Effect.runPromise(program.pipe(Effect.provide(EmbeddedPostgres)))
   * ```
   */
  around as with
}
