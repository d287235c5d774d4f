/** A turn for everything else in the process, also for what is no fiber. */
import * as Effect from "effect/Effect"
import * as FiberRef from "effect/FiberRef"
import * as Scheduler from "effect/Scheduler"

/**
 * Goes on when timers, sockets and files have had a turn. `yieldNow` gives one to other fibers only, but for every two thousandth
 * time, and what would be waited for here is the process.
 */
const eventLoop: Effect.Effect<void> = Effect.async<void>((resume) => {
  if (typeof setImmediate === "function") setImmediate(() => resume(Effect.void))
  else setTimeout(() => resume(Effect.void), 0)
})

/** Under a scheduler of somebody's own it is that scheduler which says whose turn it is. */
export const macrotask: Effect.Effect<void> = Effect.flatMap(FiberRef.get(FiberRef.currentScheduler), (scheduler) =>
  scheduler === Scheduler.defaultScheduler ? eventLoop : Effect.yieldNow()
)
