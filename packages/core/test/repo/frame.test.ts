import type { SqlConnection } from "@effect/sql"
import { describe, expect, it } from "@effect/vitest"
import { Effect, Fiber, FiberId } from "effect"
import type { Database } from "../../src/repo/database.js"
import { Frame, Session } from "../../src/repo/frame.js"
import { holding } from "../../src/repo/turns.js"

/** Turns are taken without ever touching the connection. */
const session = () => new Session({} as Database, {} as SqlConnection.Connection)

const waitFor = (frame: Frame, events: Array<string>, name: string) =>
  Effect.uninterruptibleMask((restore) =>
    holding(
      frame,
      false,
      restore,
      Effect.sync(() => void events.push(name)),
      Effect.sync(() => void events.push(`${name} was refused`))
    )
  )

/** Until a forked fiber waits for its turn. */
const settled = Effect.repeatN(Effect.yieldNow(), 5)

describe("taking turns on a connection", () => {
  it.effect("is first come, first served", () =>
    Effect.gen(function* () {
      const frame = new Frame(session(), undefined, undefined, 0, undefined)
      const events: Array<string> = []
      const mine = frame.session.request(frame, false)
      const fibers = yield* Effect.forEach(["a", "b", "c"], (name) => Effect.fork(waitFor(frame, events, name)))
      yield* settled
      expect(events).toEqual([])
      frame.session.giveBack(mine)
      yield* Fiber.joinAll(fibers)
      expect(events).toEqual(["a", "b", "c"])
    })
  )

  it.effect("hands a turn on when it comes together with an interruption", () =>
    Effect.gen(function* () {
      const frame = new Frame(session(), undefined, undefined, 0, undefined)
      const events: Array<string> = []
      const mine = frame.session.request(frame, false)
      const interrupted = yield* Effect.fork(waitFor(frame, events, "interrupted"))
      yield* settled
      const next = yield* Effect.fork(waitFor(frame, events, "next"))
      yield* settled
      // In one step: the turn is given, and before its fiber runs it is interrupted.
      frame.session.giveBack(mine)
      interrupted.unsafeInterruptAsFork(FiberId.none)
      yield* Fiber.await(interrupted)
      yield* Fiber.join(next)
      expect(events).toEqual(["next"])
      expect(frame.session.request(frame, false).state).toBe("granted")
    })
  )

  it.effect("waits for an open child, but not the frame that ends", () =>
    Effect.gen(function* () {
      const frame = new Frame(session(), undefined, undefined, 0, undefined)
      const child = new Frame(frame.session, frame, undefined, 1, "s")
      frame.child = child
      const events: Array<string> = []
      const sibling = yield* Effect.fork(waitFor(frame, events, "sibling"))
      yield* waitFor(child, events, "child")
      yield* settled
      expect(events).toEqual(["child"])
      child.end()
      const ending = frame.session.request(child, true)
      expect(ending.state).toBe("granted")
      child.leave(true)
      frame.session.giveBack(ending)
      yield* Fiber.join(sibling)
      expect(events).toEqual(["child", "sibling"])
    })
  )

  it("abandons a savepoint that ends but has not got the connection when the transaction around it ends", () => {
    const outermost = new Frame(session(), undefined, undefined, 0, undefined)
    const savepoint = new Frame(outermost.session, outermost, undefined, 1, "one")
    outermost.child = savepoint
    savepoint.end()
    outermost.end()
    outermost.dropChild()
    outermost.leave(true)
    // Its RELEASE would reach whoever has the connection by now.
    expect(savepoint.isAbandoned).toBe(true)
  })

  it.effect("refuses whoever waits in a frame that ends, and in those below it", () =>
    Effect.gen(function* () {
      const frame = new Frame(session(), undefined, undefined, 0, undefined)
      const child = new Frame(frame.session, frame, undefined, 1, "s")
      const events: Array<string> = []
      const mine = frame.session.request(frame, false)
      frame.child = child
      const waiting = yield* Effect.forEach(
        [
          [frame, "outer"],
          [child, "inner"]
        ] as const,
        ([level, name]) => Effect.fork(waitFor(level, events, name))
      )
      yield* settled
      frame.end()
      yield* Fiber.joinAll(waiting)
      expect(events).toEqual(["outer was refused", "inner was refused"])
      frame.session.giveBack(mine)
      expect([frame.isOpen, child.isAbandoned]).toEqual([false, true])
    })
  )
})
