/** A transaction has one connection: what runs on it waits for its turn, and is refused once its frame has ended. */
import { Effect } from "effect"
import type { Restore } from "../primitives.js"
import { whenCircular } from "./circle.js"
import type { Frame } from "./frame.js"

/**
 * Runs `use` while this frame has the connection to itself, or `refused` when the frame ended before its turn came. To be called in an
 * uninterruptible region, whose `restore` makes the waiting interruptible.
 */
export const holding = <A, E, R>(
  frame: Frame,
  ends: boolean,
  restore: Restore,
  use: Effect.Effect<A, E, R>,
  refused: Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> =>
  Effect.withFiberRuntime((fiber) => {
    const session = frame.session
    const ticket = session.request(frame, ends)
    const giveBack = Effect.sync(() => session.giveBack(ticket))
    const go = () => (ticket.state === "granted" ? Effect.ensuring(use, giveBack) : refused)
    if (ticket.state !== "waiting") return go()
    const turn = Effect.async<void>((resume) => {
      const wake = () => resume(Effect.void)
      if (ticket.state !== "waiting") return wake()
      const tired = ends
        ? undefined
        : (session.whenStuck(() => resume(stuck)) ?? whenCircular(frame, fiber, () => resume(circular)))
      ticket.wake = () => {
        tired?.()
        wake()
      }
      return tired === undefined ? undefined : Effect.sync(tired)
    })
    // An interruption can arrive after the turn was given and before the fiber runs: then the connection is handed on.
    return Effect.matchCauseEffect(restore(turn), {
      onFailure: (cause) => Effect.zipRight(giveBack, Effect.failCause(cause)),
      onSuccess: go
    })
  })

const circular = Effect.die(
  new Error(
    "a statement waits for the end of a savepoint, and who opened that waits for this fiber: neither could ever go on. While a savepoint is open only fibers forked inside of it use the transaction: wait for the others before it, or after it."
  )
)

const stuck = Effect.die(
  new Error(
    "a statement waits for the one connection of its sandbox, or session, and nothing happens there: it is held by a transaction that waits for another fiber. There only fibers forked inside of a transaction can go on while that is open."
  )
)
