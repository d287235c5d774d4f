import { describe, expect, it } from "@effect/vitest"
import {
  type Cause,
  Chunk,
  Context,
  Deferred,
  Effect,
  Exit,
  Fiber,
  Layer,
  Logger,
  Scope,
  Stream,
  TestClock
} from "effect"
import * as DynamicSupervisor from "../../src/supervision/DynamicSupervisor.js"
import * as Supervised from "../../src/supervision/Supervised.js"
import * as SupervisionTree from "../../src/supervision/SupervisionTree.js"

interface Worker {
  readonly ask: Effect.Effect<string>
}

class Workers extends Context.Tag("Workers")<Workers, DynamicSupervisor.DynamicSupervisor<string, Worker>>() {}

/** Lets what was begun go on until nothing is left to do. */
const settle = TestClock.adjust(0)

/** Children that hang, stop slowly, or crash when they are told to. */
const world = () => {
  const crashes: Record<string, Deferred.Deferred<never>> = {}
  const child = (arg: string) =>
    Effect.gen(function* () {
      if (arg.startsWith("hang")) yield* Effect.never
      if (arg.startsWith("slow")) yield* Effect.addFinalizer(() => Effect.sleep("3 seconds"))
      const crash = yield* Deferred.make<never>()
      crashes[arg] = crash
      yield* Effect.forkScoped(Deferred.await(crash))
      return { ask: Effect.succeed(arg) }
    })
  const crash = (arg: string) =>
    Effect.zipRight(
      Effect.suspend(() => {
        const found = crashes[arg]
        return found === undefined ? Effect.die(`no ${arg}`) : Deferred.die(found, "boom")
      }),
      settle
    )
  return { options: { name: "workers", child, id: (arg: string) => arg, intensity: 0 }, crash }
}

const failureOf = (cause: Cause.Cause<unknown>): string => {
  switch (cause._tag) {
    case "Fail":
    case "Die": {
      const error = (cause._tag === "Fail" ? cause.error : cause.defect) as { _tag?: string; reason?: string }
      return [cause._tag, error._tag, error.reason].filter((part) => part !== undefined).join(" ")
    }
    default:
      return cause._tag
  }
}

/** How a fiber stands, as text. */
const stateOf = (fiber: Fiber.RuntimeFiber<unknown, unknown>): unknown => {
  const exit = fiber.unsafePoll()
  return exit === null ? "waits" : Exit.isSuccess(exit) ? exit.value : failureOf(exit.cause)
}

const outcome = <A>(effect: Effect.Effect<A, unknown>) =>
  Effect.gen(function* () {
    const fiber = yield* Effect.fork(effect)
    yield* settle
    return stateOf(fiber)
  })

const test = (name: string, body: () => Effect.Effect<unknown, unknown, Scope.Scope>) =>
  it.scoped(name, () => Effect.provide(Effect.suspend(body), Logger.remove(Logger.defaultLogger)))

describe("the end of a dynamic supervisor", () => {
  for (const where of ["alone", "in a tree"]) {
    test(`${where}: whoever waits is told by a failure that it has given up, and events end`, () =>
      Effect.gen(function* () {
        const { crash, options } = world()
        const workers =
          where === "alone"
            ? yield* DynamicSupervisor.make(options)
            : yield* DynamicSupervisor.layer(Workers, options).pipe(
                Supervised.layer({ id: "workers", restart: "temporary" }),
                SupervisionTree.layer({ name: "app" }),
                Layer.build,
                Effect.map(Context.get(Workers))
              )
        yield* workers.start("a")
        const start = yield* Effect.fork(workers.start("hangs"))
        const awaits = yield* Effect.fork(workers.awaitShutdown)
        const events = yield* Effect.fork(
          Effect.map(Stream.runCollect(workers.events), (all) => Array.from(all, (event) => event._tag))
        )
        yield* settle
        yield* crash("a")
        expect([start, awaits, events].map(stateOf)).toEqual([
          "Fail SupervisorShutdown intensity",
          "Fail SupervisorShutdown intensity",
          ["Exited", "GaveUp", "Stopped"]
        ])
      }))
  }

  test("events of one that is over are none, and awaitShutdown tells at once", () =>
    Effect.gen(function* () {
      const { crash, options } = world()
      const workers = yield* DynamicSupervisor.make(options)
      yield* workers.start("a")
      yield* crash("a")
      expect(Chunk.size(yield* Stream.runCollect(workers.events))).toBe(0)
      expect(yield* outcome(workers.awaitShutdown)).toBe("Fail SupervisorShutdown intensity")
    }))

  test("closed, it interrupts whoever waits for its giving up, then and later, and ends events", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const workers = yield* Scope.extend(DynamicSupervisor.make(world().options), scope)
      const awaits = yield* Effect.fork(workers.awaitShutdown)
      const events = yield* Effect.fork(Effect.map(Stream.runCollect(workers.events), Chunk.size))
      yield* settle
      yield* Scope.close(scope, Exit.void)
      yield* settle
      expect([awaits, events].map(stateOf)).toEqual(["Interrupt", 0])
      expect(yield* outcome(workers.awaitShutdown)).toBe("Interrupt")
    }))

  test("in a tree, a crash around it tells whoever waits for its giving up at once", () =>
    Effect.gen(function* () {
      const fail = yield* Deferred.make<never>()
      const { options } = world()
      const workers = yield* Layer.scoped(
        Workers,
        Effect.zipLeft(DynamicSupervisor.make(options), Effect.forkScoped(Deferred.await(fail)))
      ).pipe(
        Supervised.layer({ id: "workers", restart: "temporary" }),
        SupervisionTree.layer({ name: "app" }),
        Layer.build,
        Effect.map(Context.get(Workers))
      )
      const awaits = yield* Effect.fork(workers.awaitShutdown)
      const start = yield* Effect.fork(workers.start("hangs"))
      yield* settle
      yield* Deferred.die(fail, "boom")
      yield* settle
      expect([awaits, start].map(stateOf)).toEqual(["Die InstanceDied", "Fail SupervisorShutdown closed"])
    }))

  test("in a tree, a crash around it fails a start that waits even if its scope cannot be closed", () =>
    Effect.gen(function* () {
      const fail = yield* Deferred.make<never>()
      const { options } = world()
      const workers = yield* Layer.scoped(
        Workers,
        Effect.gen(function* () {
          const workers = yield* DynamicSupervisor.make(options)
          yield* Effect.addFinalizer(() => Effect.never)
          yield* Effect.forkScoped(Deferred.await(fail))
          return workers
        })
      ).pipe(
        Supervised.layer({ id: "workers", restart: "temporary", shutdown: "1 second" }),
        SupervisionTree.layer({ name: "app" }),
        Layer.build,
        Effect.map(Context.get(Workers))
      )
      const start = yield* Effect.fork(workers.start("hangs"))
      yield* settle
      yield* Deferred.die(fail, "boom")
      yield* settle
      expect(stateOf(start)).toBe("Fail SupervisorShutdown closed")
      yield* TestClock.adjust("1 second")
    }))

  test("says why while it is giving up: to calls, and to starts of any id, at once", () =>
    Effect.gen(function* () {
      const { crash, options } = world()
      const workers = yield* DynamicSupervisor.make(options)
      const slow = yield* workers.start("slow")
      yield* workers.start("a")
      const said = Effect.all([
        outcome(workers.start("b")),
        outcome(workers.start("slow")),
        outcome(slow.service.ask),
        outcome(slow.current)
      ])
      yield* crash("a")
      const during = yield* said
      yield* TestClock.adjust("3 seconds")
      const expected = [
        "Fail SupervisorShutdown intensity",
        "Fail SupervisorShutdown intensity",
        "Die SupervisorShutdown intensity",
        "Die SupervisorShutdown intensity"
      ]
      expect([during, yield* said]).toEqual([expected, expected])
    }))
})

describe("a dynamic supervisor in a child without an id", () => {
  test("has children under its name, also those that were started before it had one", () =>
    Effect.gen(function* () {
      const layer = Layer.scoped(
        Workers,
        Effect.tap(DynamicSupervisor.make(world().options), (workers) => Effect.orDie(workers.start("early")))
      ).pipe(Supervised.layer(), SupervisionTree.layer({ name: "app" }))
      const workers = Context.get(yield* Layer.build(layer), Workers)
      yield* workers.start("late")
      const paths = Array.from(yield* workers.children, ({ path }) => path)
      expect(paths).toEqual(["app/Workers/early", "app/Workers/late"])
      const { children } = yield* workers.snapshot
      expect(children.map(({ path }) => path)).toEqual(paths)
    }))
})

describe("start through a handle", () => {
  for (const turns of [0, 1, 2, 3, 4, 5, 6, 7, 8]) {
    test(`interrupted after ${turns} turns it has been answered, or leaves no child`, () =>
      Effect.gen(function* () {
        const layer = DynamicSupervisor.layer(Workers, {
          child: (arg) => Effect.as(Effect.yieldNow(), { ask: Effect.succeed(arg) })
        }).pipe(Supervised.layer({ id: "workers" }), SupervisionTree.layer({ name: "app" }))
        const workers = Context.get(yield* Layer.build(layer), Workers)
        const starter = yield* Effect.fork(workers.start("a"))
        for (let turn = 0; turn < turns; turn++) yield* Effect.yieldNow()
        const exit = yield* Fiber.interrupt(starter)
        yield* settle
        expect((yield* workers.count).specs).toBe(Exit.isSuccess(exit) ? 1 : 0)
      }))
  }
})

describe("calls of a child that crashed and stops slowly", () => {
  test("fail at once when it is terminated", () =>
    Effect.gen(function* () {
      const { crash, options } = world()
      const workers = yield* DynamicSupervisor.make({ ...options, intensity: 1 })
      const slow = yield* workers.start("slow")
      yield* crash("slow")
      const waits = yield* Effect.fork(slow.service.ask)
      yield* settle
      yield* Effect.fork(workers.terminate("slow"))
      yield* settle
      const later = yield* outcome(slow.service.ask)
      yield* TestClock.adjust("3 seconds")
      expect([stateOf(waits), later]).toEqual(["Die ChildDown", "Die ChildDown"])
    }))

  test("fail at once, and with why, when another one makes the supervisor give up", () =>
    Effect.gen(function* () {
      const { crash, options } = world()
      const workers = yield* DynamicSupervisor.make({ ...options, intensity: 1 })
      const slow = yield* workers.start("slow")
      yield* workers.start("a")
      yield* crash("slow")
      const waits = yield* Effect.fork(slow.service.ask)
      yield* settle
      yield* crash("a")
      const answers = [stateOf(waits), yield* outcome(slow.service.ask)]
      yield* TestClock.adjust("3 seconds")
      const expected = "Die SupervisorShutdown intensity"
      expect(answers).toEqual([expected, expected])
    }))
})
