/**
 * Notices that a savepoint waits for a fiber which waits for the savepoint:
 *
 *   fiber A   opens a savepoint ─▶ joins B ───────────────┐
 *   fiber B   a statement of the transaction around it ─▶ waits for the savepoint's end
 *
 * Neither can go on. That B waits is known here; that A waits for B is what Effect says of a fiber that is suspended. Whoever waits for a Deferred is said to
 * wait for the fiber that made it, and another one may complete it as well; so nobody is told before nothing has happened for as long as in a session. Who
 * waits for B through a third fiber is not seen.
 */
import { Effect, Fiber, FiberId, FiberStatus, HashSet } from "effect"
import type { AnyFiber } from "./connection.js"
import type { Frame } from "./frame.js"

/** How long is waited before anybody is suspected, in milliseconds of real time. */
const patience = 30_000

/** Whether one of the savepoints that are open below a frame was opened by a fiber that is suspended until this one has done something. */
const isCircular = (frame: Frame, waiting: AnyFiber): Effect.Effect<boolean> => {
  const owners = new Set<AnyFiber>()
  for (let below = frame.child; below !== undefined; below = below.child)
    if (below.owner !== undefined) owners.add(below.owner)
  return Effect.exists(owners, (owner) =>
    Effect.map(
      Fiber.status(owner),
      (status) =>
        FiberStatus.isSuspended(status) &&
        HashSet.some(FiberId.ids(status.blockingOn), (id) => HashSet.has(FiberId.ids(waiting.id()), id))
    )
  )
}

/** Calls back when that is so, for a fiber that begins to wait now for its turn in a frame; gives back how to stop looking. */
export const whenCircular = (frame: Frame, waiting: AnyFiber, tell: () => void): (() => void) => {
  let timer: ReturnType<typeof setTimeout>
  let isOver = false
  const look = () => {
    Effect.runFork(isCircular(frame, waiting)).addObserver((exit) => {
      if (isOver) return
      if (exit._tag === "Success" && exit.value) tell()
      else timer = setTimeout(look, patience)
    })
  }
  timer = setTimeout(look, patience)
  return () => {
    isOver = true
    clearTimeout(timer)
  }
}
