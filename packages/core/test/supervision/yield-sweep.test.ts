import { describe, expect, it } from "@effect/vitest"
import { Cause, Context, Effect, Exit, Fiber, FiberRef, Layer, Option, Queue } from "effect"
import * as Supervised from "../../src/supervision/Supervised.js"
import { ChildDown, InstanceDied, SupervisorShutdown } from "../../src/supervision/SupervisionError.js"
import * as SupervisionTree from "../../src/supervision/SupervisionTree.js"
import * as TestSupervision from "../../src/supervision/TestSupervision.js"

interface Echo {
  readonly ask: (n: number) => Effect.Effect<readonly [instance: number, n: number]>
  readonly add: (n: number) => Effect.Effect<number>
}
const Echo = Context.GenericTag<Echo>("Echo")

// A fiber gives way after so many operations. Sweeping the number moves that point through every step of a crash, a restart
// and a call, so that each order in which they can meet is met.
const sweep = Array.from({ length: 119 }, (_, i) => i + 10)

describe("under the yield sweep", () => {
  // Live: the test clock has fibers of its own (its warnings), and under some of these numbers those do not end.
  it.live.each(sweep)(
    "calls, crashes and restarts meet without a hang or a wrong answer (a yield every %i steps)",
    (ops) => {
      let starts = 0
      let stops = 0
      const layer = Layer.scoped(
        Echo,
        Effect.gen(function* () {
          const instance = ++starts
          yield* Effect.addFinalizer(() => Effect.sync(() => stops++))
          const questions = yield* Queue.unbounded<readonly [number, (answer: readonly [number, number]) => void]>()
          yield* Queue.take(questions).pipe(
            Effect.map(([n, answer]) => answer([instance, n])),
            Effect.forever,
            Effect.forkScoped
          )
          let sum = 0
          return {
            ask: (n) =>
              Effect.async<readonly [number, number]>((resume) => {
                Queue.unsafeOffer(questions, [n, (answer) => resume(Effect.succeed(answer))])
              }),
            add: (n) => Effect.sync(() => (sum += n))
          }
        })
      ).pipe(Supervised.layer({ id: "echo" }), SupervisionTree.layer({ name: "app", intensity: 5 }))

      const program = Effect.gen(function* () {
        const echo = yield* Echo
        const callers = yield* Effect.forEach(
          Array.from({ length: 20 }, (_, i) => i),
          (n) => Effect.fork(Effect.zipRight(Effect.yieldNow(), Effect.zip(echo.ask(n), echo.add(1))))
        )
        for (let i = 0; i < 5; i++) {
          yield* TestSupervision.crash("app/echo")
          yield* Effect.yieldNow()
        }
        for (const [n, caller] of callers.entries()) {
          const exit = yield* Fiber.await(caller)
          if (Exit.isSuccess(exit)) expect(exit.value[0][1]).toBe(n)
          else expect(Option.getOrUndefined(Cause.dieOption(exit.cause))).toBeInstanceOf(InstanceDied)
        }
        expect(yield* TestSupervision.awaitRestart("app/echo")).toBe(6)
        expect(yield* echo.ask(7)).toEqual([6, 7])
        const [late, crashed] = [yield* Effect.fork(echo.ask(8)), yield* Effect.fork(TestSupervision.crash("app/echo"))]
        expect(yield* Effect.flip(SupervisionTree.awaitShutdown)).toBeInstanceOf(SupervisorShutdown)
        yield* Fiber.await(crashed)
        const exit = yield* Fiber.await(late)
        if (Exit.isFailure(exit)) {
          const defect = Option.getOrUndefined(Cause.dieOption(exit.cause))
          expect([InstanceDied, SupervisorShutdown, ChildDown].some((type) => defect instanceof type)).toBe(true)
        }
      })
      return Effect.gen(function* () {
        yield* Effect.provide(program, layer)
        expect([starts, stops]).toEqual([6, 6])
      }).pipe(Effect.locally(FiberRef.currentMaxOpsBeforeYield, ops))
    }
  )
})
