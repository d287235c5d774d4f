/** The one module of the cache that knows about transactions, and sessions. */
import * as Announcement from "@effecto/core/Announcement"
import * as Transaction from "@effecto/core/Transaction"
import { Cause, Chunk, Context, Effect, type Fiber, Tracer } from "effect"

/** A context for what outlives the moment it was taken at: without the transaction, the session and the span of then. */
export const detached = (context: Context.Context<never>): Context.Context<never> =>
  Context.omit(Tracer.ParentSpan)(Transaction.detached(context)) as Context.Context<never> // it lost some tags, and promised none

/** Whether the fiber was started in a transaction, or a session, which may have ended since: for a quick look on the way to a hit. */
export const startedInTransaction = (fiber: Fiber.RuntimeFiber<unknown, unknown>): boolean =>
  Transaction.unsafeWasInside(fiber.currentContext)

/** Whether what a caller reads is its own: in a transaction, or a session. */
export const readsAlone = Transaction.isInside

/** The end of a transaction that is not ours, if the effect that asks runs in one. */
const foreignEnd = Effect.contextWith((context: Context.Context<never>) => Transaction.unsafeForeignEnd(context))

/** Whether the effect that asks runs in an open transaction, ours or another, whose end will be seen. */
export const inTransaction: Effect.Effect<boolean> = Effect.flatMap(Transaction.inTransaction, (inside) =>
  inside ? Effect.succeed(true) : Effect.map(foreignEnd, (onEnd) => onEnd !== undefined)
)

/**
 * Runs `committed` when the transaction around has committed, or its outcome is unknown, and `rolledBack` otherwise; outside of a transaction runs
 * `committed` now. Exactly one of the two runs.
 */
export const settle = (committed: () => void, rolledBack: () => void): Effect.Effect<void> =>
  Effect.flatMap(Transaction.inTransaction, (inside) =>
    inside
      ? Effect.zipRight(
          Transaction.onCommitOrNow(Effect.sync(committed)),
          // Sound: we are inside of one.
          Transaction.afterRollback(Effect.sync(rolledBack)) as Effect.Effect<void>
        )
      : Effect.map(foreignEnd, (onEnd) => {
          if (onEnd === undefined) committed()
          else onEnd((outcome) => (outcome === "rolledBack" ? rolledBack() : committed()))
        })
  )

/** Whether something that ended so may have been committed all the same. */
export const mayHaveWritten = (cause: Cause.Cause<unknown>): boolean =>
  Cause.isInterrupted(cause) ||
  Chunk.some(Cause.failures(cause), Announcement.isInDoubt) ||
  // Whoever does not want to handle a failure dies of it.
  Chunk.some(Cause.defects(cause), Announcement.isInDoubt)
