import { describe, expect, it } from "@effect/vitest"
import { Cause, Deferred, Effect, Exit, Logger, Scope, TestClock } from "effect"
import * as DynamicSupervisor from "../../src/supervision/DynamicSupervisor.js"
import * as Machine from "../../src/supervision/dynamicmachine.js"

/** Lets what was begun go on until nothing is left to do. */
const settle = TestClock.adjust(0)

const quiet = Logger.remove(Logger.defaultLogger)

describe("a dynamic supervisor with much to do", () => {
  it.effect("lets the process have a turn while it stops thousands of children", () =>
    Effect.gen(function* () {
      const order: Array<string> = []
      const scope = yield* Scope.make()
      const workers = yield* Scope.extend(DynamicSupervisor.make({ child: () => Effect.succeed({}) }), scope)
      for (let n = 0; n < 2000; n++) yield* workers.start(n)
      setImmediate(() => order.push("process"))
      yield* Scope.close(scope, Exit.void)
      order.push("closed")
      expect(order).toEqual(["process", "closed"])
    })
  )

  it.effect("counts those it does not draw, whatever their state", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const crashes = new Map<number, Deferred.Deferred<never>>()
      const workers = yield* DynamicSupervisor.make({
        child: (n: number) =>
          Effect.gen(function* () {
            if (n % 4 === 1) yield* Effect.addFinalizer(() => Effect.sleep("1 second"))
            const crash = yield* Deferred.make<never>()
            crashes.set(n, crash)
            yield* Effect.forkScoped(Deferred.await(crash))
            return {}
          }),
        id: (n) => `${n}`,
        intensity: 100
      }).pipe(Scope.extend(scope))
      const omitted = Effect.map(workers.snapshot, (node) => node.omitted)
      for (let n = 0; n < 40; n++) yield* workers.start(n)
      expect(yield* omitted).toEqual({ up: 20, other: 0 })
      for (const crash of crashes.values()) yield* Deferred.die(crash, "boom")
      yield* settle
      // A quarter of them is closing; the others are up again.
      expect(yield* omitted).toEqual({ up: 15, other: 5 })
      yield* Effect.fork(workers.terminate("21"))
      yield* workers.terminate("22")
      expect(yield* omitted).toEqual({ up: 14, other: 5 })
      yield* TestClock.adjust("1 second")
      expect(yield* omitted).toEqual({ up: 18, other: 0 })
      yield* Effect.fork(workers.terminate("25"))
      yield* settle
      expect(yield* omitted).toEqual({ up: 17, other: 1 })
      yield* Effect.fork(Scope.close(scope, Exit.void))
      yield* TestClock.adjust("1 second")
    }).pipe(Effect.provide(quiet))
  )

  it("keeps the times of the restarts that count, and not of all there were", () => {
    const machine = Machine.make<Machine.Child>({ intensity: 10, period: 100, maxChildren: 1 })
    const child: Machine.Child = { id: "a", restart: "permanent", status: "starting", number: 0 }
    Machine.handle(machine, { _tag: "Start", child }, 0)
    for (let n = 1; n <= 1000; n++) {
      const now = n * 20
      Machine.handle(machine, { _tag: "Started", child }, now)
      Machine.handle(machine, { _tag: "Exited", child, number: child.number, exit: "abnormal" }, now)
      Machine.handle(machine, { _tag: "Stopped", child }, now)
      expect(machine.restarts.count).toBe(Math.min(n, 6))
    }
    expect(Machine.intensityUsed(machine, 1_000_000)).toBe(0)
  })
})

describe("a dynamic supervisor that is closing", () => {
  it.scoped("restarts no child of its own while what was made after it stops", () =>
    Effect.gen(function* () {
      const starts: Array<string> = []
      const crash = yield* Deferred.make<never>()
      const outer = yield* DynamicSupervisor.make({
        child: () =>
          Effect.gen(function* () {
            const inner = yield* DynamicSupervisor.make({
              child: (arg: string) =>
                Effect.zipRight(
                  Effect.sync(() => starts.push(arg)),
                  Effect.as(Effect.forkScoped(Deferred.await(crash)), {})
                )
            })
            yield* inner.start("a")
            yield* Effect.addFinalizer(() => Effect.sleep("1 second"))
            return {}
          })
      })
      const child = yield* outer.start("x")
      yield* Effect.fork(outer.terminate(child))
      yield* settle
      yield* Deferred.die(crash, "boom")
      yield* TestClock.adjust("1 second")
      expect(starts).toEqual(["a"])
    }).pipe(Effect.provide(quiet))
  )

  it.effect("tells calls of its children that it is, and not that they were terminated", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const workers = yield* DynamicSupervisor.make({
        child: () =>
          Effect.as(
            Effect.addFinalizer(() => Effect.sleep("1 second")),
            { ask: Effect.void }
          )
      }).pipe(Scope.extend(scope))
      const child = yield* workers.start("a")
      yield* Effect.fork(Scope.close(scope, Exit.void))
      yield* settle
      const exit = yield* Effect.exit(child.service.ask)
      expect(Exit.isFailure(exit) && Cause.squash(exit.cause)).toMatchObject({
        _tag: "SupervisorShutdown",
        reason: "closed"
      })
      yield* TestClock.adjust("1 second")
    })
  )
})
