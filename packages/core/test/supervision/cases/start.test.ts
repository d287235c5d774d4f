import { describe, expect, it } from "@effect/vitest"
import { Cause, Context, Effect, Exit, Fiber, Layer, Option, TestClock } from "effect"
import * as Machine from "../../../src/supervision/machine.js"
import * as Supervised from "../../../src/supervision/Supervised.js"
import * as SupervisionTree from "../../../src/supervision/SupervisionTree.js"
import { chain, family, member, reply, settle, statuses } from "./family.js"

const buildOf = <A, E>(layer: Layer.Layer<A, E>) => Effect.exit(Effect.scoped(Layer.build(layer)))

const refusal = (exit: Exit.Exit<unknown, unknown>): string | false =>
  Exit.isFailure(exit) && Cause.pretty(exit.cause).split("\n", 1).join()

describe("a start", () => {
  it.effect("1: a tree without children starts, and ends in good order", () =>
    Effect.gen(function* () {
      const context = yield* Effect.scoped(Layer.build(SupervisionTree.layer({ name: "app" })(Layer.empty)))
      const tree = Context.get(context, SupervisionTree.SupervisionTree)
      expect((yield* tree.snapshot).status).toBe("closed")
      expect(yield* reply(tree.control("start", "app/a"))).toBe("closed")
    })
  )

  it.effect("3: what putting the children together throws is what the start fails with", () =>
    Effect.gen(function* () {
      const thrown = Layer.suspend((): Layer.Layer<never> => {
        throw new Error("no configuration")
      })
      const exit = yield* buildOf(SupervisionTree.layer()(thrown))
      expect(Exit.isFailure(exit) && Option.getOrUndefined(Cause.dieOption(exit.cause))).toEqual(
        new Error("no configuration")
      )
    })
  )

  it("5, 6, 7: a child that declines to start keeps its specification, unless it is temporary", () => {
    const machine = Machine.make({ strategy: "one_for_one", intensity: 3, period: 5000, autoShutdown: "never" })
    const declined = (): ReadonlyArray<Machine.Action> => Machine.handle(machine, { _tag: "Ignored" }, 0)
    const spec = (id: string, restart: Machine.RestartType) => ({ id, restart, significant: false })
    Machine.handle(machine, { _tag: "Init", children: [spec("a", "temporary"), spec("b", "permanent")] }, 0)
    expect(declined()).toEqual([
      { _tag: "Forget", id: "a" },
      { _tag: "Start", id: "b", instance: 1 }
    ])
    Machine.handle(machine, { _tag: "Started" }, 0)
    for (const restart of ["permanent", "temporary"] as const) {
      Machine.handle(machine, { _tag: "StartChild", child: spec(restart, restart) }, 0)
      expect(declined()).toContainEqual({ _tag: "Reply", reply: "ignored" })
    }
    expect(Array.from(machine.children.values(), ({ id, status }) => [id, status])).toEqual([
      ["b", "up"],
      ["permanent", "down"]
    ])
  })

  it.effect("11: a child that is given no options is permanent, and has five seconds to stop", () => {
    const { layer } = family({}, { a: { finalizer: Effect.never } })
    return Effect.gen(function* () {
      const closing = yield* Effect.fork(Effect.provide(statuses, layer))
      yield* TestClock.adjust("4999 millis")
      expect(closing.unsafePoll()).toBe(null)
      yield* TestClock.adjust("1 millis")
      expect(yield* Fiber.join(closing)).toEqual(["a up #1"])
    })
  })

  it.effect("11: a child that is a tree has as long to stop as its own children take", () => {
    const events: Array<string> = []
    const slow = member("slow", events, { shutdown: "1 minute", finalizer: Effect.sleep("50 seconds") })
    const layer = slow.layer.pipe(
      SupervisionTree.layer(),
      Supervised.layer({ id: "inner" }),
      SupervisionTree.layer({ name: "app" })
    )
    return Effect.gen(function* () {
      const closing = yield* Effect.fork(Effect.provide(SupervisionTree.snapshot, layer))
      yield* TestClock.adjust("49 seconds")
      expect(closing.unsafePoll()).toBe(null)
      yield* TestClock.adjust("1 second")
      expect((yield* Fiber.join(closing)).children).toMatchObject([{ id: "inner", shutdown: "infinity" }])
    })
  })

  it.effect("12: the picture of the tree holds every child's options, defaults included", () => {
    const { layer } = family(
      {},
      {
        a: {},
        b: { shutdown: "brutalKill", restart: "transient" },
        c: { shutdown: "2 seconds" },
        d: { shutdown: "infinity" }
      }
    )
    return Effect.gen(function* () {
      expect((yield* SupervisionTree.snapshot).children).toMatchObject([
        { id: "a", restart: "permanent", shutdown: 5000, significant: false },
        { id: "b", restart: "transient", shutdown: "brutalKill", significant: false },
        { id: "c", restart: "permanent", shutdown: 2000, significant: false },
        { id: "d", restart: "permanent", shutdown: "infinity", significant: false }
      ])
    }).pipe(Effect.provide(layer))
  })

  it.effect("13: a path that is no child's is not found, neither is one of another tree", () => {
    const { layer } = family({}, { a: {} })
    return Effect.gen(function* () {
      for (const path of ["app/b", "a", "app", "other/a", "app/a/b", ""]) {
        expect(yield* reply(SupervisionTree.restart(path)), path).toBe("not found")
      }
      expect(yield* statuses).toEqual(["a up #1"])
    }).pipe(Effect.provide(layer))
  })

  it.effect("15: options out of range are refused by name, before anything is started", () =>
    Effect.gen(function* () {
      // What the types refuse may still come from a program without types.
      const bad = (options: Record<string, unknown>) => options as Supervised.ChildOptions
      for (const [options, problem] of [
        [bad({ restart: "sometimes" }), 'supervisor "app": child "a": restart is "sometimes"'],
        [bad({ shutdown: -10 }), 'supervisor "app": child "a": shutdown is -10'],
        [bad({ shutdown: "soon" }), 'supervisor "app": child "a": shutdown is "soon"'],
        [bad({ startTimeout: Number.NaN }), 'supervisor "app": child "a": startTimeout is NaN'],
        [bad({ whenDown: { await: -1 } }), 'supervisor "app": child "a": whenDown is -1'],
        [bad({ id: "" }), 'supervisor "app": child "": the id is empty']
      ] as const) {
        const { events, layer } = family({}, { a: options })
        expect(refusal(yield* buildOf(layer))).toContain(problem)
        expect(events).toEqual([])
      }
    })
  )

  it.effect("17: a strategy that does not exist is refused by name, an option that does not exist is ignored", () =>
    Effect.gen(function* () {
      const bad = (options: Record<string, unknown>) => options as SupervisionTree.Options
      const tree = (options: SupervisionTree.Options) => buildOf(family(options, { a: {} }).layer)
      expect(refusal(yield* tree(bad({ strategy: "two_for_one" })))).toContain('strategy is "two_for_one"')
      expect(refusal(yield* tree(bad({ autoShutdown: "sometimes" })))).toContain('autoShutdown is "sometimes"')
      expect(refusal(yield* tree({ intensity: -1 }))).toContain("intensity is -1")
      expect(refusal(yield* tree({ intensity: Number.POSITIVE_INFINITY }))).toContain("intensity is Infinity")
      expect(refusal(yield* tree({ period: 0 }))).toContain("period is 0 ms")
      expect(refusal(yield* tree({ period: Number.POSITIVE_INFINITY }))).toContain("period is Infinity ms")
      expect(refusal(yield* tree({ period: -1 }))).toContain("period is -1; it has to be a duration")
      expect(refusal(yield* tree(bad({ period: "soon" })))).toContain('period is "soon"; it has to be a duration')
      expect(Exit.isSuccess(yield* tree(bad({ colour: "red" })))).toBe(true)
    })
  )

  it.effect("19: order is that of the graph, not of the names: at the start, in a group restart and at the end", () => {
    const { events, layer, of } = family({ strategy: "one_for_all" }, { m: {}, a: {}, z: {}, k: {} })
    return Effect.gen(function* () {
      yield* Effect.gen(function* () {
        const a = yield* of.a.tag
        yield* a.end("crash")
        yield* settle
        expect(yield* statuses).toEqual(["m up #2", "a up #2", "z up #2", "k up #2"])
      }).pipe(Effect.provide(layer))
      expect(events).toEqual([
        ...["+m1", "+a1", "+z1", "+k1"],
        ...["-a1", "-k1", "-z1", "-m1"],
        ...["+m2", "+a2", "+z2", "+k2"],
        ...["-k2", "-z2", "-a2", "-m2"]
      ])
    })
  })
})

describe("a tree in a tree", () => {
  it.effect("78: a child that cannot start at the bottom is the failure of the whole start, as it was", () => {
    const events: Array<string> = []
    const [a, b] = [member("a", events), member("b", events)]
    class NoDatabase extends Error {}
    const broken = Supervised.layer(Layer.fail(new NoDatabase("port 5432")), { id: "db" })
    const layer = chain<never, NoDatabase, Supervised.CurrentSupervisor>([
      Layer.discard(b.layer),
      broken as Layer.Layer<never, NoDatabase, Supervised.CurrentSupervisor>
    ]).pipe(
      SupervisionTree.layer(),
      Supervised.layer({ id: "storage" }),
      Layer.provideMerge(a.layer),
      SupervisionTree.layer({ name: "app" })
    )
    return Effect.gen(function* () {
      const exit = yield* buildOf(layer)
      expect(Exit.isFailure(exit) && Array.from(Cause.failures(exit.cause))).toEqual([new NoDatabase("port 5432")])
      expect(events).toEqual(["+a1", "+b1", "-b1", "-a1"])
    })
  })
})
