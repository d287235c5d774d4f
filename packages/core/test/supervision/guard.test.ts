import { describe, expect, it } from "@effect/vitest"
import { Cause, Context, Deferred, Effect, Exit, Fiber, FiberRef, Layer, Option, Scope, Tracer } from "effect"
import * as Supervised from "../../src/supervision/Supervised.js"
import { InstanceDied } from "../../src/supervision/SupervisionError.js"
import * as SupervisionTree from "../../src/supervision/SupervisionTree.js"
import * as TestSupervision from "../../src/supervision/TestSupervision.js"

const app = <I, S>(layer: Layer.Layer<I, S>) =>
  layer.pipe(Supervised.layer({ id: "it" }), SupervisionTree.layer({ name: "app" }))

const instance = Effect.map(SupervisionTree.SupervisionTree, (tree) => {
  const found = tree.find("app/it")?.child.slot.last
  if (found === undefined) throw new Error("there is no instance")
  return found
})

/** How many calls the instance would have to tell about its death. */
const waiting = Effect.map(instance, (it) => it.waiting)

const defectOf = (exit: Exit.Exit<unknown, unknown>) =>
  Exit.isFailure(exit) ? Option.getOrUndefined(Cause.dieOption(exit.cause)) : undefined

describe("a call through a handle", () => {
  const Tag = Context.GenericTag<{
    readonly never: Effect.Effect<never>
    readonly wait: (gate: Deferred.Deferred<void>) => Effect.Effect<void>
  }>("It")
  const layer = app(
    Layer.succeed(Tag, {
      never: Effect.never,
      wait: (gate) => Effect.uninterruptible(Deferred.await(gate))
    })
  )

  it.scoped("leaves nothing in its instance when it has been answered, interrupted or timed out", () =>
    Effect.gen(function* () {
      const it = yield* Tag
      for (let n = 0; n < 100; n++) {
        const caller = yield* Effect.fork(it.never)
        yield* Effect.yieldNow()
        expect(yield* waiting).toBe(1)
        yield* Fiber.interrupt(caller)
        expect(yield* waiting).toBe(0)
        yield* Effect.raceFirst(it.never, Effect.yieldNow())
      }
      const gate = yield* Deferred.make<void>()
      const caller = yield* Effect.fork(it.wait(gate))
      yield* Effect.yieldNow()
      yield* Deferred.succeed(gate, undefined)
      yield* Fiber.join(caller)
      expect(yield* waiting).toBe(0)
    }).pipe(Effect.provide(layer))
  )

  it.scoped("waits for a body that cannot be interrupted, with one entry, until that is done", () =>
    Effect.gen(function* () {
      const it = yield* Tag
      const gate = yield* Deferred.make<void>()
      const caller = yield* Effect.fork(it.wait(gate))
      yield* Effect.yieldNow()
      yield* Fiber.interruptFork(caller)
      yield* Effect.yieldNow()
      yield* Effect.yieldNow()
      expect(caller.unsafePoll()).toBe(null)
      expect(yield* waiting).toBe(1)
      yield* Deferred.succeed(gate, undefined)
      expect(Exit.isInterrupted(yield* Fiber.await(caller))).toBe(true)
      expect(yield* waiting).toBe(0)
    }).pipe(Effect.provide(layer))
  )

  it.scoped("is released by the death of its instance although it waits for such a body", () =>
    Effect.gen(function* () {
      const it = yield* Tag
      const gate = yield* Deferred.make<void>()
      const caller = yield* Effect.fork(it.wait(gate))
      yield* Effect.yieldNow()
      yield* Fiber.interruptFork(caller)
      yield* Effect.yieldNow()
      yield* Effect.yieldNow()
      const first = yield* instance
      yield* TestSupervision.crash("app/it")
      expect(Exit.isInterrupted(yield* Fiber.await(caller))).toBe(true)
      expect(first.waiting).toBe(0)
    }).pipe(Effect.provide(layer))
  )

  describe("that waits for a callback", () => {
    type Answer = (n: number) => void
    const Asked = Context.GenericTag<{
      readonly ask: Effect.Effect<number>
      readonly say: (what: string) => Effect.Effect<number>
    }>("Asked")
    const Asking = Context.GenericTag<{ readonly ask: Effect.Effect<string> }>("Asking")

    /** A service that is asked, and another one that asks it: both in one tree, with all that was asked and said. */
    const both = () => {
      const answers: Array<Answer> = []
      const said: Array<string> = []
      const asked = Layer.sync(Asked, () => ({
        ask: Effect.flatMap(
          Effect.async<number>((resume) => void answers.push((n) => resume(Effect.succeed(n)))),
          (n) => Effect.sync(() => said.push(`asked ${n}`))
        ),
        say: (what) => Effect.flatMap(Effect.yieldNow(), () => Effect.sync(() => said.push(what)))
      })).pipe(Supervised.layer({ id: "it" }))
      const asking = Layer.effect(
        Asking,
        Effect.map(Asked, (it) => ({
          ask: Effect.map(Effect.exit(it.ask), (exit) => {
            const told = defectOf(exit) instanceof InstanceDied ? "told" : "answered"
            said.push(told)
            return told
          })
        }))
      ).pipe(Supervised.layer({ id: "asking" }))
      const layer = asking.pipe(Layer.provideMerge(asked), SupervisionTree.layer({ name: "app" }))
      return { answers, said, layer }
    }

    it.scoped("stays in the fiber of its caller, and leaves nothing when it is answered or interrupted", () => {
      const { answers, layer, said } = both()
      return Effect.gen(function* () {
        const it = yield* Asked
        const who = yield* Effect.fork(Effect.zip(it.ask, Effect.fiberId))
        yield* Effect.yieldNow()
        expect(yield* waiting).toBe(1)
        answers[0]?.(7)
        expect(yield* Fiber.join(who)).toEqual([1, who.id()])
        const caller = yield* Effect.fork(it.ask)
        yield* Effect.yieldNow()
        yield* Fiber.interrupt(caller)
        answers[1]?.(8)
        expect([yield* waiting, ...said]).toEqual([0, "asked 7"])
      }).pipe(Effect.provide(layer))
    })

    it.scoped("is released by the death of its instance, also where it cannot be interrupted", () => {
      const { answers, layer, said } = both()
      return Effect.gen(function* () {
        const it = yield* Asked
        const callers = [
          yield* Effect.fork(it.ask),
          yield* Effect.fork(Effect.uninterruptible(it.ask)),
          yield* Effect.fork(it.say("too late"))
        ]
        yield* Effect.yieldNow()
        yield* TestSupervision.crash("app/it")
        for (const caller of callers) expect(defectOf(yield* Fiber.await(caller))).toBeInstanceOf(InstanceDied)
        for (const answer of answers) answer(1)
        yield* Effect.yieldNow()
        expect(said).toEqual([])
      }).pipe(Effect.provide(layer))
    })

    it.scoped("tells the service that has called the one that died, and is itself released by its own death", () => {
      const { answers, layer, said } = both()
      return Effect.gen(function* () {
        const it = yield* Asking
        const first = yield* Effect.fork(it.ask)
        yield* Effect.yieldNow()
        yield* TestSupervision.crash("app/it")
        expect(yield* Fiber.join(first)).toBe("told")
        const second = yield* Effect.fork(it.ask)
        // It waits for the next instance first.
        yield* Effect.repeat(Effect.yieldNow(), { until: () => answers.length === 2 })
        yield* TestSupervision.crash("app/asking")
        expect(defectOf(yield* Fiber.await(second))).toBeInstanceOf(InstanceDied)
        answers[1]?.(2)
        yield* Effect.yieldNow()
        expect(said).toEqual(["told"])
        expect(yield* waiting).toBe(0)
      }).pipe(Effect.provide(layer))
    })
  })

  describe("that closes a scope of its caller's, whose finalizer has FiberRefs of another time", () => {
    const ref = FiberRef.unsafeMake(0)
    const Closing = Context.GenericTag<{ readonly close: (scope: Scope.CloseableScope) => Effect.Effect<void> }>(
      "Closing"
    )
    const closing = app(Layer.succeed(Closing, { close: (scope) => Scope.close(scope, Exit.void) }))
    /** A scope whose finalizer does this; without being asked for, nothing interrupts a finalizer. */
    const closedBy = (finalizer: Effect.Effect<unknown>) =>
      Effect.tap(Scope.make(), (scope) =>
        Effect.addFinalizer(() => finalizer).pipe(Effect.locally(ref, 7), Effect.provideService(Scope.Scope, scope))
      )

    it.scoped("is released by the death of its instance, and its caller and its fibers go on", () =>
      Effect.gen(function* () {
        const it = yield* Closing
        const scope = yield* closedBy(Effect.interruptible(Effect.never))
        const caller = yield* Effect.fork(
          Effect.gen(function* () {
            const worker = yield* Effect.fork(Effect.never)
            const exit = yield* Effect.exit(it.close(scope))
            yield* Effect.yieldNow()
            return [defectOf(exit) instanceof InstanceDied, worker.unsafePoll(), yield* FiberRef.get(ref)]
          }).pipe(Effect.locally(ref, 3))
        )
        yield* Effect.yieldNow()
        expect(yield* waiting).toBe(1)
        yield* TestSupervision.crash("app/it")
        expect(yield* Fiber.join(caller)).toEqual([true, null, 3])
      }).pipe(Effect.provide(closing))
    )

    it.scoped("stays interrupted if it was interrupted as well", () =>
      Effect.gen(function* () {
        const it = yield* Closing
        const scope = yield* closedBy(Effect.interruptible(Effect.never))
        const caller = yield* Effect.fork(it.close(scope))
        yield* Effect.yieldNow()
        yield* TestSupervision.crash("app/it")
        caller.unsafeInterruptAsFork(yield* Effect.fiberId)
        const exit = yield* Fiber.await(caller)
        expect(Exit.isInterrupted(exit)).toBe(true)
      }).pipe(Effect.provide(closing))
    )

    it.scoped(
      "answers a caller that cannot be interrupted, although its instance has died, and interrupts nobody later",
      () =>
        Effect.gen(function* () {
          const it = yield* Closing
          const gate = yield* Deferred.make<void>()
          const said: Array<string> = []
          const scope = yield* closedBy(Deferred.await(gate))
          const close = Effect.zipRight(
            Effect.uninterruptible(it.close(scope)),
            Effect.sync(() => said.push("closed"))
          )
          const caller = yield* Effect.fork(Effect.zipRight(close, Effect.as(Effect.yieldNow(), said)))
          yield* Effect.yieldNow()
          yield* TestSupervision.crash("app/it")
          yield* Effect.yieldNow()
          expect(caller.unsafePoll()).toBe(null)
          yield* Deferred.succeed(gate, undefined)
          expect(yield* Fiber.await(caller)).toEqual(Exit.succeed(["closed"]))
        }).pipe(Effect.provide(closing))
    )

    const Around = Context.GenericTag<{
      readonly piped: (scope: Scope.CloseableScope) => Effect.Effect<string>
      readonly yielded: (scope: Scope.CloseableScope) => Effect.Effect<string>
    }>("Around")
    for (const way of ["piped", "yielded"] as const)
      it.scoped(`tells the service that has called the one that died, and stays in the fiber of both (${way})`, () => {
        const told = (exit: Exit.Exit<unknown, unknown>) =>
          defectOf(exit) instanceof InstanceDied ? "told" : "not told"
        const around = Layer.effect(
          Around,
          Effect.map(Closing, (it) => ({
            piped: (scope) => Effect.map(Effect.exit(it.close(scope)), told),
            yielded: (scope) =>
              Effect.exit(
                Effect.gen(function* () {
                  yield* it.close(scope)
                })
              ).pipe(Effect.map(told))
          }))
        ).pipe(Supervised.layer({ id: "around" }))
        const inner = Layer.succeed(Closing, { close: (scope) => Scope.close(scope, Exit.void) }).pipe(
          Supervised.layer({ id: "it" })
        )
        const layer = around.pipe(Layer.provideMerge(inner), SupervisionTree.layer({ name: "app" }))
        return Effect.gen(function* () {
          const it = yield* Around
          const gate = yield* Deferred.make<void>()
          const dying = yield* closedBy(Effect.interruptible(Effect.never))
          const stuck = yield* closedBy(Deferred.await(gate))
          const first = yield* Effect.fork(Effect.zip(it[way](dying), FiberRef.get(ref)))
          yield* Effect.yieldNow()
          yield* TestSupervision.crash("app/it")
          expect(yield* Fiber.await(first)).toEqual(Exit.succeed(["told", 0]))
          yield* TestSupervision.awaitRestart("app/it")
          // The outer one dies while the finalizer cannot be interrupted: it is waited for, and has its FiberRefs to itself.
          const second = yield* Effect.fork(Effect.zip(Effect.exit(it[way](stuck)), FiberRef.get(ref)))
          yield* Effect.yieldNow()
          yield* TestSupervision.crash("app/around")
          yield* Effect.yieldNow()
          expect(second.unsafePoll()).toBe(null)
          yield* Deferred.succeed(gate, undefined)
          const [exit, value] = yield* Fiber.join(second)
          expect([told(exit), value]).toEqual(["told", 0])
        }).pipe(Effect.provide(layer))
      })

    it.scoped("leaves nothing in its instance when it is done or interrupted", () =>
      Effect.gen(function* () {
        const it = yield* Closing
        const gate = yield* Deferred.make<void>()
        const done = yield* Effect.fork(it.close(yield* closedBy(Deferred.await(gate))))
        const interrupted = yield* Effect.fork(it.close(yield* closedBy(Effect.interruptible(Effect.never))))
        yield* Effect.yieldNow()
        expect(yield* waiting).toBe(2)
        yield* Deferred.succeed(gate, undefined)
        yield* Fiber.join(done)
        yield* Fiber.interrupt(interrupted)
        expect(yield* waiting).toBe(0)
      }).pipe(Effect.provide(closing))
    )
  })

  it.scoped("is released also if it has looked at its FiberRefs, in what cannot be interrupted", () => {
    const Looking = Context.GenericTag<{ readonly look: Effect.Effect<never> }>("Looking")
    const looking = app(
      Layer.succeed(Looking, {
        look: Effect.withFiberRuntime<never>((fiber) => {
          // Writes the fiber's flags into them.
          fiber.getFiberRefs()
          return Effect.uninterruptible(Effect.never)
        })
      })
    )
    return Effect.gen(function* () {
      const caller = yield* Effect.fork(Effect.flatMap(Looking, (it) => Effect.uninterruptible(it.look)))
      yield* Effect.yieldNow()
      yield* TestSupervision.crash("app/it")
      expect(defectOf(yield* Fiber.await(caller))).toBeInstanceOf(InstanceDied)
    }).pipe(Effect.provide(looking))
  })

  it.scoped("depends on the service that it has called for as long as that call lasts, and no longer", () => {
    const Inner = Context.GenericTag<{ readonly fail: Effect.Effect<never, string> }>("Inner")
    const Outer = Context.GenericTag<{ readonly wait: Effect.Effect<never> }>("Outer")
    const inner = Layer.succeed(Inner, { fail: Effect.flatMap(Effect.void, () => Effect.fail("no")) }).pipe(
      Supervised.layer({ id: "inner" })
    )
    const outer = Layer.effect(
      Outer,
      Effect.map(Inner, (it) => ({ wait: Effect.catchAll(it.fail, () => Effect.never) }))
    ).pipe(Supervised.layer({ id: "outer" }))
    return Effect.gen(function* () {
      const it = yield* Outer
      const caller = yield* Effect.fork(it.wait)
      yield* Effect.yieldNow()
      yield* TestSupervision.crash("app/inner")
      yield* Effect.yieldNow()
      expect(caller.unsafePoll()).toBe(null)
      yield* TestSupervision.crash("app/outer")
      expect(defectOf(yield* Fiber.await(caller))).toMatchObject({ _tag: "InstanceDied", path: "app/outer" })
    }).pipe(Effect.provide(outer.pipe(Layer.provide(inner), SupervisionTree.layer({ name: "app" }))))
  })

  it.scoped("does each of its steps in a tracer's own context, if that has one", () => {
    const Traced = Context.GenericTag<{ readonly steps: Effect.Effect<ReadonlyArray<number>> }>("Traced")
    let entered = 0
    const enter = Effect.sync(() => entered)
    const traced = app(Layer.succeed(Traced, { steps: Effect.zip(enter, enter) }))
    return Effect.gen(function* () {
      const it = yield* Traced
      const tracer = yield* Effect.tracer
      const context: Tracer.Tracer["context"] = (f) => {
        entered += 1
        return f()
      }
      const [first = 0, second = 0] = yield* Effect.withTracer(it.steps, Tracer.make({ span: tracer.span, context }))
      expect(second).toBeGreaterThan(first)
    }).pipe(Effect.provide(traced))
  })

  it.scoped("may be nested as deep as without a handle", () => {
    const Steps = Context.GenericTag<{ readonly step: <A>(self: Effect.Effect<A>) => Effect.Effect<A> }>("Steps")
    const steps = app(Layer.succeed(Steps, { step: (self) => Effect.flatMap(Effect.void, () => self) }))
    return Effect.gen(function* () {
      const { step } = yield* Steps
      const walk = (n: number): Effect.Effect<string> =>
        n === 0 ? Effect.succeed("there") : step(Effect.suspend(() => walk(n - 1)))
      expect(yield* walk(20_000)).toBe("there")
      const stuck = yield* Effect.fork(step(step(step(Effect.never))))
      yield* Effect.yieldNow()
      yield* TestSupervision.crash("app/it")
      expect(defectOf(yield* Fiber.await(stuck))).toBeInstanceOf(InstanceDied)
    }).pipe(Effect.provide(steps))
  })

  it.scoped("changes the FiberRefs of its caller as it would without a handle, at once or after a wait", () => {
    const ref = FiberRef.unsafeMake("before")
    const Setter = Context.GenericTag<{ readonly set: (to: string, wait: boolean) => Effect.Effect<void> }>("Setter")
    const setter = app(
      Layer.succeed(Setter, {
        set: (to, wait) => Effect.zipRight(wait ? Effect.yieldNow() : Effect.void, FiberRef.set(ref, to))
      })
    )
    return Effect.gen(function* () {
      const { set } = yield* Setter
      yield* set("at once", false)
      expect(yield* FiberRef.get(ref)).toBe("at once")
      yield* set("after a wait", true)
      expect(yield* FiberRef.get(ref)).toBe("after a wait")
      expect(yield* Effect.locally(FiberRef.get(ref), ref, "local")).toBe("local")
    }).pipe(Effect.provide(setter))
  })

  it.scoped("does not keep other fibers from running, however often it is made", () => {
    const Busy = Context.GenericTag<{ readonly work: Effect.Effect<void> }>("Busy")
    const busy = app(
      Layer.succeed(Busy, {
        work: Effect.loop(0, { while: (n) => n < 100, step: (n) => n + 1, body: () => Effect.void, discard: true })
      })
    )
    return Effect.gen(function* () {
      const { work } = yield* Busy
      const turns: Array<number> = []
      const other = yield* Effect.fork(Effect.sync(() => turns.push(done)))
      let done = 0
      for (; done < 100; done++) yield* work
      yield* Fiber.join(other)
      // A hundred times some hundred steps, and the others have their turn after two thousand.
      expect(turns[0]).toBeGreaterThan(0)
      expect(turns[0]).toBeLessThan(50)
    }).pipe(Effect.provide(busy))
  })

  it.scoped("counts what a fiber of its own has done as its caller's, who gives the others their turn for it", () => {
    const Busy = Context.GenericTag<{ readonly work: Effect.Effect<void> }>("Busy")
    const body = { while: (n: number) => n < 500, step: (n: number) => n + 1, body: () => Effect.void }
    const busy = app(Layer.succeed(Busy, { work: Effect.uninterruptible(Effect.loop(0, { ...body, discard: true })) }))
    return Effect.gen(function* () {
      const { work } = yield* Busy
      const turns: Array<number> = []
      const other = yield* Effect.fork(Effect.sync(() => turns.push(done)))
      let done = 0
      // Two thousand steps are done in less than five times; those of the calls alone are no hundred.
      for (; done < 10; done++) yield* work
      yield* Fiber.join(other)
      expect(turns[0]).toBeGreaterThan(0)
      expect(turns[0]).toBeLessThan(6)
    }).pipe(Effect.provide(busy))
  })

  it.scoped("that closes a scope in a fiber of its own leaves a finalizer that hangs there behind", () => {
    const Closing = Context.GenericTag<{ readonly close: (scope: Scope.CloseableScope) => Effect.Effect<void> }>(
      "Closing"
    )
    const closing = app(Layer.succeed(Closing, { close: (scope) => Effect.disconnect(Scope.close(scope, Exit.void)) }))
    const ref = FiberRef.unsafeMake(0)
    return Effect.gen(function* () {
      const it = yield* Closing
      const scope = yield* Scope.make()
      const begun = yield* Deferred.make<void>()
      const gate = yield* Deferred.make<void>()
      const closed = yield* Deferred.make<void>()
      yield* Effect.addFinalizer(() =>
        Effect.all([Deferred.succeed(begun, undefined), Deferred.await(gate), Deferred.succeed(closed, undefined)])
      ).pipe(Effect.locally(ref, 7), Effect.provideService(Scope.Scope, scope))
      const caller = yield* Effect.fork(Effect.zip(Effect.exit(it.close(scope)), FiberRef.get(ref)))
      yield* Deferred.await(begun)
      yield* TestSupervision.crash("app/it")
      const [exit, left] = yield* Fiber.join(caller)
      expect([defectOf(exit) instanceof InstanceDied, left, yield* Deferred.isDone(closed)]).toEqual([true, 0, false])
      yield* Deferred.succeed(gate, undefined)
      yield* Deferred.await(closed)
    }).pipe(Effect.provide(closing))
  })
})
