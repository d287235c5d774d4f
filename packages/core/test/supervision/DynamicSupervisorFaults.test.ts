import { describe, expect, it } from "@effect/vitest"
import { Deferred, Effect, Exit, type Fiber, FiberId, FiberRef, Logger, TestClock } from "effect"
import * as fc from "effect/FastCheck"
import * as DynamicSupervisor from "../../src/supervision/DynamicSupervisor.js"
import { type Life, Lives } from "./lives.js"

interface Schedule {
  readonly intensity: number
  readonly maxChildren: number
  readonly restart: "permanent" | "transient" | "temporary"
  readonly shutdown: "200 millis" | "brutalKill"
  readonly startTimeout: "150 millis" | undefined
  readonly children: ReadonlyArray<ReadonlyArray<Life>>
  readonly steps: ReadonlyArray<
    | { readonly op: "wait"; readonly millis: number }
    | { readonly op: "start" | "terminate" | "interrupt" | "call"; readonly child: number }
  >
  readonly maxOps: number
}

const life: fc.Arbitrary<Life> = fc.record({
  build: fc.constantFrom<Life["build"]>("ok", "ok", "ok", "slow", "fail", "ignore", "hang", "cannot be interrupted"),
  worker: fc.constantFrom<Life["worker"]>(
    "none",
    "lives",
    "crashes soon",
    "crashes later",
    "ends",
    "ignores interruption"
  ),
  finalizer: fc.constantFrom<Life["finalizer"]>("ok", "slow", "hang", "dies")
})

const schedules: fc.Arbitrary<Schedule> = fc.record({
  intensity: fc.integer({ min: 0, max: 6 }),
  maxChildren: fc.constantFrom(1, 2, 9),
  restart: fc.constantFrom("permanent" as const, "transient" as const, "temporary" as const),
  shutdown: fc.constantFrom("200 millis" as const, "brutalKill" as const),
  startTimeout: fc.constantFrom("150 millis" as const, undefined),
  children: fc.array(fc.array(life, { minLength: 1, maxLength: 4 }), { minLength: 1, maxLength: 4 }),
  steps: fc.array(
    fc.oneof(
      fc.record({ op: fc.constant("wait" as const), millis: fc.constantFrom(0, 1, 50, 100, 500, 2000) }),
      fc.record({
        op: fc.constantFrom(
          "start" as const,
          "start" as const,
          "terminate" as const,
          "interrupt" as const,
          "call" as const
        ),
        child: fc.integer({ min: 0, max: 3 })
      })
    ),
    { maxLength: 20, size: "max" }
  ),
  maxOps: fc.constantFrom(10, 17, 33, 64, 2048)
})

const play = (schedule: Schedule) =>
  Effect.gen(function* () {
    const all = new Lives()
    const instances: Record<number, number> = {}
    let alive = 0
    const counted = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
      Effect.acquireUseRelease(
        Effect.sync(() => alive++),
        () => effect,
        () => Effect.sync(() => alive--)
      )
    const child = (c: number) =>
      Effect.gen(function* () {
        const n = instances[c] ?? 0
        instances[c] = n + 1
        const name = `${c}.${n}`
        const lives = schedule.children[c % schedule.children.length] ?? []
        const now = lives[n % lives.length] ?? { build: "ok", worker: "lives", finalizer: "ok" }
        yield* all.acquire(name, now.finalizer)
        if (now.build === "ignore") return yield* new DynamicSupervisor.Ignored({})
        yield* all.build(now.build)
        if (now.worker !== "none")
          yield* (n % 2 === 0 ? Effect.forkScoped : Effect.forkDaemon)(counted(all.worker(now.worker)))
        return { ask: Effect.as(Effect.sleep("10 millis"), name) }
      })
    const calls: Array<Fiber.RuntimeFiber<unknown, unknown>> = []
    const starters: Array<Fiber.RuntimeFiber<unknown, unknown>> = []
    const program = Effect.gen(function* () {
      const self = yield* DynamicSupervisor.make({
        child,
        id: (c) => `c${c}`,
        intensity: schedule.intensity,
        period: "1 second",
        maxChildren: schedule.maxChildren,
        restart: schedule.restart,
        shutdown: schedule.shutdown,
        whenDown: { await: "300 millis" },
        ...(schedule.startTimeout === undefined ? {} : { startTimeout: schedule.startTimeout })
      })
      for (const step of schedule.steps) {
        switch (step.op) {
          case "wait":
            yield* Effect.sleep(step.millis)
            break
          case "start": {
            const starter = yield* Effect.forkDaemon(self.start(step.child))
            starters.push(starter)
            calls.push(starter)
            break
          }
          case "interrupt":
            starters[step.child]?.unsafeInterruptAsFork(FiberId.none)
            break
          case "terminate":
            calls.push(yield* Effect.forkDaemon(self.terminate(`c${step.child}`)))
            break
          case "call":
            for (const it of yield* self.children) calls.push(yield* Effect.forkDaemon(it.service.ask))
        }
      }
    })
    const running = yield* Effect.forkDaemon(Effect.exit(Effect.scoped(program)))
    for (let i = 0; i < 60 && running.unsafePoll() === null; i++) yield* TestClock.adjust("1 second")
    expect(running.unsafePoll(), "the supervisor closed").not.toBe(null)
    yield* TestClock.adjust("1 second")
    for (const call of calls) expect(call.unsafePoll(), "a call was answered").not.toBe(null)
    // What was left to itself can go now: then nothing is left.
    yield* Deferred.succeed(all.release, undefined)
    yield* TestClock.adjust("1 second")
    expect(alive, "no worker is left").toBe(0)
    expect(all.problem).toBe(undefined)
  }).pipe(Effect.withMaxOpsBeforeYield(schedule.maxOps))

const alive: Life = { build: "ok", worker: "lives", finalizer: "ok" }

/** What random schedules have found, kept so that it stays found. */
const found: ReadonlyArray<readonly [string, Schedule]> = [
  [
    "a build that is under way when nobody waits for it any more is still given back",
    {
      intensity: 5,
      maxChildren: 9,
      restart: "permanent",
      shutdown: "brutalKill",
      startTimeout: undefined,
      children: [[{ ...alive, worker: "crashes soon" }], [{ ...alive, build: "slow", finalizer: "hang" }]],
      steps: [
        { op: "start", child: 0 },
        { op: "start", child: 0 }
      ],
      maxOps: 64
    }
  ]
]

describe("faults once found in dynamic children", () => {
  for (const [name, schedule] of found) {
    it.effect(name, () => play(schedule).pipe(Effect.provide(Logger.remove(Logger.defaultLogger))))
  }
})

describe("random faults of dynamic children", () => {
  it.effect(
    "leave no fiber behind, run every finalizer once, and never hang",
    () =>
      Effect.gen(function* () {
        for (const schedule of fc.sample(schedules, { numRuns: 100, seed: 3 })) {
          const exit = yield* Effect.exit(play(schedule))
          if (Exit.isFailure(exit)) expect.fail(`${JSON.stringify(schedule)}\n${exit.cause.toString()}`)
        }
      }).pipe(Effect.provide(Logger.remove(Logger.defaultLogger))),
    120_000
  )
})

// A fiber gives way after so many operations. Sweeping the number moves that point through every step of a start, a crash, a
// restart and a stop, so that each order in which they can meet is met.
const sweep = Array.from({ length: 119 }, (_, i) => i + 10)

describe("under the yield sweep", () => {
  it.effect.each(sweep)(
    "starts, crashes, calls and stops meet without a hang or a leak (a yield every %i steps)",
    (ops) => {
      let [ups, downs] = [0, 0]
      const crashes: Array<() => void> = []
      const program = Effect.gen(function* () {
        const self = yield* DynamicSupervisor.make({
          child: (n: number) =>
            Effect.gen(function* () {
              yield* Effect.acquireRelease(
                Effect.sync(() => ups++),
                () => Effect.sync(() => downs++)
              )
              yield* Effect.forkScoped(
                Effect.async<never>((resume) => {
                  crashes[n] = () => resume(Effect.die("boom"))
                })
              )
              return { ask: Effect.as(Effect.yieldNow(), n) }
            }),
          id: (n) => `${n % 5}`,
          intensity: 1000
        })
        const fibers: Array<Fiber.RuntimeFiber<unknown, unknown>> = []
        for (let n = 0; n < 20; n++) {
          fibers.push(yield* Effect.fork(self.start(n)))
          if (n % 3 === 0) fibers.push(yield* Effect.fork(self.terminate(`${n % 5}`)))
          if (n % 4 === 0) for (const crash of crashes) crash?.()
          if (n % 7 === 0) fibers.at(0)?.unsafeInterruptAsFork(FiberId.none)
          for (const it of yield* self.children) fibers.push(yield* Effect.fork(it.service.ask))
        }
        for (const fiber of fibers) yield* Effect.exit(Effect.flatten(fiber.await))
        const living = yield* self.children
        expect(new Set(living.map((it) => it.id)).size).toBe(living.length)
        expect((yield* self.count).specs).toBe(ups - downs)
      })
      return Effect.gen(function* () {
        yield* Effect.scoped(program)
        expect(ups).toBe(downs)
      }).pipe(
        Effect.locally(FiberRef.currentMaxOpsBeforeYield, ops),
        Effect.provide(Logger.remove(Logger.defaultLogger))
      )
    }
  )
})
