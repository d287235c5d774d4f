import { Cause, Context, Deferred, Effect, Exit, Fiber, FiberId, Layer, Logger, Option, Scheduler } from "effect"
import { describe, expect, it } from "vitest"
import * as Supervised from "../../src/supervision/Supervised.js"
import { SupervisorShutdown } from "../../src/supervision/SupervisionError.js"
import * as SupervisionTree from "../../src/supervision/SupervisionTree.js"
import * as TestSupervision from "../../src/supervision/TestSupervision.js"

const Db = Context.GenericTag<{ readonly instance: Effect.Effect<number>; readonly never: Effect.Effect<never> }>("Db")

const quiet = Logger.replace(
  Logger.defaultLogger,
  Logger.make(() => {})
)

const app = (
  options: SupervisionTree.Options = {},
  build: (n: number) => Effect.Effect<void, string> = () => Effect.void
) => {
  const events: Array<string> = []
  let instances = 0
  const tree = Layer.scoped(
    Db,
    Effect.gen(function* () {
      const n = ++instances
      yield* build(n)
      yield* Effect.acquireRelease(
        Effect.sync(() => events.push(`+${n}`)),
        () => Effect.sync(() => events.push(`-${n}`))
      )
      return { instance: Effect.succeed(n), never: Effect.never }
    })
  ).pipe(Supervised.layer({ id: "db" }), SupervisionTree.layer({ name: "app", ...options }), Layer.provideMerge(quiet))
  return { events, runtime: SupervisionTree.runtime(tree) }
}

/** Long enough for a tree to close, if nobody kept it from that. */
const turns = Effect.promise(async () => {
  for (let n = 0; n < 20; n++) await new Promise(setImmediate)
})

const ask = Effect.flatMap(Db, (db) => db.instance)
const crash = TestSupervision.crash("app/db")

const failureOf = (exit: Exit.Exit<unknown, unknown>): unknown =>
  Exit.isFailure(exit) ? Option.getOrUndefined(Cause.failureOption(exit.cause)) : exit

describe("SupervisionTree.runtime", () => {
  it("builds the tree for the first run, once, and closes it when it is disposed", async () => {
    const { events, runtime } = app()
    expect(events).toEqual([])
    expect(await Promise.all([runtime.runPromise(ask), runtime.runPromise(ask)])).toEqual([1, 1])
    expect(runtime.runSync(ask)).toBe(1)
    expect(await runtime.runPromise(Effect.zipRight(crash, ask))).toBe(2)
    await runtime.dispose()
    expect(events).toEqual(["+1", "-1", "+2", "-2"])
  })

  it("can be first used without waiting, if the tree can be built so", () => {
    const { runtime } = app()
    expect(runtime.runSync(ask)).toBe(1)
    expect(runtime.runSyncExit(Effect.fail("no"))).toEqual(Exit.fail("no"))
  })

  it("runs each Effect on the scheduler of its run, and not on that of the build", async () => {
    const { runtime } = app()
    const yields = Effect.zipRight(Effect.yieldNow(), ask)
    const loop = Effect.zipRight(
      Effect.loop(0, { while: (n) => n < 5000, step: (n) => n + 1, body: () => Effect.void, discard: true }),
      ask
    )
    expect([yields, loop, yields, loop].map((effect) => runtime.runSync(effect))).toEqual([1, 1, 1, 1])
    const scheduler = new Scheduler.MixedScheduler(64)
    const fiber = runtime.runFork(
      Effect.withFiberRuntime<boolean>((self) => Effect.succeed(self.currentScheduler === scheduler)),
      {
        scheduler
      }
    )
    expect(await Effect.runPromise(Fiber.join(fiber))).toBe(true)
    await runtime.dispose()
  })

  it("says that the tree was not built when it is disposed of before", async () => {
    const { runtime } = app({}, () => Effect.never)
    const run = runtime.runPromiseExit(ask)
    await runtime.dispose()
    expect(failureOf(await run)).toMatchObject({ reason: "closed", path: "(not built yet)" })
  })

  it("fails every run with SupervisorShutdown after give-up, and those under way as well", async () => {
    const { runtime } = app({ intensity: 0 })
    const events: Array<string> = []
    const waiting = runtime.runPromiseExit(
      Effect.flatMap(Db, (db) => db.never).pipe(Effect.onExit(() => Effect.sync(() => events.push("call ended"))))
    )
    const idle = runtime.runFork(
      Effect.zipRight(ask, Effect.never).pipe(Effect.onInterrupt(() => Effect.sync(() => events.push("interrupted"))))
    )
    const called = new Promise<Exit.Exit<unknown, unknown>>((onExit) => {
      runtime.runCallback(Effect.zipRight(ask, Effect.never), { onExit })
    })
    await runtime.runPromise(crash)
    for (const exit of [await waiting, await Effect.runPromise(Fiber.await(idle)), await called]) {
      expect(failureOf(exit)).toMatchObject({ _tag: "SupervisorShutdown", path: "app", reason: "intensity" })
    }
    expect(events.sort()).toEqual(["call ended", "interrupted"])
    await expect(runtime.runPromise(Effect.succeed(1))).rejects.toThrow('supervisor "app" gave up: child "db"')
    expect(failureOf(runtime.runSyncExit(ask))).toBeInstanceOf(SupervisorShutdown)
    expect(() => runtime.runSync(ask)).toThrow("gave up")
    await runtime.dispose()
    expect(failureOf(await runtime.runPromiseExit(ask))).toMatchObject({ reason: "intensity" })
  })

  it("tries again after a build that failed, whose failure is that of the runs which waited for it", async () => {
    const { events, runtime } = app({}, (n) =>
      n < 3
        ? Effect.zipRight(
            Effect.promise(() => Promise.resolve()),
            Effect.fail(`no ${n}`)
          )
        : Effect.void
    )
    expect(await Promise.all([runtime.runPromiseExit(ask), runtime.runPromiseExit(ask)])).toEqual([
      Exit.fail("no 1"),
      Exit.fail("no 1")
    ])
    expect(await runtime.runPromiseExit(Effect.ignore(ask))).toEqual(Exit.fail("no 2"))
    expect(await runtime.runPromise(ask)).toBe(3)
    await runtime.dispose()
    expect(events).toEqual(["+3", "-3"])
  })

  it("is built by ready, which fails as the build does", async () => {
    const { events, runtime } = app({}, (n) => (n === 1 ? Effect.fail("no") : Effect.void))
    expect(await Effect.runPromiseExit(runtime.ready)).toEqual(Exit.fail("no"))
    await Effect.runPromise(runtime.ready)
    expect(events).toEqual(["+2"])
    await runtime.dispose()
    expect(failureOf(await Effect.runPromiseExit(runtime.ready))).toMatchObject({ reason: "closed" })
  })

  it("can be disposed any number of times, also before it was used", async () => {
    const { events, runtime } = app()
    await Promise.all([runtime.dispose(), runtime.dispose()])
    await runtime.dispose()
    const exit = await runtime.runPromiseExit(ask)
    expect(failureOf(exit)).toMatchObject({ _tag: "SupervisorShutdown", reason: "closed" })
    expect(events).toEqual([])
  })

  it("ends what runs when it is disposed, whose finalizers can use the services", async () => {
    const { events, runtime } = app()
    const started = Deferred.unsafeMake<void>(FiberId.none)
    const running = runtime.runPromiseExit(
      Effect.zipRight(Deferred.succeed(started, undefined), Effect.never).pipe(
        Effect.onInterrupt(() =>
          Effect.flatMap(Effect.zipRight(turns, ask), (n) => Effect.sync(() => events.push(`asked ${n}`)))
        )
      )
    )
    await Effect.runPromise(Deferred.await(started))
    await Promise.all([runtime.dispose(), runtime.dispose()])
    expect(failureOf(await running)).toMatchObject({ reason: "closed", path: "app" })
    expect(events).toEqual(["+1", "asked 1", "-1"])
  })

  it("interrupts a build that hangs when it is disposed", async () => {
    const hangs = Deferred.unsafeMake<void>(FiberId.none)
    const { events, runtime } = app({}, () =>
      Effect.zipRight(Deferred.succeed(hangs, undefined), Effect.never).pipe(
        Effect.onInterrupt(() => Effect.sync(() => events.push("interrupted")))
      )
    )
    const running = runtime.runPromiseExit(ask)
    await Effect.runPromise(Deferred.await(hangs))
    await runtime.dispose()
    expect(failureOf(await running)).toMatchObject({ reason: "closed" })
    expect(events).toEqual(["interrupted"])
  })

  it("ends a run alone when that is aborted, or its fiber interrupted, also while the tree is built for others", async () => {
    const built = Deferred.unsafeMake<void>(FiberId.none)
    const { runtime } = app({}, () => Deferred.await(built))
    const controller = new AbortController()
    const aborted = runtime.runPromiseExit(ask, { signal: controller.signal })
    const other = runtime.runPromise(ask)
    const fiber = runtime.runFork(ask)
    controller.abort()
    expect(Exit.isInterrupted(await aborted)).toBe(true)
    expect(Exit.isInterrupted(await Effect.runPromise(Fiber.interrupt(fiber)))).toBe(true)
    await Effect.runPromise(Deferred.succeed(built, undefined))
    expect(await other).toBe(1)
    await runtime.dispose()
  })

  it("keeps a run's failures, defects and fibers as they are", async () => {
    const { runtime } = app()
    const events: Array<string> = []
    expect(await runtime.runPromiseExit(Effect.fail("mine"))).toEqual(Exit.fail("mine"))
    expect(await runtime.runPromiseExit(Effect.die("mine"))).toEqual(Exit.die("mine"))
    const ended = Deferred.unsafeMake<void>(FiberId.none)
    await runtime.runPromise(
      Effect.never.pipe(
        Effect.onInterrupt(() =>
          Effect.zipRight(
            Effect.sync(() => events.push("with its parent")),
            Deferred.succeed(ended, undefined)
          )
        ),
        Effect.fork,
        Effect.zipRight(Effect.yieldNow())
      )
    )
    await Effect.runPromise(Deferred.await(ended))
    expect(events).toEqual(["with its parent"])
    await runtime.dispose()
  })

  it("runs with what the tree's layers have set, a logger for example", async () => {
    const lines: Array<unknown> = []
    const tree = SupervisionTree.layer({ name: "app" })(Layer.empty).pipe(
      Layer.provideMerge(
        Logger.replace(
          Logger.defaultLogger,
          Logger.make(({ message }) => lines.push(message))
        )
      )
    )
    const runtime = SupervisionTree.runtime(tree)
    await runtime.runPromise(Effect.log("first"))
    await runtime.runPromise(Effect.log("second"))
    await runtime.dispose()
    expect(lines).toEqual([["first"], ["second"]])
  })
})
