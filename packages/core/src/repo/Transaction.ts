/**
 * Transactions that say what became of them.
 *
 * `transact` commits when its effect succeeds and rolls back when it fails, is interrupted or dies. What it reports is what happened: a COMMIT that
 * PostgreSQL refuses, or answers with ROLLBACK, is a typed `CommitFailed`. Inside of another `transact` it is a savepoint, which fails alone.
 *
 * ```text
 *   take a connection ─ BEGIN ─▶ the effect ─▶ COMMIT ──┬─▶ committed ──▶ connection back ─▶ afterCommit ─▶ the result
 *                                    │                  ├─▶ rolled back ─▶ connection back ─▶ afterRollback ─▶ CommitFailed
 *                                    │                  └─▶ unknown ─────▶ connection closed ─▶ CommitFailed (outcome "unknown")
 *                                    └─ fails, dies, interrupted ─▶ ROLLBACK ─▶ connection back ─▶ afterRollback ─▶ its failure
 * ```
 *
 * Fibers forked inside share the transaction's one connection, in turns. While a savepoint is open, statements of the fibers around it wait for
 * its end, so a savepoint must not wait for such a fiber: where the fiber that opened it does, the statement dies after thirty seconds and says so. A
 * fiber that outlives the transaction gets `TransactionClosed`.
 *
 * A server that does not answer ROLLBACK, a savepoint or a BEGIN by itself within five seconds of real time loses the connection; a BEGIN that goes with the
 * first statement is answered with that. COMMIT is waited for however long it takes, and cannot be interrupted: deferred constraints and synchronous
 * standbys may take their time. `commit`, `rollback` and the like are refused as statements, also as one of several in one text.
 *
 * It is *not* a unit of work: nothing is collected, every statement runs when it is called.
 *
 * @since 0.1.0
 */
import { SqlClient } from "@effect/sql"
import { Context, Effect } from "effect"
import type { OnEnd } from "./changes.js"
import { databaseOf, foreignConnection } from "./database.js"
import { foreignEnd } from "./foreign.js"
import { currentFrame, type Frame, type Outcome, Transaction } from "./frame.js"
import { type Held, heldTag, isInSession, sessions } from "./held.js"
import { hookState } from "./hookstate.js"
import { TransactionClosed } from "./RepoError.js"
import { outside, register } from "./registration.js"
import type { NoOptions, Only } from "./repository.js"
import { type TimeoutError, type TransactError, type TransactOptions, transactOn } from "./transact.js"

export {
  /**
   * Proof, in an effect's requirements, that it runs inside of a transaction.
   *
   * @since 0.1.0
   * @category tags
   */
  Transaction
} from "./frame.js"
export type { Isolation, TimeoutError, TransactError, TransactionDefaults, TransactOptions } from "./transact.js"

/**
 * Runs an effect in a transaction of the `SqlClient` in its context. `Repo.transact` is the same for the Repo's own client.
 *
 * @since 0.1.0
 * @category transactions
 * @example
 * ```ts
 * import { PgClient } from "@effect/sql-pg"
 * import { SqlClient } from "@effect/sql"
 * import { Transaction } from "@effecto/core"
 * import { EmbeddedPostgres } from "@effecto/core/testing"
 * import { Effect } from "effect"
 *
 * const program = Effect.gen(function* () {
 *   const sql = yield* SqlClient.SqlClient
 *   yield* sql`create table accounts (name text primary key, amount int not null)`
 *   yield* Transaction.transact(
 *     Effect.gen(function* () {
 *       yield* sql`insert into accounts values ('ada', 10)`
 *       yield* Transaction.afterCommit(Effect.log("ada has an account"))
 *     })
 *   )
 * })
 *
 * Effect.runPromise(program.pipe(Effect.provide(EmbeddedPostgres)))
 * ```
 */
export const transact: {
  <const O extends Only<O, TransactOptions> = NoOptions>(
    options?: O
  ): <A, E, R>(
    self: Effect.Effect<A, E, R>
  ) => Effect.Effect<A, E | TransactError | TimeoutError<O>, Exclude<R, Transaction> | SqlClient.SqlClient>
  <A, E, R, const O extends Only<O, TransactOptions> = NoOptions>(
    self: Effect.Effect<A, E, R>,
    options?: O
  ): Effect.Effect<A, E | TransactError | TimeoutError<O>, Exclude<R, Transaction> | SqlClient.SqlClient>
} = (first?: unknown, options?: TransactOptions): never => {
  const run = (self: Effect.Effect<unknown, unknown, unknown>, chosen: TransactOptions) =>
    Effect.flatMap(SqlClient.SqlClient, (client) => transactOn(databaseOf(client), self, chosen))
  // Sound: the two signatures above are told apart by their first argument, and `run` keeps the types of what it is given.
  return (
    Effect.isEffect(first)
      ? run(first as Effect.Effect<unknown, unknown, unknown>, options ?? {})
      : (self: Effect.Effect<unknown, unknown, unknown>) => run(self, (first as TransactOptions | undefined) ?? {})
  ) as never
}

const registering = <R>(
  operation: string,
  on: (outcome: Outcome) => Effect.Effect<void, never, R> | undefined,
  key: unknown
): Effect.Effect<void, never, Exclude<R, Transaction> | Transaction> =>
  Effect.withFiberRuntime<void>((fiber) => {
    const context = fiber.currentContext
    const frame = currentFrame(context)
    if (frame === undefined || !frame.isOpen)
      return Effect.die(new TransactionClosed({ operation, reason: frame === undefined ? "none" : "ended" }))
    // Sound: what R asks for is required below, so it is there.
    register(frame, context as Context.Context<R>, fiber.getFiberRef(hookState), on, key)
    return Effect.void
  }) as Effect.Effect<void, never, Exclude<R, Transaction> | Transaction>

/**
 * Registers work that runs after COMMIT of the outermost transaction, and only then: in the order of registration, outside of it,
 * uninterruptibly, before `transact` returns. A savepoint that is rolled back drops its own. It cannot fail, so it cannot change what `transact`
 * reports; should it die, that is logged and the rest still runs.
 *
 * With a `key`, of several registrations with the same key only the last one runs.
 *
 * It is not durable: a process that ends between COMMIT and the work never does it.
 *
 * @since 0.1.0
 * @category after the end
 */
export const afterCommit = <R>(
  effect: Effect.Effect<void, never, R>,
  options?: { readonly key?: unknown }
): Effect.Effect<void, never, Exclude<R, Transaction> | Transaction> =>
  registering(
    "register work for after the commit",
    (outcome) => (outcome === "committed" ? effect : undefined),
    options?.key
  )

/**
 * Registers work that runs when what this part of the transaction did has been rolled back: after the end of the outermost transaction, whether
 * that was rolled back as a whole or only the savepoint this was registered under.
 *
 * @since 0.1.0
 * @category after the end
 */
export const afterRollback = <R>(
  effect: Effect.Effect<void, never, R>
): Effect.Effect<void, never, Exclude<R, Transaction> | Transaction> =>
  registering(
    "register work for after a rollback",
    (outcome) => (outcome === "rolledBack" ? effect : undefined),
    undefined
  )

/**
 * Inside of a transaction: runs the effect after its COMMIT. Outside: runs it now. For what has to work in both, such as dropping a cache
 * entry; so it also runs when the outcome of COMMIT is not known, because forgetting too much does no harm there.
 *
 * @since 0.1.0
 * @category after the end
 */
export const onCommitOrNow = <R>(
  effect: Effect.Effect<void, never, R>,
  options?: { readonly key?: unknown }
): Effect.Effect<void, never, R> =>
  Effect.withFiberRuntime<void, never, R>((fiber) => {
    // Sound: what R asks for is required, so it is there.
    const context = fiber.currentContext as Context.Context<R>
    const innermost = currentFrame(fiber.currentContext)
    if (innermost === undefined) return effect
    let frame: Frame | undefined = innermost
    while (frame !== undefined && !frame.isOpen) frame = frame.parent
    // The transaction is over and this fiber has outlived it.
    if (frame === undefined) return Effect.mapInputContext(effect, () => outside(context, innermost))
    const state = fiber.getFiberRef(hookState)
    register(frame, context, state, (outcome) => (outcome === "rolledBack" ? undefined : effect), options?.key)
    return Effect.void
  })

/**
 * Whether the effect that asks runs inside of an open transaction.
 *
 * @since 0.1.0
 * @category transactions
 */
export const inTransaction: Effect.Effect<boolean> = Effect.contextWith(
  (context: Context.Context<never>) => currentFrame(context)?.isOpen ?? false
)

/**
 * Whether a fiber with this context was started inside of a transaction, of whichever client, or of a `Repo.session`, which may have ended since. For a cache's quick
 * look on the way to a hit.
 *
 * @since 0.1.0
 * @category caches
 */
export const unsafeWasInside = (context: Context.Context<never>): boolean =>
  // Our own transactions have this one, too.
  context.unsafeMap.has(connectionKey) || (sessions.open > 0 && context.unsafeMap.has(heldTag.key))

const connectionKey = SqlClient.TransactionConnection.key

/**
 * Whether a fiber with this context reads by a connection whose settings, or whose transaction, only it knows: in a `Repo.session` that is open, where other rows may be
 * found under another `search_path` or role, or inside of a `withTransaction` of @effect/sql's own client.
 *
 * @since 0.1.0
 * @category caches
 */
export const unsafeIsApart = (context: Context.Context<never>): boolean =>
  isInSession(context) || foreignConnection(context) !== undefined

/**
 * Whether what this effect reads is read by a connection of its own: inside of an open transaction, of a session, or of a `withTransaction` of @effect/sql's own
 * client. What a cache does not hold is then to be read there, and kept for nobody else.
 *
 * @since 0.1.0
 * @category caches
 */
export const isInside: Effect.Effect<boolean> = Effect.contextWith(
  (context: Context.Context<never>) => (currentFrame(context)?.isOpen ?? false) || unsafeIsApart(context)
)

/**
 * A context without the transaction, and without the session, of whoever it was taken from: for what outlives them, or belongs to others as well.
 *
 * @since 0.1.0
 * @category caches
 */
export const detached = <R>(context: Context.Context<R>): Context.Context<Exclude<R, Transaction>> =>
  // Sound: what is left out can only be required as a Transaction.
  Context.omit(
    Transaction,
    SqlClient.TransactionConnection,
    heldTag
  )(context as Context.Context<R | Transaction | SqlClient.TransactionConnection | Held>) as unknown as Context.Context<
    Exclude<R, Transaction>
  >

/**
 * How to be told of the end of the `withTransaction` of @effect/sql's own client that a fiber with this context runs in: synchronously, before whoever waits for that goes
 * on, with what became of it. Nothing where there is none, or where its end cannot be seen, because the driver is not `pg`.
 *
 * @since 0.1.0
 * @category caches
 */
export const unsafeForeignEnd = (context: Context.Context<never>): OnEnd | undefined => {
  const connection = foreignConnection(context)
  return connection && foreignEnd(connection)
}
