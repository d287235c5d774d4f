/**
 * Asking a child whether it still answers: a server that hangs has not crashed, and nothing else would notice.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type { Instance } from "./instance.js"
import { HeartbeatFailed } from "./SupervisionError.js"

export interface Heartbeat {
  readonly check: Effect.Effect<unknown, unknown, unknown>
  /** Milliseconds. */
  readonly every: number
  /** Milliseconds. */
  readonly timeout: number
}

/** Asks an instance again and again, until it has ended, or has to. One question at a time. */
export const beat = (instance: Instance, { check, every, timeout }: Heartbeat): Effect.Effect<void> => {
  const failed = (after: number | undefined, cause: Cause.Cause<unknown>): void => {
    const error = new HeartbeatFailed({ path: instance.slot.path, instance: instance.number, after, cause })
    instance.exit({ exit: "abnormal", cause: Cause.die(error) })
  }
  // Its types say that the instance provides what it needs.
  const probe = Effect.provide(check, instance.context) as Effect.Effect<unknown, unknown>
  const once = Effect.timeoutTo(Effect.disconnect(Effect.exit(probe)), {
    duration: timeout,
    onTimeout: () => failed(timeout, Cause.empty),
    onSuccess: (exit) => {
      if (Exit.isFailure(exit)) failed(undefined, exit.cause)
    }
  })
  return Effect.repeat(Effect.zipRight(Effect.sleep(every), once), { while: () => instance.state === "up" })
}
