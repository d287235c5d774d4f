/** What the outermost transaction and a savepoint have in common: an effect lives inside of a frame, and then the frame ends. */
import { type Context, Effect, type Exit } from "effect"
import type { Restore } from "../primitives.js"
import type { AnyFiber } from "./connection.js"
import { stay } from "./ending.js"
import type { Frame } from "./frame.js"
import { inside } from "./framecontext.js"
import type { Guarded } from "./hookstate.js"
import { holding } from "./turns.js"

/** Where one is opened, in an uninterruptible region. */
export interface Opening {
  readonly fiber: AnyFiber
  readonly context: Context.Context<never>
  readonly restore: Restore
  /** What opens it, if that is a hook. */
  readonly opener: Guarded | undefined
}

/**
 * Runs an effect inside of a frame that is open, interruptibly, and then what ends that. What that is, is looked for when the connection is the frame's:
 * until then a statement of another fiber may have been on its way.
 */
export const lived = <A, E, R, Ended>(
  frame: Frame,
  { context, fiber, restore }: Opening,
  self: Effect.Effect<A, E, R>,
  end: (exit: Exit.Exit<A, E>) => Effect.Effect<Ended>
): Effect.Effect<readonly [Exit.Exit<A, E>, Ended], never, R> => {
  frame.owner = fiber
  return Effect.flatMap(Effect.exit(inside(frame, context, restore(self))), (exit) => {
    frame.end()
    const ending = Effect.suspend(() => end(exit))
    return Effect.map(holding(frame, true, stay, ending, ending), (ended) => [exit, ended] as const)
  })
}
