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
import { type Context, Effect } from "effect"
import { currentFrame, type Frame, type Transaction } from "../repo/frame.js"
import { type StatementError, TransactionClosed } from "../repo/RepoError.js"
import type { NoOptions } from "../repo/repository.js"
import { boundedTogether, type LockError, type Wait } from "../repo/rowlock.js"
import { statementError } from "../repo/sqlstate.js"
import { lockSource } from "../repo/statementlog.js"
import { unknownWord } from "../repo/word.js"

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

/**
 * The key of something named by parts, in a space of its own: the first eight bytes of a SHA-256 over all of them, read like {@link key}. No two lists of
 * parts are the same text, and `1` is another part than `"1"`. Throws a `TypeError` when a number is `NaN` or infinite: nothing has that name.
 *
 * @since 0.1.0
 * @category constructors
 * @example
 * ```ts
 * import { AdvisoryLock } from "@effecto/core"
 *
 * console.log(AdvisoryLock.keyOf("invoice", 42).label) // invoice/42
 * ```
 */
export const keyOf = (namespace: string, ...parts: ReadonlyArray<string | number | bigint>): LockKey => {
  const text = JSON.stringify([namespace, ...parts.map((part, place) => partOf(namespace, part, place))])
  return {
    value: createHash("sha256").update(text, "utf8").digest().readBigInt64BE(0),
    label: [namespace, ...parts].join("/")
  }
}

/** JSON writes `null` for every number that it cannot write: unlike names would be one lock. */
const partOf = (namespace: string, part: unknown, place: number) => {
  if (typeof part === "bigint") return { bigint: `${part}` }
  if (typeof part === "string" || (typeof part === "number" && Number.isFinite(part))) return part
  throw new TypeError(
    `part ${place + 1} of the lock key "${namespace}" is ${String(part)}: it has to be a string, a finite number or a bigint`
  )
}

const modes = { exclusive: "", shared: "_shared" }

/** What a mode adds to the name of PostgreSQL's function; one that was forced past its type is a defect. */
const modeText = (mode: LockOptions["mode"]): string => {
  if (mode === undefined) return ""
  if (!Object.hasOwn(modes, mode)) throw new TypeError(unknownWord("mode", mode, Object.keys(modes)))
  return modes[mode]
}

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

const toKey = (name: string | LockKey): LockKey => (typeof name === "string" ? key(name) : name)

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
export const acquire = <const O extends LockOptions = NoOptions>(
  names: string | LockKey | ReadonlyArray<string | LockKey>,
  options?: O
): Effect.Effect<void, StatementError | LockError<O>, Transaction> => {
  const keys = (typeof names === "string" || "value" in names ? [names] : names)
    .map(toKey)
    .sort((a, b) => (a.value < b.value ? -1 : a.value > b.value ? 1 : 0))
  // PostgreSQL's own way of not waiting, for a lock, is another function; a wait of the shortest time is the same to the caller.
  const wait = options?.wait === "nowait" ? "1 millis" : options?.wait
  const label = keys.map((wanted) => `"${wanted.label}"`).join(", ")
  const operation = `take the advisory lock ${label}`
  return inFrame(
    operation,
    (frame) =>
      Effect.suspend(() => {
        const text = `select pg_advisory_xact_lock${modeText(options?.mode)}($1)`
        // Inside of the savepoint that bounds the wait, if there is one.
        const take = (wanted: LockKey) =>
          Effect.mapError(frame.session.database.query(text, [wanted.value.toString()], lockSource, true), (error) =>
            statementError(error, operation)
          )
        return boundedTogether(frame.session.database, wait, label, (shorten) =>
          Effect.forEach(
            keys,
            (wanted, place) => (place === 0 ? take(wanted) : Effect.zipRight(shorten, take(wanted))),
            { discard: true }
          )
        )
      })
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
): Effect.Effect<boolean, StatementError, Transaction> => {
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
}
