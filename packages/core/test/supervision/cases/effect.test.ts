import { defaultTeardown } from "@effect/platform/Runtime"
import { describe, expect, it } from "@effect/vitest"
import { Cause, Chunk, Context, Deferred, Effect, Exit, Fiber, Layer, Logger, Option, Scope, Stream } from "effect"
import * as Supervised from "../../../src/supervision/Supervised.js"
import * as SupervisionTree from "../../../src/supervision/SupervisionTree.js"
import { end, family, type Member, member, settle, statuses } from "./family.js"

describe("a handle", () => {
  it.effect(
    "177: reaches the next instance through two layers that kept it, and through one built of its Effect",
    () => {
      const events: Array<string> = []
      const db = member("db", events)
      class Repository extends Context.Tag("Repository")<Repository, { readonly db: Member }>() {}
      class Orders extends Context.Tag("Orders")<Orders, { readonly instance: Effect.Effect<number> }>() {}
      const repository = Layer.effect(
        Repository,
        Effect.map(db.tag, (it) => ({ db: it }))
      )
      const orders = Layer.effect(
        Orders,
        Effect.map(Repository, (it) => ({ instance: it.db.instance }))
      )
      const layer = orders.pipe(
        Layer.provide(repository),
        Layer.provideMerge(db.layer),
        SupervisionTree.layer({ name: "app" })
      )
      return Effect.gen(function* () {
        const { instance } = yield* Orders
        expect(yield* instance).toBe(1)
        yield* end(db, "crash")
        expect(yield* instance).toBe(2)
        expect(events).toEqual(["+db1", "-db1", "+db2"])
      }).pipe(Effect.provide(layer))
    }
  )
})

describe("linking", () => {
  const Worker = Context.GenericTag<{ readonly stop: Effect.Effect<void>; readonly instance: Effect.Effect<number> }>(
    "Worker"
  )

  /** A layer as a third party writes it: it knows nothing of supervision, and its worker dies when told to. */
  const thirdParty = (
    fork: (worker: Effect.Effect<never>) => Effect.Effect<unknown, never, Scope.Scope>,
    instances = { count: 0 }
  ) =>
    Layer.scoped(
      Worker,
      Effect.gen(function* () {
        const instance = ++instances.count
        const told = yield* Deferred.make<void>()
        yield* fork(Effect.zipRight(Deferred.await(told), Effect.die("the worker died")))
        return { stop: Effect.asVoid(Deferred.succeed(told, undefined)), instance: Effect.succeed(instance) }
      })
    )

  const survives = (
    layer: Layer.Layer<{ readonly stop: Effect.Effect<void>; readonly instance: Effect.Effect<number> }>
  ) =>
    Effect.gen(function* () {
      const worker = yield* Worker
      yield* worker.stop
      yield* settle
      expect(yield* worker.instance).toBe(2)
    }).pipe(Effect.provide(layer.pipe(Supervised.layer({ id: "worker" }), SupervisionTree.layer({ name: "app" }))))

  it.effect("182: sees a fiber that was forked in a scope of the layer's own", () =>
    survives(
      thirdParty((worker) =>
        Effect.flatMap(Effect.acquireRelease(Scope.make(), Scope.close), (scope) => Effect.forkIn(worker, scope))
      )
    )
  )

  it.effect("182: sees a fiber of a layer that another one is provided with, also beside others", () => {
    class Facade extends Context.Tag("Facade")<Facade, Context.Tag.Service<typeof Worker>>() {}
    const facade = Layer.effect(Facade, Worker).pipe(Layer.provide(thirdParty(Effect.forkScoped)))
    const layer = Layer.effect(Worker, Facade).pipe(
      Layer.provide(Layer.mergeAll(Layer.empty, facade, Layer.effectDiscard(Effect.yieldNow())))
    )
    return survives(layer)
  })

  it.effect("183: takes a fiber that ends as it should for no crash, even if all of them do", () => {
    const layer = Layer.scopedDiscard(
      Effect.all([
        Effect.forkScoped(Effect.yieldNow()),
        Effect.forkDaemon(Effect.repeatN(Effect.yieldNow(), 3)),
        Effect.forkScoped(Effect.ignore(Effect.fail("handled")))
      ])
    ).pipe(Supervised.layer({ id: "done" }), SupervisionTree.layer({ name: "app" }))
    return Effect.gen(function* () {
      yield* settle
      expect(yield* statuses).toEqual(["done up #1"])
    }).pipe(Effect.provide(layer))
  })
})

describe("give-up", () => {
  it.effect("198: names path, child, count and Cause, and ends a process as a failure", () => {
    const { layer, of } = family({ intensity: 1 }, { a: {} })
    const crashes = Layer.effectDiscard(Effect.forkDaemon(Effect.zipRight(end(of.a, "crash"), end(of.a, "crash"))))
    return Effect.gen(function* () {
      const exit = yield* Effect.exit(SupervisionTree.launch(Layer.provideMerge(crashes, layer)))
      const failure = Exit.isFailure(exit) ? Option.getOrUndefined(Cause.failureOption(exit.cause)) : undefined
      expect(failure).toBeInstanceOf(SupervisionTree.SupervisorShutdown)
      expect(failure).toMatchObject({ path: "app", childId: "a", restarts: 2, reason: "intensity" })
      expect(failure?.message).toContain('supervisor "app" gave up: child "a" needed restart number 2')
      expect(failure && Cause.pretty(failure.cause)).toContain("a crashed")
      // What NodeRuntime.runMain and the like do with an Exit.
      const codes: Array<number> = []
      defaultTeardown(exit, (code) => codes.push(code))
      expect(codes).toEqual([1])
    })
  })
})

describe("whoever runs a tree", () => {
  it.effect("198: fails with its give-up as well if that comes while the tree is being built", () => {
    const slow = Layer.effectDiscard(Effect.repeatN(Effect.yieldNow(), 50))
    const layer = Supervised.layer(Layer.effectDiscard(Effect.void), { id: "late" }).pipe(
      Layer.provide(slow),
      Layer.provide(Supervised.effect("broken", Effect.die("no"))),
      SupervisionTree.layer({ name: "app", intensity: 0 })
    )
    return Effect.gen(function* () {
      expect(yield* Effect.flip(SupervisionTree.launch(layer))).toMatchObject({ path: "app", childId: "broken" })
      const provided = Effect.never.pipe(SupervisionTree.provide(layer))
      expect(yield* Effect.flip(provided)).toMatchObject({ path: "app", childId: "broken" })
    })
  })

  it.effect("198: fails with it also if a call dies of it first, but not if the tree was only closed", () => {
    const { layer, of } = family({ intensity: 0 }, { slow: { finalizer: settle }, a: {} })
    return Effect.gen(function* () {
      // A call that waits for the child hears of the end before the tree has stopped.
      const calls = Effect.flatMap(of.a.tag, (a) =>
        Effect.zipRight(a.end("crash"), Effect.forever(Effect.zipRight(Effect.yieldNow(), a.instance)))
      )
      const shutdown = yield* Effect.flip(calls.pipe(SupervisionTree.provide(layer)))
      expect(shutdown).toBeInstanceOf(SupervisionTree.SupervisorShutdown)
      const closed = yield* Effect.scoped(Effect.map(Layer.build(layer), (context) => Context.get(context, of.a.tag)))
      const exit = yield* Effect.exit(
        closed.instance.pipe(SupervisionTree.provide(SupervisionTree.layer()(Layer.empty)))
      )
      expect(Exit.isFailure(exit) && Cause.isDie(exit.cause)).toBe(true)
    })
  })
})

describe("a crash report", () => {
  it.effect("199: keeps what failed in parallel and in sequence apart, and names the spans it failed in", () => {
    const causes: Array<Cause.Cause<unknown>> = []
    const logger = Logger.make(({ cause }) => {
      causes.push(cause)
    })
    let builds = 0
    const go = Effect.runSync(Deferred.make<void>())
    const both = Effect.all([Effect.die("left"), Effect.ensuring(Effect.die("right"), Effect.die("finalizer"))], {
      concurrency: "unbounded"
    })
    const layer = Layer.scopedDiscard(
      Effect.suspend(() =>
        builds++ > 0
          ? Effect.void
          : Effect.forkScoped(Effect.zipRight(Deferred.await(go), Effect.withSpan(both, "import.run")))
      )
    ).pipe(Supervised.layer({ id: "import" }), SupervisionTree.layer({ name: "app" }))
    return Effect.gen(function* () {
      yield* Deferred.succeed(go, undefined)
      yield* settle
      expect(yield* statuses).toEqual(["import up #2"])
      const [cause] = causes
      if (cause === undefined) return expect.fail("nothing was reported")
      expect(Array.from(Cause.defects(cause)).sort()).toEqual(["finalizer", "left", "right"])
      const nodes = Cause.reduce(cause, { parallel: 0, sequential: 0 }, (count, node) =>
        Option.some({
          parallel: count.parallel + (node._tag === "Parallel" ? 1 : 0),
          sequential: count.sequential + (node._tag === "Sequential" ? 1 : 0)
        })
      )
      expect([nodes.parallel > 0, nodes.sequential > 0]).toEqual([true, true])
    }).pipe(Effect.provide(layer), Effect.provide(Logger.replace(Logger.defaultLogger, logger)))
  })
})

describe("looking at a tree", () => {
  it.effect("201: shows one moment at any time, in one order, and draws it as one text", () => {
    const { layer, of } = family({ strategy: "one_for_all", intensity: 20 }, { a: {}, b: {}, c: {}, d: {} })
    return Effect.gen(function* () {
      let isOver = false
      const crashes = Effect.forEach([of.c, of.a, of.d, of.b], (it) => end(it, "crash"), { discard: true }).pipe(
        Effect.ensuring(Effect.sync(() => (isOver = true)))
      )
      const running = yield* Effect.fork(crashes)
      let looks = 0
      while (!isOver) {
        const node = yield* SupervisionTree.snapshot
        looks++
        expect(node.children.map(({ id }) => id)).toEqual(["a", "b", "c", "d"])
        // One start at a time: never two that are neither up nor down.
        expect(node.children.filter(({ status }) => status === "starting").length).toBeLessThan(2)
        expect(SupervisionTree.render(node)).toBe(SupervisionTree.render(structuredClone(node)))
        yield* Effect.yieldNow()
      }
      yield* Fiber.join(running)
      expect(looks).toBeGreaterThan(100)
      expect(yield* statuses).toEqual(["a up #5", "b up #5", "c up #5", "d up #5"])
    }).pipe(Effect.provide(layer))
  })

  it.effect(
    "201: tells a subscriber what happens from then on; a slow one loses the oldest and holds nobody up",
    () => {
      const { layer, of } = family({ intensity: 1000 }, { a: {} })
      return Effect.scoped(
        Effect.gen(function* () {
          yield* end(of.a, "crash")
          const pull = yield* Stream.toPull(SupervisionTree.events)
          // The subscription begins with the first pull.
          const first = yield* Effect.fork(pull)
          yield* settle
          expect(first.unsafePoll()).toBe(null)
          yield* end(of.a, "crash")
          expect(Chunk.toReadonlyArray(yield* Fiber.join(first))[0]).toMatchObject({ _tag: "Exited", instance: 2 })
          // A hundred restarts, three events each, that nobody takes.
          yield* Effect.repeatN(end(of.a, "crash"), 99)
          expect(yield* statuses).toEqual(["a up #103"])
          const seen: Array<SupervisionTree.SupervisionEvent> = []
          yield* Effect.fork(Effect.forever(Effect.map(pull, (chunk) => seen.push(...chunk))))
          yield* settle
          expect(seen.length).toBe(256)
          expect(seen.at(-1)).toMatchObject({ _tag: "Started", path: "app/a", instance: 103 })
        })
      ).pipe(Effect.provide(layer))
    }
  )
})
