/** Work that waits for the end of a transaction, and what it finds around it then. */
import { SqlClient } from "@effect/sql"
import { Context, Effect } from "effect"
import { type Frame, type Outcome, Transaction } from "./frame.js"
import { within } from "./framecontext.js"
import { type HookState, inState } from "./hookstate.js"

/** The transaction of another database that this one was opened inside of, as far as it is still open. */
const around = (frame: Frame): Frame | undefined => {
  let found = frame.enclosing
  while (found !== undefined && !found.isOpen) found = found.parent ?? found.enclosing
  return found
}

/** A context without this transaction: what runs when that is over must not find its connection. What it was opened inside of stays. */
export const outside = <R>(context: Context.Context<R>, frame: Frame): Context.Context<R> => {
  const without = Context.omit(
    Transaction,
    SqlClient.TransactionConnection
    // Sound: both are looked for, whether they are there or not.
  )(context as Context.Context<R | Transaction | SqlClient.TransactionConnection>) as Context.Context<never>
  const enclosing = around(frame)
  // Sound: nothing that runs after the end of a transaction can require it, and everything else is as it was.
  return (enclosing === undefined ? without : within(without, enclosing)) as Context.Context<R>
}

/**
 * Runs work as whoever registered it would: with its annotations, and without hooks where they were disabled. The path of hooks is kept too, so that a
 * circle through after-commit work is seen as one.
 */
export const ledHereBy = <A, E, R>(self: Effect.Effect<A, E, R>, state: HookState): Effect.Effect<A, E, R> =>
  inState(self, (now) => {
    const { annotations, disabled, path } = state
    return { ...now, annotations, disabled, path }
  })

export const register = <R>(
  frame: Frame,
  context: Context.Context<R>,
  state: HookState,
  on: (outcome: Outcome) => Effect.Effect<void, never, R> | undefined,
  key: unknown
) => {
  frame.registrations.push({
    key,
    forced: undefined,
    batch: undefined,
    on: (outcome) => {
      const effect = on(outcome)
      return effect === undefined
        ? undefined
        : ledHereBy(
            Effect.mapInputContext(effect, () => outside(context, frame)),
            state
          )
    }
  })
}
