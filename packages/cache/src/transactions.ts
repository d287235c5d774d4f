/** The one module of the cache that knows about transactions. */
import { SqlClient } from "@effect/sql"
import { CommitFailed } from "@effecto/core/RepoError"
import * as Transaction from "@effecto/core/Transaction"
import { Cause, Chunk, Context, Effect, type Fiber, Tracer } from "effect"

/** A context in which nothing finds the transaction of whoever it was taken from. */
const withoutTransaction = <R>(context: Context.Context<R>): Context.Context<R> =>
  // Sound for what runs outside of that transaction: nothing of the sort can require it.
  Context.omit(
    Transaction.Transaction,
    SqlClient.TransactionConnection
  )(
    context as Context.Context<R | Transaction.Transaction | SqlClient.TransactionConnection>
  ) as unknown as Context.Context<R>

/** A context for what outlives the moment it was taken at: without the transaction and the span of then. */
export const detached = (context: Context.Context<never>): Context.Context<never> =>
  Context.omit(Tracer.ParentSpan)(withoutTransaction(context)) as Context.Context<never> // it lost some tags, and promised none

/** Whether the fiber was started in a transaction, which may have ended since: for a quick look on the way to a hit. */
export const startedInTransaction = (fiber: Fiber.RuntimeFiber<unknown, unknown>): boolean =>
  fiber.currentContext.unsafeMap.has(Transaction.Transaction.key)

export const inTransaction = Transaction.inTransaction

/**
 * Runs `committed` when the transaction around has committed, or its outcome is unknown, and `rolledBack` otherwise; outside of a transaction runs
 * `committed` now. Exactly one of the two runs.
 */
export const settle = (committed: () => void, rolledBack: () => void): Effect.Effect<void> =>
  Effect.flatMap(inTransaction, (inside) =>
    inside
      ? Effect.zipRight(
          Transaction.onCommitOrNow(Effect.sync(committed)),
          // Sound: we are inside of one.
          Transaction.afterRollback(Effect.sync(rolledBack)) as Effect.Effect<void>
        )
      : Effect.sync(committed)
  )

/** Whether something that ended so may have been committed all the same. */
export const mayHaveWritten = (cause: Cause.Cause<unknown>): boolean =>
  Cause.isInterrupted(cause) ||
  Chunk.some(Cause.failures(cause), (error) => error instanceof CommitFailed && error.outcome === "unknown")
