import { spawn } from "node:child_process"
import { fileURLToPath } from "node:url"
import { describe, expect, it } from "@effect/vitest"
import { Cause, Context, Effect, Exit, Fiber, Layer, Logger, ManagedRuntime, Option, TestClock } from "effect"
import * as Supervised from "../../src/supervision/Supervised.js"
import { SupervisorShutdown } from "../../src/supervision/SupervisionError.js"
import * as SupervisionTree from "../../src/supervision/SupervisionTree.js"
import * as TestSupervision from "../../src/supervision/TestSupervision.js"

const Db = Context.GenericTag<{ readonly instance: Effect.Effect<number>; readonly slow: Effect.Effect<number> }>("Db")

/** A tree whose child crashes for good after a while, its end, and what was logged above warnings. */
const app = (options: SupervisionTree.Options = {}) => {
  const events: Array<string> = []
  const logged: Array<string> = []
  let instances = 0
  const logger = Logger.make(({ logLevel, message }) => {
    if (logLevel.ordinal > 30_000) logged.push(`${logLevel._tag} ${String(message)}`)
  })
  const layer = Layer.scoped(
    Db,
    Effect.gen(function* () {
      const n = ++instances
      yield* Effect.acquireRelease(
        Effect.sync(() => events.push(`+${n}`)),
        () => Effect.sync(() => events.push(`-${n}`))
      )
      return { instance: Effect.succeed(n), slow: Effect.as(Effect.sleep("10 seconds"), n) }
    })
  ).pipe(
    Supervised.layer({ id: "db" }),
    SupervisionTree.layer({ name: "app", intensity: 1, ...options }),
    Layer.provideMerge(Logger.replace(Logger.defaultLogger, logger))
  )
  return { events, logged, layer }
}

const crash = TestSupervision.crash("app/db")
const twice = Effect.zipRight(Effect.zipRight(crash, TestSupervision.awaitRestart("app/db")), crash)
const ask = Effect.flatMap(Db, (db) => db.instance)

const defectOf = (exit: Exit.Exit<unknown, unknown>): unknown =>
  Exit.isFailure(exit) ? Option.getOrUndefined(Cause.dieOption(exit.cause)) : exit

const fatal = 'Fatal "app/db" (instance 2) crashed: giving up, 2 of 1 restarts in 5000 ms'

describe("a crash that is restarted", () => {
  it.effect("disturbs no program, whatever provides the tree; only the call in flight dies", () =>
    Effect.gen(function* () {
      const program = Effect.gen(function* () {
        const db = yield* Db
        const call = yield* Effect.fork(Effect.exit(db.slow))
        yield* Effect.yieldNow()
        yield* crash
        yield* TestSupervision.awaitRestart("app/db")
        expect(defectOf(yield* Fiber.join(call))).toBeInstanceOf(Supervised.InstanceDied)
        return yield* db.instance
      })
      expect(yield* program.pipe(Effect.provide(app().layer))).toBe(2)
      expect(yield* program.pipe(SupervisionTree.provide(app().layer))).toBe(2)
      const managed = ManagedRuntime.make(app().layer)
      expect(yield* Effect.promise(() => managed.runPromise(program))).toBe(2)
      yield* managed.disposeEffect
      const runtime = SupervisionTree.runtime(app().layer)
      expect(yield* Effect.promise(() => runtime.runPromise(program))).toBe(2)
      yield* runtime.disposeEffect
    })
  )
})

describe("give-up", () => {
  it.effect("is told to a program under Effect.provide by its next call, and by the log", () => {
    const { events, layer, logged } = app()
    return Effect.gen(function* () {
      yield* twice
      yield* TestClock.adjust("1 second")
      expect(defectOf(yield* Effect.exit(ask))).toBeInstanceOf(SupervisorShutdown)
      expect(logged).toEqual([fatal])
      expect(events).toEqual(["+1", "-1", "+2", "-2"])
    }).pipe(Effect.provide(layer))
  })

  it.effect("is told to a program under SupervisionTree.provide by its interruption", () => {
    const { events, layer, logged } = app()
    return Effect.gen(function* () {
      const program = Effect.zipRight(twice, Effect.never).pipe(
        Effect.onInterrupt(() => Effect.sync(() => events.push("interrupted")))
      )
      const error = yield* Effect.flip(program.pipe(SupervisionTree.provide(layer)))
      expect(error).toMatchObject({ _tag: "SupervisorShutdown", path: "app", childId: "db", restarts: 2 })
      expect(events.at(-1)).toBe("interrupted")
      expect(logged).toEqual([fatal])
    })
  })

  it.effect("is told to nobody but the log by Layer.launch", () => {
    const { layer, logged } = app()
    return Effect.gen(function* () {
      const fiber = yield* Effect.fork(Layer.launch(Layer.provideMerge(Layer.effectDiscard(twice), layer)))
      yield* TestClock.adjust("1 minute")
      expect(fiber.unsafePoll()).toBe(null)
      expect(logged).toEqual([fatal])
      yield* Fiber.interrupt(fiber)
    })
  })

  it.effect("is the failure of SupervisionTree.launch, after the finalizers", () => {
    const { events, layer } = app()
    return Effect.gen(function* () {
      const closing = Layer.scopedDiscard(
        Effect.zipRight(
          Effect.addFinalizer(() => Effect.sync(() => events.push("closed"))),
          twice
        )
      )
      const error = yield* Effect.flip(SupervisionTree.launch(Layer.provideMerge(closing, layer)))
      expect(error).toMatchObject({ _tag: "SupervisorShutdown", reason: "intensity" })
      expect(events).toEqual(["+1", "-1", "+2", "-2", "closed"])
    })
  })

  it.effect("is told by ManagedRuntime at the next call, and by SupervisionTree.runtime at the next run", () =>
    Effect.gen(function* () {
      const managed = ManagedRuntime.make(app().layer)
      yield* Effect.promise(() =>
        managed.runPromise(Effect.zipRight(twice, Effect.ignore(TestSupervision.awaitGiveUp)))
      )
      expect(yield* Effect.promise(() => managed.runPromise(Effect.succeed("not told")))).toBe("not told")
      expect(defectOf(yield* Effect.promise(() => managed.runPromiseExit(ask)))).toBeInstanceOf(SupervisorShutdown)
      yield* managed.disposeEffect
      const runtime = SupervisionTree.runtime(app().layer)
      yield* Effect.promise(() => runtime.runPromiseExit(Effect.zipRight(twice, Effect.never)))
      const exit = yield* Effect.promise(() => runtime.runPromiseExit(Effect.succeed("not run")))
      expect(Exit.isFailure(exit) && Option.getOrUndefined(Cause.failureOption(exit.cause))).toMatchObject({
        _tag: "SupervisorShutdown",
        path: "app"
      })
      yield* runtime.disposeEffect
    })
  )

  it.effect(
    "of a nested tree is a crash of its child, which is survived; only that of the root is logged as fatal",
    () => {
      const { layer, logged } = app({ name: "inner" })
      const nested = layer.pipe(Supervised.layer({ id: "inner" }), SupervisionTree.layer({ name: "app" }))
      const inner = TestSupervision.crash("app/inner/db")
      return Effect.gen(function* () {
        const db = yield* Db
        yield* Effect.zipRight(inner, TestSupervision.awaitRestart("app/inner/db"))
        yield* inner
        yield* TestSupervision.awaitRestart("app/inner")
        expect(yield* db.instance).toBe(3)
        expect(logged).toEqual(['Error "app/inner/db" (instance 2) crashed: giving up, 2 of 1 restarts in 5000 ms'])
        expect((yield* SupervisionTree.snapshot).children).toMatchObject([{ id: "inner", instance: 2, status: "up" }])
      }).pipe(Effect.provide(nested))
    }
  )
})

const run = (how: string) =>
  Effect.async<{ readonly code: number | null; readonly output: string }, Error>((resume) => {
    const program = fileURLToPath(new URL("./programs/launch.mjs", import.meta.url))
    const child = spawn(process.execPath, [program, how], { stdio: ["ignore", "pipe", "pipe"] })
    let output = ""
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding("utf8").on("data", (text: string) => {
        output += text
      })
    }
    child.on("error", (error) => resume(Effect.fail(error)))
    child.on("close", (code) => resume(Effect.succeed({ code, output })))
    return Effect.sync(() => child.kill("SIGKILL"))
  })

describe("a process under runMain", () => {
  for (const how of ["launch", "provide"]) {
    it.live(`198: exits with 1 and the crash report when its tree gives up (${how})`, () =>
      Effect.gen(function* () {
        const { code, output } = yield* run(how)
        expect(code).toBe(1)
        expect(output.match(/restarting it, \d of 2 restarts/g)).toEqual([
          "restarting it, 1 of 2 restarts",
          "restarting it, 2 of 2 restarts"
        ])
        expect(output).toContain('"app/worker" (instance 3) crashed: giving up, 3 of 2 restarts in 5000 ms')
        expect(output).toContain("the port is taken")
        expect(output).toContain("listen")
        expect(output).toContain('supervisor "app" gave up')
        expect(output.indexOf("finalizer ran")).toBeGreaterThan(output.indexOf("giving up"))
      })
    )
  }

  it.live("goes on under Layer.launch, and says so at fatal", () =>
    Effect.gen(function* () {
      const { code, output } = yield* run("layerLaunch")
      expect(output).toMatch(/FATAL.*giving up/)
      expect(output).toContain("goes on")
      expect(code).toBe(0)
    })
  )
})

describe("provide", () => {
  it.effect("ends with the interruption of a program whose fiber is interrupted, and closes the tree", () =>
    Effect.gen(function* () {
      const { events, layer } = app()
      const interrupted = Effect.withFiberRuntime<never>((self) =>
        Effect.zipRight(Effect.forkDaemon(Effect.zipRight(Effect.sleep(1), Fiber.interrupt(self))), Effect.never)
      )
      const program = interrupted.pipe(SupervisionTree.provide(layer), Effect.exit)
      const fiber = yield* Effect.fork(program)
      yield* TestClock.adjust(1)
      const end = Option.map(yield* Fiber.poll(fiber), Exit.flatten)
      expect(Option.map(end, (exit) => Exit.isFailure(exit) && Cause.isInterruptedOnly(exit.cause))).toEqual(
        Option.some(true)
      )
      expect(events).toEqual(["+1", "-1"])
    })
  )
})
