import { describe, expect, it } from "@effect/vitest"
import {
  Cause,
  Context,
  Data,
  Deferred,
  Effect,
  Exit,
  Fiber,
  Layer,
  Logger,
  Metric,
  Option,
  Ref,
  type Scope,
  Stream,
  TestClock
} from "effect"
import * as DynamicSupervisor from "../../src/supervision/DynamicSupervisor.js"
import * as Supervised from "../../src/supervision/Supervised.js"
import { ChildDown, SupervisorConfigError, SupervisorShutdown } from "../../src/supervision/SupervisionError.js"
import * as SupervisionTree from "../../src/supervision/SupervisionTree.js"
import * as TestSupervision from "../../src/supervision/TestSupervision.js"

class Refused extends Data.TaggedError("Refused")<{ readonly arg: string }> {}

interface Worker {
  readonly arg: string
  readonly instance: Effect.Effect<number>
  /** Ends the instance by the exit of a fiber of its own. */
  readonly end: (how: "normal" | "shutdown" | Cause.Cause<unknown>) => Effect.Effect<void>
}

const crash = Cause.die("boom")

/** Children that write down what happens to them, and whose next starts can be told what to do. */
const world = () => {
  const log: Array<string> = []
  const instances: Record<string, number> = {}
  /** What the next starts of a child do, first to last; then they succeed. */
  const starts: Record<string, Array<Effect.Effect<void, Refused | DynamicSupervisor.Ignored>>> = {}
  /** What its finalizer does. */
  const stops: Record<string, Effect.Effect<void>> = {}
  let alive = 0
  const child = (arg: string) =>
    Effect.gen(function* () {
      const n = (instances[arg] ?? 0) + 1
      instances[arg] = n
      yield* Effect.addFinalizer(() =>
        Effect.zipRight(
          stops[arg] ?? Effect.void,
          Effect.sync(() => log.push(`${arg}#${n} stopped`))
        )
      )
      yield* starts[arg]?.shift() ?? Effect.void
      const ended = yield* Deferred.make<"normal" | "shutdown" | Cause.Cause<unknown>>()
      alive++
      yield* Deferred.await(ended).pipe(
        Effect.flatMap((how) => (typeof how === "string" ? Supervised.exit(how) : Effect.failCause(how))),
        Effect.ensuring(Effect.sync(() => alive--)),
        Effect.forkScoped
      )
      log.push(`${arg}#${n} up`)
      const worker: Worker = {
        arg,
        instance: Effect.succeed(n),
        end: (how) => Effect.asVoid(Deferred.succeed(ended, how))
      }
      return worker
    })
  return { log, starts, stops, child, alive: () => alive, instances }
}

/** Lets what was begun go on until nothing is left to do. */
const settle = TestClock.adjust(0)

const kill = (child: DynamicSupervisor.Child<Worker>, how: "normal" | "shutdown" | Cause.Cause<unknown> = crash) =>
  Effect.zipRight(
    Effect.flatMap(child.current, (worker) => worker.end(how)),
    settle
  )

const quiet = Logger.remove(Logger.defaultLogger)

const test = (name: string, body: (w: ReturnType<typeof world>) => Effect.Effect<unknown, unknown, Scope.Scope>) =>
  it.scoped(name, () =>
    Effect.provide(
      Effect.suspend(() => body(world())),
      quiet
    )
  )

describe("start", () => {
  test("95: answers with a child whose service is what the Effect answered with", ({ child }) =>
    Effect.gen(function* () {
      const workers = yield* DynamicSupervisor.make({ name: "workers", child })
      const a = yield* workers.start("a")
      expect([a.id, a.path, a.service.arg, yield* a.service.instance]).toEqual(["1", "workers/1", "a", 1])
      expect((yield* a.current).arg).toBe("a")
      expect((yield* workers.start("b")).path).toBe("workers/2")
    }))

  test("8, 95: keeps nothing of a child that declines to start, and stops cleanly afterwards", ({
    child,
    log,
    starts
  }) =>
    Effect.gen(function* () {
      starts.a = [new DynamicSupervisor.Ignored({ reason: "not today" })]
      yield* Effect.scoped(
        Effect.gen(function* () {
          const workers = yield* DynamicSupervisor.make({ child })
          const error = yield* Effect.flip(workers.start("a"))
          expect(error.message).toBe("the child declined to start: not today")
          expect(yield* workers.count).toEqual({ specs: 0, active: 0, supervisors: 0, workers: 0 })
          yield* workers.start("b")
        })
      )
      expect(log).toEqual(["a#1 stopped", "b#1 up", "b#1 stopped"])
    }))

  test("95: fails with the failure of the Effect, dies with its defect, and keeps nothing", ({ child, log, starts }) =>
    Effect.gen(function* () {
      const failures: Array<unknown> = []
      const workers = yield* DynamicSupervisor.make({
        child: (arg: string) => {
          if (arg === "throws") throw new Error("thrown")
          return child(arg)
        },
        intensity: 0
      })
      starts.a = [new Refused({ arg: "a" }), Effect.die("defect"), Effect.interrupt]
      for (const arg of ["a", "a", "a", "throws"]) {
        const exit = yield* Effect.exit(workers.start(arg))
        if (Exit.isFailure(exit))
          failures.push(Cause.isInterruptedOnly(exit.cause) ? "interrupted" : Cause.squash(exit.cause))
      }
      expect(failures).toEqual([new Refused({ arg: "a" }), "defect", "interrupted", new Error("thrown")])
      expect(log).toEqual(["a#1 stopped", "a#2 stopped", "a#3 stopped"])
      expect((yield* workers.count).specs).toBe(0)
      expect(yield* workers.children).toEqual([])
    }))

  test("94: refuses the id of a child that lives, and names that", ({ child }) =>
    Effect.gen(function* () {
      const workers = yield* DynamicSupervisor.make({ name: "workers", child, id: (arg) => arg })
      const a = yield* workers.start("a")
      const error = yield* Effect.flip(workers.start("a"))
      expect(error).toBeInstanceOf(DynamicSupervisor.AlreadyStarted)
      expect(error.message).toBe(
        'a child "workers/a" is already there: use it (field "child"), terminate it first, or start another one under another id'
      )
      expect(error instanceof DynamicSupervisor.AlreadyStarted && error.child === a).toBe(true)
      expect((yield* workers.start("a", { id: "a2" })).path).toBe("workers/a2")
      yield* workers.terminate(a)
      expect(yield* (yield* workers.start("a")).service.instance).toBe(3)
    }))

  test("waits for a child of the same id that is still starting, and takes its place if that fails", ({
    child,
    starts
  }) =>
    Effect.gen(function* () {
      const workers = yield* DynamicSupervisor.make({ child, id: (arg) => arg })
      starts.a = [Effect.delay(new Refused({ arg: "a" }), "1 second"), Effect.sleep("1 second")]
      const first = yield* Effect.fork(Effect.flip(workers.start("a")))
      const second = yield* Effect.fork(workers.start("a"))
      yield* settle
      const third = yield* Effect.fork(Effect.flip(workers.start("a")))
      yield* TestClock.adjust("1 second")
      expect(yield* Fiber.join(first)).toEqual(new Refused({ arg: "a" }))
      expect(second.unsafePoll()).toBe(null)
      yield* TestClock.adjust("1 second")
      const a = yield* Fiber.join(second)
      const error = yield* Fiber.join(third)
      expect(error instanceof DynamicSupervisor.AlreadyStarted && error.child === a).toBe(true)
    }))

  test("waits for a child of the same id that is still stopping: the old scope is closed before the new one is opened", ({
    child,
    log,
    stops
  }) =>
    Effect.gen(function* () {
      const workers = yield* DynamicSupervisor.make({ child, id: (arg) => arg })
      const a = yield* workers.start("a")
      stops.a = Effect.sleep("1 second")
      yield* Effect.fork(workers.terminate(a))
      yield* settle
      stops.a = Effect.void
      const next = yield* Effect.fork(workers.start("a"))
      yield* TestClock.adjust("1 second")
      yield* Fiber.join(next)
      expect(log).toEqual(["a#1 up", "a#1 stopped", "a#2 up"])
    }))

  test("97: fails when there are as many children as there may be", ({ child }) =>
    Effect.gen(function* () {
      const none = yield* DynamicSupervisor.make({ name: "none", child, maxChildren: 0 })
      const error = yield* Effect.flip(none.start("a"))
      expect(error).toEqual(new DynamicSupervisor.MaxChildren({ path: "none", maxChildren: 0 }))
      expect(error.message).toBe(
        '"none" has 0 children, as many as it may have (option maxChildren); terminate one first'
      )
      const one = yield* DynamicSupervisor.make({ child, maxChildren: 1 })
      const a = yield* one.start("a")
      expect(yield* Effect.flip(one.start("b"))).toBeInstanceOf(DynamicSupervisor.MaxChildren)
      yield* one.terminate(a)
      yield* one.start("b")
    }))

  test("101: maxChildren counts a child that is restarting after a failed start, and one that is up again", ({
    child,
    starts
  }) =>
    Effect.gen(function* () {
      const workers = yield* DynamicSupervisor.make({ child, maxChildren: 1 })
      const a = yield* workers.start("a")
      starts.a = [Effect.sleep("1 second")]
      yield* kill(a)
      expect(yield* workers.count).toEqual({ specs: 1, active: 0, supervisors: 0, workers: 1 })
      expect(yield* Effect.flip(workers.start("b"))).toBeInstanceOf(DynamicSupervisor.MaxChildren)
      yield* TestClock.adjust("1 second")
      expect((yield* workers.count).active).toBe(1)
      expect(yield* Effect.flip(workers.start("b"))).toBeInstanceOf(DynamicSupervisor.MaxChildren)
    }))

  test("is not held up by the start of another child that hangs", ({ child, starts }) =>
    Effect.gen(function* () {
      const workers = yield* DynamicSupervisor.make({ child })
      starts.a = [Effect.never]
      yield* Effect.fork(workers.start("a"))
      yield* settle
      const b = yield* workers.start("b")
      yield* kill(b)
      expect(yield* b.service.instance).toBe(2)
      yield* workers.terminate(b)
    }))

  test("interrupted, leaves no child behind, and waits until what it had acquired is given back", ({
    alive,
    child,
    log,
    starts,
    stops
  }) =>
    Effect.gen(function* () {
      const workers = yield* DynamicSupervisor.make({ child })
      starts.a = [Effect.never]
      stops.a = Effect.sleep("1 second")
      const starter = yield* Effect.fork(workers.start("a"))
      yield* settle
      const interrupted = yield* Effect.fork(Fiber.interrupt(starter))
      yield* settle
      expect(interrupted.unsafePoll()).toBe(null)
      yield* TestClock.adjust("1 second")
      expect(Exit.isInterrupted(yield* Fiber.join(interrupted))).toBe(true)
      expect([log, alive(), (yield* workers.count).specs]).toEqual([["a#1 stopped"], 0, 0])
    }))

  test("ends a build that takes longer than startTimeout, and says so", ({ child, log, starts }) =>
    Effect.gen(function* () {
      const workers = yield* DynamicSupervisor.make({ name: "workers", child, startTimeout: "1 second" })
      starts.a = [Effect.never]
      const starter = yield* Effect.fork(Effect.sandbox(workers.start("a")))
      yield* TestClock.adjust("1 second")
      const cause = yield* Effect.flip(Fiber.join(starter))
      expect(String(Cause.squash(cause))).toContain('"workers/1" did not start within 1000 ms (startTimeout)')
      expect(log).toEqual(["a#1 stopped"])
    }))

  test("runs children with the services and fiber-local values of the supervisor, not with those of who starts them", () =>
    Effect.gen(function* () {
      const Tenant = Context.GenericTag<string>("Tenant")
      const workers = yield* DynamicSupervisor.make({
        child: (_: number) => Effect.map(Tenant, (who) => ({ who }))
      }).pipe(Effect.provideService(Tenant, "layer"))
      const a = yield* Effect.provideService(workers.start(1), Tenant, "caller")
      expect(a.service.who).toBe("layer")
    }))

  test("can be asked by a child that is being built, of its own supervisor; the same id is refused there and not waited for", ({
    child
  }) =>
    Effect.gen(function* () {
      const errors: Array<unknown> = []
      const workers: DynamicSupervisor.DynamicSupervisor<string, { readonly inner: string }, unknown> =
        yield* DynamicSupervisor.make({
          child: (arg: string): Effect.Effect<{ readonly inner: string }, unknown, Scope.Scope> =>
            arg === "outer"
              ? Effect.gen(function* () {
                  yield* Effect.catchAll(workers.start("outer"), (error) => Effect.sync(() => errors.push(error)))
                  return { inner: (yield* workers.start("inner")).path }
                })
              : Effect.as(child(arg), { inner: "" }),
          id: (arg) => arg
        })
      expect((yield* workers.start("outer")).service.inner).toBe("dynamic/inner")
      expect(errors).toHaveLength(1)
      expect(errors[0]).toBeInstanceOf(DynamicSupervisor.AlreadyStarted)
    }))

  test("96: a bad option of one child is refused without touching the supervisor", ({ child }) =>
    Effect.gen(function* () {
      const workers = yield* DynamicSupervisor.make({ name: "workers", child })
      const bad = [{ id: "" }, { startTimeout: Number.POSITIVE_INFINITY }, { restart: "sometimes" as "permanent" }]
      const problems = yield* Effect.forEach(bad, (options) =>
        Effect.map(Effect.sandbox(workers.start("a", options)).pipe(Effect.flip), (cause) =>
          String(Cause.squash(cause))
        )
      )
      expect(problems).toEqual([
        'SupervisorConfigError: supervisor "workers": the id of a child is empty; it is a part of its path',
        'SupervisorConfigError: supervisor "workers": startTimeout is not a finite duration',
        'SupervisorConfigError: supervisor "workers": restart is "sometimes"; it has to be one of permanent, transient, temporary'
      ])
      expect((yield* workers.count).specs).toBe(0)
    }))
})

describe("restart", () => {
  const ways = ["normal", "shutdown", "crash"] as const
  const restarted = { permanent: ways, transient: ["crash"], temporary: [] } as const
  for (const restart of ["permanent", "transient", "temporary"] as const) {
    for (const way of ways) {
      const again = (restarted[restart] as ReadonlyArray<string>).includes(way)
      test(`99: a ${restart} child that ends by ${way} is ${again ? "restarted with its argument" : "forgotten"}`, ({
        child,
        log
      }) =>
        Effect.gen(function* () {
          const workers = yield* DynamicSupervisor.make({ child, restart })
          const a = yield* workers.start("a")
          yield* kill(a, way === "crash" ? crash : way)
          expect(log).toEqual(["a#1 up", "a#1 stopped", ...(again ? ["a#2 up"] : [])])
          expect((yield* workers.count).specs).toBe(again ? 1 : 0)
          if (again) expect(yield* a.service.instance).toBe(2)
          else expect(Cause.squash(yield* Effect.flip(Effect.sandbox(a.service.instance)))).toBeInstanceOf(ChildDown)
        }))
    }
  }

  test("98: what the child function closes over is there at every start", () =>
    Effect.gen(function* () {
      const seen: Array<string> = []
      const extra = "extra"
      const workers = yield* DynamicSupervisor.make({
        child: DynamicSupervisor.task((arg: string) => Effect.sync(() => seen.push(`${extra} ${arg}`))),
        intensity: 1
      })
      yield* workers.start("a")
      yield* settle
      expect(seen).toEqual(["extra a", "extra a"])
    }))

  test("100: a restart may find nothing to start: then the child is forgotten", ({ child, starts }) =>
    Effect.gen(function* () {
      const workers = yield* DynamicSupervisor.make({ child })
      const a = yield* workers.start("a")
      starts.a = [new DynamicSupervisor.Ignored({})]
      yield* kill(a)
      expect((yield* workers.count).specs).toBe(0)
      expect(yield* workers.find("1")).toEqual(Option.none())
    }))

  test("102: a failing restart is tried again without delay and succeeds, and each attempt counts", ({
    child,
    log,
    starts
  }) =>
    Effect.gen(function* () {
      const workers = yield* DynamicSupervisor.make({ child })
      const a = yield* workers.start("a")
      starts.a = [new Refused({ arg: "a" }), Effect.die("defect")]
      yield* kill(a)
      expect(log).toEqual(["a#1 up", "a#1 stopped", "a#2 stopped", "a#3 stopped", "a#4 up"])
      expect((yield* workers.snapshot).intensity).toEqual({ used: 3, max: 3, period: 5000 })
    }))

  for (const loop of ["crashes", "failing starts"] as const) {
    test(`62, 102: too many ${loop} stop all children and end the supervisor`, ({ child, log, starts, alive }) =>
      Effect.gen(function* () {
        const workers = yield* DynamicSupervisor.make({ name: "workers", child })
        const a = yield* workers.start("a")
        const b = yield* workers.start("b")
        if (loop === "failing starts") starts.a = Array.from({ length: 9 }, () => Effect.die("no"))
        for (let i = 0; i < (loop === "crashes" ? 4 : 1); i++) yield* kill(a)
        const error = yield* Effect.flip(workers.awaitShutdown)
        expect([error.path, error.childId, error.reason, error.restarts]).toEqual(["workers", "1", "intensity", 4])
        expect([alive(), log.at(-1)]).toEqual([0, "b#1 stopped"])
        expect(Cause.squash(yield* Effect.flip(Effect.sandbox(b.service.instance)))).toBeInstanceOf(SupervisorShutdown)
        expect(yield* Effect.flip(workers.start("c"))).toEqual(error)
        expect(yield* Effect.flip(workers.terminate(b))).toBeInstanceOf(DynamicSupervisor.NotFound)
        expect((yield* workers.count).specs).toBe(0)
      }))
  }

  test("46, 49: a crash exactly the period after another still counts it, and one a millisecond later does not", ({
    child
  }) =>
    Effect.gen(function* () {
      const workers = yield* DynamicSupervisor.make({ child, intensity: 1, period: "1 second" })
      const a = yield* workers.start("a")
      for (let i = 0; i < 5; i++) {
        yield* kill(a)
        yield* TestClock.adjust(1001)
      }
      expect((yield* workers.count).active).toBe(1)
      yield* kill(a)
      yield* TestClock.adjust(1000)
      yield* kill(a)
      expect((yield* Effect.flip(workers.awaitShutdown)).reason).toBe("intensity")
    }))

  test("33: two of three children failing to restart count as workers and not as active", ({ child, starts }) =>
    Effect.gen(function* () {
      const workers = yield* DynamicSupervisor.make({ child, intensity: 10 })
      const [a, b] = [yield* workers.start("a"), yield* workers.start("b"), yield* workers.start("c")]
      starts.a = [Effect.sleep("1 second")]
      starts.b = [Effect.delay(Effect.die("no"), "1 second")]
      yield* kill(a)
      yield* kill(b)
      expect(yield* workers.count).toEqual({ specs: 3, active: 1, supervisors: 0, workers: 3 })
      yield* TestClock.adjust("1 second")
      expect(yield* workers.count).toEqual({ specs: 3, active: 3, supervisors: 0, workers: 3 })
    }))

  test("45: the argument of a temporary child is not kept while it runs, and no other one after its end", ({ child }) =>
    Effect.gen(function* () {
      const workers = yield* DynamicSupervisor.make({ child: (arg: { readonly name: string }) => child(arg.name) })
      const argOf = (of: unknown) => (of as { readonly arg: unknown }).arg
      const a = yield* workers.start({ name: "a" }, { restart: "temporary" })
      const b = yield* workers.start({ name: "b" })
      expect([argOf(a), argOf(b)]).toEqual([undefined, { name: "b" }])
      yield* kill(a)
      yield* workers.terminate(b)
      expect([argOf(a), argOf(b)]).toEqual([undefined, undefined])
    }))

  test("a service that no handle can carry is read with current", () =>
    Effect.gen(function* () {
      const workers = yield* DynamicSupervisor.make({
        child: (n: number) =>
          Effect.zipLeft(Ref.make(n), Effect.forkScoped(Effect.delay(Effect.die("boom"), "1 second")))
      })
      const a = yield* workers.start(7)
      yield* Ref.set(yield* a.current, 8)
      expect(yield* Ref.get(yield* a.current)).toBe(8)
      yield* TestClock.adjust("1 second")
      expect(yield* Ref.get(yield* a.current)).toBe(7)
    }))
})

describe("terminate", () => {
  test("104: stops a child, and does not find it a second time", ({ child, log }) =>
    Effect.gen(function* () {
      const workers = yield* DynamicSupervisor.make({ name: "workers", child, intensity: 0 })
      const a = yield* workers.start("a")
      yield* workers.terminate(a)
      expect(log).toEqual(["a#1 up", "a#1 stopped"])
      const error = yield* Effect.flip(workers.terminate(a))
      expect(error.message).toBe('"workers" has no child "1": it has ended, or was never there')
    }))

  test("13, 104: does not find a child of another supervisor, or one whose id has passed on", ({ child }) =>
    Effect.gen(function* () {
      const [one, two] = [yield* DynamicSupervisor.make({ child }), yield* DynamicSupervisor.make({ child })]
      const [a, b] = [yield* one.start("a"), yield* two.start("b")]
      expect(a.id).toBe(b.id)
      expect(yield* Effect.flip(one.terminate(b))).toBeInstanceOf(DynamicSupervisor.NotFound)
      yield* one.terminate(a)
      yield* one.start("c", { id: a.id })
      expect(yield* Effect.flip(one.terminate(a))).toBeInstanceOf(DynamicSupervisor.NotFound)
      expect((yield* one.count).active).toBe(1)
    }))

  test("64, 67, 104: works on a child that is stuck in failing restarts, and ends the attempts", ({
    child,
    starts,
    instances
  }) =>
    Effect.gen(function* () {
      const workers = yield* DynamicSupervisor.make({ child, intensity: 1_000_000 })
      const a = yield* workers.start("a")
      starts.a = Array.from({ length: 100_000 }, () => Effect.die("no"))
      yield* Effect.flatMap(a.current, (worker) => worker.end(crash))
      for (let i = 0; i < 200; i++) yield* Effect.yieldNow()
      expect(instances.a).toBeGreaterThan(10)
      yield* workers.terminate(a)
      const attempts = instances.a
      for (let i = 0; i < 200; i++) yield* Effect.yieldNow()
      expect([instances.a, (yield* workers.count).specs]).toEqual([attempts, 0])
    }))

  test("works on a child whose first start hangs: the starter is told so by a failure", ({ child, starts }) =>
    Effect.gen(function* () {
      const workers = yield* DynamicSupervisor.make({ child, id: (arg) => arg })
      starts.a = [Effect.never]
      const starter = yield* Effect.fork(workers.start("a"))
      yield* settle
      yield* workers.terminate("a")
      const error = yield* Effect.flip(Fiber.join(starter))
      expect(error).toEqual(new DynamicSupervisor.Terminated({ path: "dynamic/a" }))
      expect(error.message).toBe(
        'the child "dynamic/a" was terminated before it was up; start it again if it is still wanted'
      )
    }))

  test("does not wait for itself in a finalizer of the child", () =>
    Effect.gen(function* () {
      const workers: DynamicSupervisor.DynamicSupervisor<string, string> = yield* DynamicSupervisor.make({
        child: (arg: string) =>
          Effect.as(
            Effect.addFinalizer(() => Effect.ignore(workers.terminate(arg))),
            arg
          ),
        id: (arg) => arg,
        shutdown: "infinity"
      })
      yield* workers.start("a")
      yield* workers.terminate("a")
    }))
})

describe("close", () => {
  /** Three children that take so long to stop, and how long the supervisor takes. */
  const closing = (
    options: Partial<DynamicSupervisor.Options<string, Worker, never, never>>,
    millis: ReadonlyArray<number>
  ) =>
    Effect.gen(function* () {
      const w = world()
      const start = yield* TestClock.currentTimeMillis
      const fiber = yield* Effect.gen(function* () {
        const workers = yield* DynamicSupervisor.make({
          child: w.child,
          ...options
        } as unknown as DynamicSupervisor.Options<string, Worker, never, never>)
        for (const [i, time] of millis.entries()) {
          w.stops[`${i}`] = time === Number.POSITIVE_INFINITY ? Effect.never : Effect.sleep(time)
          yield* workers.start(`${i}`)
        }
      }).pipe(Effect.scoped, Effect.fork)
      let steps = 0
      for (yield* settle; fiber.unsafePoll() === null && steps < 1000; steps++) yield* TestClock.adjust("100 millis")
      return {
        took: (yield* TestClock.currentTimeMillis) - start,
        log: w.log.filter((line) => line.endsWith("stopped"))
      }
    })

  test("73: children that need 100 %, 100 % and 250 % of their time are stopped in that time", () =>
    Effect.gen(function* () {
      const { log, took } = yield* closing({ shutdown: "1 second" }, [900, 900, 2500])
      expect([took, log.sort()]).toEqual([1000, ["0#1 stopped", "1#1 stopped"]])
    }))

  test("74: the stop of five children takes as long as the slowest, not as long as all", () =>
    Effect.gen(function* () {
      expect((yield* closing({}, [100, 300, 500, 200, 400])).took).toBe(500)
    }))

  test("103: brutalKill waits for nobody, infinity for everybody, and an expired time ends the stuck one only", () =>
    Effect.gen(function* () {
      expect((yield* closing({ shutdown: "brutalKill" }, [100, Number.POSITIVE_INFINITY])).took).toBe(0)
      expect((yield* closing({ shutdown: "infinity" }, [100, 9000])).took).toBe(9000)
      const { log, took } = yield* closing({ shutdown: "500 millis" }, [100, Number.POSITIVE_INFINITY, 400])
      expect([took, log]).toEqual([500, ["0#1 stopped", "2#1 stopped"]])
    }))

  test("103: each child may have a time of its own", ({ child, log, stops }) =>
    Effect.gen(function* () {
      const events: Array<string> = []
      const fiber = yield* Effect.gen(function* () {
        const workers = yield* DynamicSupervisor.make({ child, id: (arg) => arg })
        yield* Effect.forkDaemon(
          Stream.runForEach(workers.events, (event) =>
            Effect.sync(() => {
              if (event._tag === "Orphaned" || event._tag === "Stopped") events.push(`${event._tag} ${event.path}`)
            })
          )
        )
        yield* settle
        for (const [id, shutdown] of Object.entries({
          kill: "brutalKill",
          short: "1 second",
          long: "infinity"
        } as const)) {
          stops[id] = Effect.sleep("3 seconds")
          yield* workers.start(id, { shutdown })
        }
      }).pipe(Effect.scoped, Effect.fork)
      yield* settle
      yield* TestClock.adjust("1 second")
      expect([events, fiber.unsafePoll()]).toEqual([["Orphaned dynamic/kill", "Orphaned dynamic/short"], null])
      yield* TestClock.adjust("2 seconds")
      expect(fiber.unsafePoll()).not.toBe(null)
      // What was left to itself has still run its finalizers.
      expect(log.filter((line) => line.endsWith("stopped")).sort()).toEqual([
        "kill#1 stopped",
        "long#1 stopped",
        "short#1 stopped"
      ])
    }))

  test("65, 67: is prompt while a child is stuck in failing restarts, or hangs in one", ({ child, starts }) =>
    Effect.gen(function* () {
      const fiber = yield* Effect.gen(function* () {
        const workers = yield* DynamicSupervisor.make({ child, intensity: 1_000_000 })
        const [a, b] = [yield* workers.start("a"), yield* workers.start("b")]
        starts.a = Array.from({ length: 100_000 }, () => Effect.die("no"))
        starts.b = [Effect.never]
        yield* Effect.flatMap(a.current, (worker) => worker.end(crash))
        yield* Effect.flatMap(b.current, (worker) => worker.end(crash))
        for (let i = 0; i < 200; i++) yield* Effect.yieldNow()
      }).pipe(Effect.scoped, Effect.fork)
      yield* Fiber.join(fiber)
    }))

  test("a start that is under way then fails with SupervisorShutdown", ({ child, starts }) =>
    Effect.gen(function* () {
      const scope = yield* Effect.scope
      starts.a = [Effect.never]
      const starter = yield* Effect.scoped(
        Effect.gen(function* () {
          const workers = yield* DynamicSupervisor.make({ child })
          const starter = yield* Effect.forkIn(Effect.flip(workers.start("a")), scope)
          yield* settle
          return starter
        })
      )
      const error = yield* Fiber.join(starter)
      expect(error instanceof SupervisorShutdown && error.reason).toBe("closed")
    }))
})

describe("in a tree", () => {
  class Workers extends Context.Tag("Workers")<
    Workers,
    DynamicSupervisor.DynamicSupervisor<string, Worker, Refused | DynamicSupervisor.Ignored>
  >() {}

  const app = (w: ReturnType<typeof world>, options: { readonly restart?: "permanent" | "transient" } = {}) =>
    DynamicSupervisor.layer(Workers, { child: w.child, id: (arg) => arg, intensity: 1 }).pipe(
      Supervised.layer({ id: "workers", ...options }),
      SupervisionTree.layer({ name: "app" })
    )

  test("91: is a child of it, and its children are drawn below it", (w) =>
    Effect.gen(function* () {
      const workers = yield* Workers
      const a = yield* workers.start("a")
      yield* workers.start("b", { restart: "temporary" })
      yield* kill(a)
      yield* TestSupervision.expectTree(`
        app one_for_one, 0 of 3 restarts in 5 s
        └─ workers up #1, one_for_one, 1 of 1 restarts in 5 s
           ├─ a up #2, restarted 1×
           └─ b up #1, temporary
      `)
    }).pipe(Effect.provide(app(w))))

  test("91: several are told apart by their tags and ids", ({ child }) => {
    class Other extends Context.Tag("Other")<Other, DynamicSupervisor.DynamicSupervisor<string, Worker, never>>() {}
    const layers = Layer.merge(
      Supervised.layer(DynamicSupervisor.layer(Workers, { child }), { id: "one" }),
      Supervised.layer(DynamicSupervisor.layer(Other, { child: (arg) => Effect.orDie(child(arg)) }), { id: "two" })
    ).pipe(SupervisionTree.layer({ name: "app" }))
    return Effect.gen(function* () {
      const [one, two] = [yield* Workers, yield* Other]
      expect([(yield* one.start("a")).path, (yield* two.start("a")).path]).toEqual(["app/one/1", "app/two/1"])
    }).pipe(Effect.provide(layers))
  })

  test("62: giving up is the exit of a child of the tree, which restarts it empty; the same handle reaches the new one", (w) =>
    Effect.gen(function* () {
      const workers = yield* Workers
      const [a, b] = [yield* workers.start("a"), yield* workers.start("b")]
      yield* kill(a)
      yield* kill(a)
      yield* TestSupervision.awaitRestart("app/workers")
      expect(yield* workers.children).toEqual([])
      expect(w.log).toEqual(["a#1 up", "b#1 up", "a#1 stopped", "a#2 up", "a#2 stopped", "b#1 stopped"])
      expect(yield* Effect.flip(workers.terminate(b))).toBeInstanceOf(DynamicSupervisor.NotFound)
      expect(yield* (yield* workers.start("a")).service.instance).toBe(3)
    }).pipe(Effect.provide(app(w))))

  test("giving up is an orderly exit: a transient one is left down", (w) =>
    Effect.gen(function* () {
      const workers = yield* Workers
      const a = yield* workers.start("a")
      yield* kill(a)
      yield* kill(a)
      yield* TestSupervision.expectTree(`
        app one_for_one, 0 of 3 restarts in 5 s
        └─ workers down #1, transient
      `)
    }).pipe(Effect.provide(app(w, { restart: "transient" }))))

  test("a crash of the instance around it stops its children", (w) =>
    Effect.gen(function* () {
      const workers = yield* Workers
      yield* workers.start("a")
      yield* TestSupervision.crash("app/workers")
      yield* TestSupervision.awaitRestart("app/workers")
      expect([w.log, w.alive()]).toEqual([["a#1 up", "a#1 stopped"], 0])
    }).pipe(Effect.provide(app(w))))

  test("of many children it draws some, and counts the others", ({ child }) =>
    Effect.gen(function* () {
      const workers = yield* DynamicSupervisor.make({ name: "workers", child })
      for (let i = 0; i < 50; i++) yield* workers.start(`${i}`)
      const { children, omitted } = yield* workers.snapshot
      expect([children.length, omitted]).toEqual([20, { up: 30, other: 0 }])
      const picture = SupervisionTree.render(yield* workers.snapshot).split("\n")
      expect([picture.length, picture.at(-2), picture.at(-1)]).toEqual([22, "├─ 20 up #1", "└─ and 30 more up"])
    }))

  test("32: children with a tree inside count as supervisors, have time to stop, and escalate", () => {
    class Db extends Context.Tag("Db")<Db, { readonly n: number }>() {}
    const stopped: Array<string> = []
    const tenant = (name: string) =>
      Layer.scoped(
        Db,
        Effect.as(
          Effect.addFinalizer(() =>
            Effect.delay(
              Effect.sync(() => stopped.push(name)),
              "9 seconds"
            )
          ),
          { n: 1 }
        )
      ).pipe(Supervised.layer({ id: "db", shutdown: "10 seconds" }), SupervisionTree.layer({ intensity: 0 }))
    return Effect.gen(function* () {
      const fiber = yield* Effect.gen(function* () {
        const tenants = yield* DynamicSupervisor.make({
          name: "tenants",
          child: (name: string) => Effect.map(Layer.build(tenant(name)), Context.get(Db)),
          id: (name) => name
        })
        const a = yield* tenants.start("a")
        yield* tenants.start("b")
        expect([a.service.n, yield* tenants.count]).toEqual([1, { specs: 2, active: 2, supervisors: 2, workers: 0 }])
        expect(SupervisionTree.render(yield* tenants.snapshot)).toBe(
          [
            "tenants one_for_one, 0 of 3 restarts in 5 s",
            "├─ a up #1, one_for_one, 0 of 0 restarts in 5 s",
            "│  └─ db up #1",
            "└─ b up #1, one_for_one, 0 of 0 restarts in 5 s",
            "   └─ db up #1"
          ].join("\n")
        )
      }).pipe(Effect.scoped, Effect.fork)
      yield* TestClock.adjust("9 seconds")
      yield* Fiber.join(fiber)
      expect(stopped.sort()).toEqual(["a", "b"])
    })
  })
})

describe("many children", () => {
  test("31: a thousand and then another two thousand are counted and listed once each, and none after all are killed", ({
    child
  }) =>
    Effect.gen(function* () {
      const workers = yield* DynamicSupervisor.make({ child, restart: "temporary" })
      for (const n of [1000, 2000]) {
        for (let i = 0; i < n; i++) yield* workers.start(`${i}`)
        const listed = yield* workers.children
        expect(new Set(listed.map((it) => it.id)).size).toBe(listed.length)
        expect(yield* workers.count).toEqual({
          specs: listed.length,
          active: listed.length,
          supervisors: 0,
          workers: listed.length
        })
      }
      for (const it of yield* workers.children) yield* Effect.flatMap(it.current, (worker) => worker.end(crash))
      yield* settle
      expect(yield* workers.count).toEqual({ specs: 0, active: 0, supervisors: 0, workers: 0 })
    }))
})

describe("very many children", () => {
  const all = (n: number) =>
    Effect.gen(function* () {
      let [up, down, sum] = [0, 0, 0]
      yield* Effect.gen(function* () {
        const workers = yield* DynamicSupervisor.make({
          child: (i: number) =>
            Effect.as(
              Effect.acquireRelease(
                Effect.sync(() => up++),
                () => Effect.sync(() => down++)
              ),
              { ask: Effect.succeed(i) }
            ),
          restart: "temporary"
        })
        for (let i = 0; i < n; i++) sum += yield* (yield* workers.start(i)).service.ask
      }).pipe(Effect.scoped)
      expect([up, down, sum]).toEqual([n, n, (n * (n - 1)) / 2])
    })

  test("89, 204: start, answer and stop, and nothing of them is left", () =>
    Effect.gen(function* () {
      yield* all(1000)
      yield* all(10_000)
    }))
})

describe("make", () => {
  test("92: defaults are permanent, 3 restarts in 5 seconds, and any number of children", ({ child }) =>
    Effect.gen(function* () {
      const workers = yield* DynamicSupervisor.make({ child })
      yield* workers.start("a")
      expect(SupervisionTree.render(yield* workers.snapshot)).toBe(
        "dynamic one_for_one, 0 of 3 restarts in 5 s\n└─ 1 up #1"
      )
      expect((yield* workers.snapshot).children[0]).toMatchObject({ restart: "permanent", shutdown: 5000 })
    }))

  test("84, 93: refuses numbers out of range, and options that a dynamic supervisor does not have", ({ child }) =>
    Effect.gen(function* () {
      const bad = [
        { intensity: -1 },
        { intensity: Number.POSITIVE_INFINITY },
        { period: 0 },
        { period: -1 },
        { shutdown: "soon" },
        { startTimeout: -5 },
        { whenDown: { await: Number.NaN } },
        { maxChildren: -1 },
        { maxChildren: 0.5 },
        { restart: "never" },
        { name: "" },
        { strategy: "one_for_all" },
        { autoShutdown: "anySignificant" }
      ]
      const problems = yield* Effect.forEach(bad, (options) =>
        DynamicSupervisor.make({ child, name: "w", ...options } as unknown as DynamicSupervisor.Options<
          string,
          Worker,
          never,
          never
        >).pipe(
          Effect.sandbox,
          Effect.flip,
          Effect.map((cause) => {
            const error = Cause.squash(cause)
            return error instanceof SupervisorConfigError ? error.problem : error
          })
        )
      )
      expect(problems).toEqual([
        "intensity is -1; it has to be an integer from 0 up",
        "intensity is Infinity; it has to be an integer from 0 up",
        "period is 0 ms; it has to be above 0",
        'period is -1; it has to be a duration of zero or more, such as "5 seconds"',
        'shutdown is "soon"; it has to be a duration of zero or more, such as "5 seconds"',
        'startTimeout is -5; it has to be a duration of zero or more, such as "5 seconds"',
        'whenDown is NaN; it has to be a duration of zero or more, such as "5 seconds"',
        "maxChildren is -1; it has to be an integer from 0 up, or Infinity",
        "maxChildren is 0.5; it has to be an integer from 0 up, or Infinity",
        'restart is "never"; it has to be one of permanent, transient, temporary',
        "the name is empty; it is the first part of every path",
        "there is no option strategy: a dynamic supervisor is one_for_one, and does not end with its children",
        "there is no option autoShutdown: a dynamic supervisor is one_for_one, and does not end with its children"
      ])
    }))
})

describe("metrics", () => {
  test("200: count those that are up, restarts and give-ups under the path of the supervisor", ({ child }) =>
    Effect.gen(function* () {
      const read = Effect.map(Metric.snapshot, (pairs) =>
        Object.fromEntries(
          pairs
            .filter(({ metricKey }) => metricKey.tags.some((tag) => tag.key === "path" && tag.value === "metered"))
            .map(({ metricKey, metricState }) => [
              metricKey.name.replace("effecto_supervision_", ""),
              (metricState as { readonly count?: number; readonly value?: number }).count ??
                (metricState as { readonly value?: number }).value
            ])
        )
      )
      const workers = yield* DynamicSupervisor.make({ name: "metered", child, intensity: 1 })
      const a = yield* workers.start("a")
      yield* workers.start("b")
      yield* kill(a)
      expect(yield* read).toEqual({ active: 2, restarts: 1 })
      yield* kill(a)
      expect(yield* read).toEqual({ active: 0, restarts: 1, give_ups: 1 })
    }))
})

describe("task", () => {
  test("106, 113: the exit of the Effect is that of the child", () =>
    Effect.gen(function* () {
      const jobs = yield* DynamicSupervisor.make({
        child: DynamicSupervisor.task((millis: number) =>
          millis < 0 ? Effect.fail("negative") : Effect.sleep(millis)
        ),
        restart: "temporary"
      })
      expect(yield* jobs.children).toEqual([])
      const slow = yield* jobs.start(1000)
      yield* jobs.start(10)
      yield* jobs.start(-1)
      yield* TestClock.adjust(10)
      expect((yield* jobs.children).map((job) => job.id)).toEqual(["1"])
      yield* jobs.terminate(slow)
      expect(yield* Effect.flip(jobs.terminate(slow))).toBeInstanceOf(DynamicSupervisor.NotFound)
    }))
})
