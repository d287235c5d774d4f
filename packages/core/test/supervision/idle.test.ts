import { describe, expect, it } from "@effect/vitest"
import { Clock, Context, Effect, Fiber, Layer } from "effect"
import * as Supervised from "../../src/supervision/Supervised.js"
import * as SupervisionTree from "../../src/supervision/SupervisionTree.js"
import * as TestSupervision from "../../src/supervision/TestSupervision.js"

const It = Context.GenericTag<{ readonly ask: Effect.Effect<number>; readonly wait: Effect.Effect<number> }>("It")

const app = Layer.scoped(
  It,
  Effect.as(Effect.forkScoped(Effect.never), {
    ask: Effect.flatMap(Effect.void, () => Effect.succeed(1)),
    wait: Effect.as(Effect.yieldNow(), 2)
  })
).pipe(Supervised.layer({ id: "it" }), SupervisionTree.layer({ name: "app" }))

/** A clock that writes down how long it is asked to sleep. */
const counting = (clock: Clock.Clock, sleeps: Array<number>): Clock.Clock => ({
  [Clock.ClockTypeId]: Clock.ClockTypeId,
  currentTimeMillis: clock.currentTimeMillis,
  currentTimeNanos: clock.currentTimeNanos,
  unsafeCurrentTimeMillis: () => clock.unsafeCurrentTimeMillis(),
  unsafeCurrentTimeNanos: () => clock.unsafeCurrentTimeNanos(),
  sleep: (duration) => {
    sleeps.push(Number(duration))
    return clock.sleep(duration)
  }
})

describe("a supervised service", () => {
  it.live(
    "never sleeps: not when nobody calls it, and not for calls, restarts and stops that have nothing to wait for",
    () =>
      Effect.gen(function* () {
        const sleeps: Array<number> = []
        const use = Effect.gen(function* () {
          const it = yield* It
          expect([yield* it.ask, yield* it.wait]).toEqual([1, 2])
          const calls = yield* Effect.forEach([1, 2, 3], () => Effect.fork(it.wait))
          yield* Fiber.joinAll(calls)
          yield* TestSupervision.crash("app/it")
          yield* TestSupervision.awaitRestart("app/it")
          expect([yield* it.ask, yield* it.wait]).toEqual([1, 2])
        })
        const clock = counting(yield* Effect.clock, sleeps)
        yield* use.pipe(Effect.provide(app), Effect.withClock(clock))
        expect(sleeps).toEqual([])
      })
  )
})
