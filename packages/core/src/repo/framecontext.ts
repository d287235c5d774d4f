/** Contexts whose statements belong to a frame. */
import { SqlClient } from "@effect/sql"
import { Context, Effect, FiberRef } from "effect"
import { type Frame, Transaction } from "./frame.js"

/** A context whose statements belong to this frame. */
export const within = (context: Context.Context<never>, frame: Frame): Context.Context<never> =>
  context.pipe(
    Context.add(Transaction, frame),
    // What @effect/sql's own statements, and a client that was not made by us, look for.
    Context.add(SqlClient.TransactionConnection, [frame.session.database.channelOf(frame), frame.depth] as const)
  )

/** The effect, inside of the frame. */
export const inside = <A, E, R>(frame: Frame, context: Context.Context<never>, self: Effect.Effect<A, E, R>) =>
  Effect.locally(self, FiberRef.currentContext, within(context, frame))
