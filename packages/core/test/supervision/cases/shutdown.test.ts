import { describe, expect, it } from "@effect/vitest"
import { Cause, Deferred, Effect, Exit, Fiber, FiberId, Layer, Logger, TestClock } from "effect"
import * as Supervised from "../../../src/supervision/Supervised.js"
import { ChildDown, SupervisorShutdown } from "../../../src/supervision/SupervisionError.js"
import * as SupervisionTree from "../../../src/supervision/SupervisionTree.js"
import { chain, end, family, member, settle, statuses } from "./family.js"

describe("the end of a tree", () => {
  it.effect("68: waits without a bound for a worker and for a tree that are given as long as it takes", () => {
    const events: Array<string> = []
    const hour = { shutdown: "infinity", finalizer: Effect.sleep("1 hour") } as const
    const [worker, inner] = [member("worker", events, hour), member("inner", events, hour)]
    const layer = chain([
      worker.layer,
      inner.layer.pipe(SupervisionTree.layer(), Supervised.layer({ id: "tree", shutdown: "infinity" }))
    ]).pipe(SupervisionTree.layer({ name: "app" }))
    return Effect.gen(function* () {
      const closing = yield* Effect.fork(Effect.provide(statuses, layer))
      yield* TestClock.adjust("1 hour")
      expect(events.slice(2)).toEqual(["-inner1", "-worker1"])
      yield* TestClock.adjust("3599 seconds")
      expect(closing.unsafePoll()).toBe(null)
      yield* TestClock.adjust("1 second")
      yield* Fiber.join(closing)
    })
  })

  it.effect("69: gives up on a child that is stuck when its time is over, and on none of the others", () => {
    const { events, layer } = family({}, { a: {}, stuck: { shutdown: 1000, finalizer: Effect.never }, c: {} })
    return Effect.gen(function* () {
      const closing = yield* Effect.fork(Effect.provide(statuses, layer))
      yield* TestClock.adjust("999 millis")
      expect(events.slice(3)).toEqual(["-c1", "-stuck1"])
      yield* TestClock.adjust("1 millis")
      yield* Fiber.join(closing)
      expect(events.slice(5)).toEqual(["-a1"])
    })
  })

  it.effect("74: takes as long as its children take together", () => {
    const slow = { finalizer: Effect.sleep("100 millis") }
    const { events, layer } = family({}, { a: slow, b: slow, c: slow, d: slow, e: slow })
    return Effect.gen(function* () {
      const closing = yield* Effect.fork(Effect.provide(statuses, layer))
      yield* TestClock.adjust("0 millis")
      for (const id of ["e", "d", "c", "b", "a"]) {
        expect(closing.unsafePoll()).toBe(null)
        expect(events.at(-1)).toBe(`-${id}1`)
        yield* TestClock.adjust("100 millis")
      }
      yield* Fiber.join(closing)
    })
  })

  it.effect("71: reports a child whose finalizer fails, and goes on", () => {
    const lines: Array<string> = []
    const logger = Logger.make(({ cause, message }) => {
      lines.push(`${String(message)}: ${Cause.pretty(cause).split("\n", 1).join()}`)
    })
    const { events, layer } = family({}, { a: {}, b: { finalizer: Effect.die("disk full") } })
    return Effect.gen(function* () {
      yield* Effect.provide(statuses, layer)
      expect(lines).toEqual(['"app/b" (instance 1) stopped, but a finalizer of it failed: Error: disk full'])
      expect(events).toEqual(["+a1", "+b1", "-b1", "-a1"])
    }).pipe(Effect.provide(Logger.replace(Logger.defaultLogger, logger)))
  })

  it.effect("72: does not wait for a fiber that its child has unlinked", () =>
    Effect.gen(function* () {
      const release = yield* Deferred.make<void>()
      const stubborn = Effect.uninterruptible(Deferred.await(release))
      let fiber: Fiber.RuntimeFiber<void> | undefined
      const layer = Layer.effectDiscard(
        Effect.map(Supervised.unlinked(Effect.forkDaemon(stubborn)), (it) => {
          fiber = it
        })
      ).pipe(Supervised.layer({ id: "a", shutdown: "infinity" }), SupervisionTree.layer({ name: "app" }))
      expect(yield* Effect.provide(statuses, layer)).toEqual(["a up #1"])
      expect(fiber?.unsafePoll()).toBe(null)
      yield* Deferred.succeed(release, undefined)
    })
  )
})

describe("trees in trees", () => {
  it.effect("76: a part that crashes comes back as a whole; closing the top ends all of it", () => {
    const events: Array<string> = []
    const [top, worker] = [member("top", events), member("worker", events)]
    const layer = worker.layer.pipe(
      SupervisionTree.layer(),
      Supervised.layer({ id: "lower" }),
      SupervisionTree.layer(),
      Supervised.layer({ id: "upper" }),
      Layer.provideMerge(top.layer),
      SupervisionTree.layer({ name: "app" })
    )
    return Effect.gen(function* () {
      const service = yield* Effect.gen(function* () {
        const it = yield* worker.tag
        const tree = yield* SupervisionTree.SupervisionTree
        for (const [path, instance] of [
          ["app/upper/lower/worker", 2],
          ["app/upper/lower", 3],
          ["app/upper", 4]
        ] as const) {
          tree.find(path)?.child.slot.current?.exit({ exit: "abnormal", cause: Cause.die(path) })
          yield* settle
          expect(yield* it.instance).toBe(instance)
        }
        expect(yield* statuses).toEqual(["top up #1", "upper up #2"])
        return it
      }).pipe(Effect.provide(layer))
      expect(events).toEqual([
        ...["+top1", "+worker1"],
        ...["-worker1", "+worker2", "-worker2", "+worker3", "-worker3", "+worker4"],
        ...["-worker4", "-top1"]
      ])
      const exit = yield* Effect.exit(service.instance)
      const defect = Exit.isFailure(exit) ? Cause.squash(exit.cause) : undefined
      expect([ChildDown, SupervisorShutdown].some((type) => defect instanceof type)).toBe(true)
    })
  })

  it.effect(
    "188: interrupting whoever launched a tree stops it in exact reverse, each within its time, and once",
    () => {
      const { events, layer, of } = family(
        {},
        {
          a: {},
          stuck: { shutdown: "3 seconds", finalizer: Effect.never },
          slow: { finalizer: Effect.sleep("1 second") }
        }
      )
      return Effect.gen(function* () {
        const launched = yield* Effect.fork(SupervisionTree.launch(layer))
        yield* settle
        const linked: Array<Fiber.RuntimeFiber<unknown, unknown>> = []
        const looking = Layer.effectDiscard(
          Effect.flatMap(SupervisionTree.SupervisionTree, (tree) =>
            Effect.sync(() => {
              for (const id of ["a", "stuck", "slow"]) {
                linked.push(...(tree.find(`app/${id}`)?.child.slot.current?.tracker.linked ?? []))
              }
            })
          )
        )
        yield* Fiber.interrupt(launched).pipe(Effect.fork)
        yield* TestClock.adjust("1 second")
        expect(events.slice(3)).toEqual(["-slow1", "-stuck1"])
        yield* TestClock.adjust("3 seconds")
        expect(events.slice(5)).toEqual(["-a1"])
        expect(Exit.isInterrupted(yield* Fiber.await(launched))).toBe(true)
        // A second life, with a look at its fibers: all of them are gone when it is.
        events.length = 0
        const again = yield* Effect.fork(Effect.provide(Effect.never, Layer.provideMerge(looking, layer)))
        yield* settle
        expect([linked.length, linked.every((fiber) => fiber.unsafePoll() === null)]).toEqual([3, true])
        again.unsafeInterruptAsFork(FiberId.none)
        yield* TestClock.adjust("4 seconds")
        expect(linked.every((fiber) => fiber.unsafePoll() !== null)).toBe(true)
        expect(events).toEqual(["+a2", "+stuck2", "+slow2", "-slow2", "-stuck2", "-a2"])
        expect(of.a.state.instances).toBe(2)
      })
    }
  )
})

describe("a restart", () => {
  it.effect("189: builds the next instance only when the last one has closed", () => {
    const { events, layer, of } = family({}, { a: { finalizer: Effect.sleep("4 seconds") } })
    return Effect.gen(function* () {
      yield* end(of.a, "crash")
      yield* TestClock.adjust("3999 millis")
      expect(events).toEqual(["+a1", "-a1"])
      yield* TestClock.adjust("1 millis")
      expect(events).toEqual(["+a1", "-a1", "+a2"])
      yield* Effect.fork(TestClock.adjust("4 seconds"))
    }).pipe(Effect.provide(layer))
  })

  it.effect("187: builds the child's layers anew, over the services it was given", () => {
    const builds = { inner: 0, outer: 0 }
    let failures = 0
    const inner = Layer.effectDiscard(Effect.sync(() => ++builds.inner))
    const shared = Layer.effectDiscard(
      Effect.suspend(() => (++builds.outer === 2 && failures++ === 0 ? Effect.die("once") : Effect.void))
    )
    const events: Array<string> = []
    const [a, given] = [member("a", events), member("given", events)]
    const layer = a.bare.pipe(
      Layer.provide(Layer.mergeAll(inner, shared, Layer.provide(inner, shared))),
      Supervised.layer({ id: "a" }),
      Layer.provideMerge(given.bare),
      SupervisionTree.layer({ name: "app" })
    )
    return Effect.gen(function* () {
      yield* end(a, "crash")
      expect(yield* statuses).toEqual(["a up #3"])
      // Twice in the layer, once in an instance; and what failed once is not remembered.
      expect([builds.inner, builds.outer, failures]).toEqual([3, 3, 1])
      expect(events).toEqual(["+given1", "+a1", "-a1", "+a2"])
    }).pipe(Effect.provide(layer))
  })
})
