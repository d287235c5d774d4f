import { describe, expect, it } from "@effect/vitest"
import { Context, Deferred, Effect, Exit, type Fiber, FiberId, Layer, Logger, TestClock } from "effect"
import * as fc from "effect/FastCheck"
import * as Supervised from "../../src/supervision/Supervised.js"
import * as SupervisionTree from "../../src/supervision/SupervisionTree.js"

/** How one instance behaves: its build, its worker, and its finalizer. */
interface Life {
  readonly build: "ok" | "slow" | "fail" | "hang"
  readonly worker: "lives" | "crashes soon" | "crashes later" | "ignores interruption"
  readonly finalizer: "ok" | "slow" | "hang" | "dies"
}

interface Schedule {
  readonly strategy: "one_for_one" | "one_for_all" | "rest_for_one"
  readonly intensity: number
  readonly children: ReadonlyArray<ReadonlyArray<Life>>
  readonly steps: ReadonlyArray<
    | { readonly op: "wait"; readonly millis: number }
    | { readonly op: "crash" | "terminate" | "start" | "restart" | "call"; readonly child: number }
  >
  readonly maxOps: number
}

const life: fc.Arbitrary<Life> = fc.record({
  build: fc.constantFrom(
    "ok" as const,
    "ok" as const,
    "ok" as const,
    "slow" as const,
    "fail" as const,
    "hang" as const
  ),
  worker: fc.constantFrom(
    "lives" as const,
    "crashes soon" as const,
    "crashes later" as const,
    "ignores interruption" as const
  ),
  finalizer: fc.constantFrom("ok" as const, "slow" as const, "hang" as const, "dies" as const)
})

const schedules: fc.Arbitrary<Schedule> = fc.record({
  strategy: fc.constantFrom("one_for_one" as const, "one_for_all" as const, "rest_for_one" as const),
  intensity: fc.integer({ min: 0, max: 6 }),
  children: fc.array(fc.array(life, { minLength: 1, maxLength: 4 }), { minLength: 1, maxLength: 4 }),
  steps: fc.array(
    fc.oneof(
      fc.record({ op: fc.constant("wait" as const), millis: fc.constantFrom(0, 1, 50, 100, 500, 2000) }),
      fc.record({
        op: fc.constantFrom(
          "crash" as const,
          "terminate" as const,
          "start" as const,
          "restart" as const,
          "call" as const
        ),
        child: fc.integer({ min: 0, max: 3 })
      })
    ),
    { maxLength: 10 }
  ),
  maxOps: fc.constantFrom(10, 17, 33, 64, 2048)
})

const play = (schedule: Schedule) =>
  Effect.gen(function* () {
    const release = yield* Deferred.make<void>()
    const acquired = new Set<string>()
    const finalized: Array<string> = []
    const alive: Array<number> = []
    const counted = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
      Effect.acquireUseRelease(
        Effect.sync(() => alive.push(1)),
        () => effect,
        () => Effect.sync(() => alive.pop())
      )
    const child = (lives: ReadonlyArray<Life>, c: number) => {
      let instances = 0
      const tag = Context.GenericTag<{ readonly ask: Effect.Effect<string> }>(`c${c}`)
      const layer = Layer.scoped(
        tag,
        Effect.gen(function* () {
          const n = instances++
          const name = `${c}.${n}`
          const now = lives[n % lives.length] ?? { build: "ok", worker: "lives", finalizer: "ok" }
          // The first build has to succeed, or there is no tree to speak of.
          const build = n === 0 ? "ok" : now.build
          acquired.add(name)
          yield* Effect.addFinalizer(() =>
            Effect.sync(() => finalized.push(name)).pipe(
              Effect.zipRight(
                {
                  ok: Effect.void,
                  slow: Effect.sleep("50 millis"),
                  hang: Deferred.await(release),
                  dies: Effect.die("finalizer")
                }[now.finalizer]
              )
            )
          )
          if (build === "slow") yield* Effect.sleep("100 millis")
          if (build === "fail") return yield* Effect.die("build")
          if (build === "hang") return yield* Effect.never
          const worker = {
            lives: Effect.never,
            "crashes soon": Effect.zipRight(Effect.yieldNow(), Effect.die("worker")),
            "crashes later": Effect.zipRight(Effect.sleep("100 millis"), Effect.die("worker")),
            "ignores interruption": Effect.uninterruptible(Deferred.await(release))
          }[now.worker]
          yield* (n % 2 === 0 ? Effect.forkScoped : Effect.forkDaemon)(counted(worker))
          return { ask: Effect.as(Effect.sleep("10 millis"), name) }
        })
      )
      return {
        tag,
        layer: Supervised.layer(layer, { id: `c${c}`, shutdown: "200 millis", whenDown: { await: "300 millis" } })
      }
    }
    const children = schedule.children.map(child)
    const tree = children
      .map((it) => it.layer)
      .reduceRight((later, earlier) => Layer.provideMerge(later, earlier) as typeof later)
      .pipe(
        SupervisionTree.layer({
          name: "t",
          strategy: schedule.strategy,
          intensity: schedule.intensity,
          period: "1 second"
        })
      )
    const calls: Array<Fiber.RuntimeFiber<unknown, unknown>> = []
    const program = Effect.gen(function* () {
      const self = yield* SupervisionTree.SupervisionTree
      const context = yield* Effect.context<never>()
      for (const step of schedule.steps) {
        if (step.op === "wait") {
          yield* Effect.sleep(step.millis)
          continue
        }
        const index = step.child % children.length
        const it = children[index]
        if (it === undefined) continue
        const path = `t/c${index}`
        switch (step.op) {
          case "call":
            // The graph's type does not name each child; the context holds them all.
            calls.push(
              yield* Effect.forkDaemon(Context.get(context as Context.Context<typeof it.tag.Identifier>, it.tag).ask)
            )
            break
          case "crash":
            for (const fiber of self.find(path)?.child.slot.current?.tracker.linked ?? []) {
              fiber.unsafeInterruptAsFork(FiberId.none)
            }
            break
          default:
            calls.push(yield* Effect.forkDaemon(self.control(step.op, path)))
        }
      }
    })
    const running = yield* Effect.forkDaemon(Effect.exit(program.pipe(SupervisionTree.provide(tree))))
    // A build that hangs holds its supervisor up for ever, as in OTP (`startTimeout` is the remedy). Then an interrupt has to
    // end it. Everything else is bounded, and takes less than this.
    for (let i = 0; i < 60 && running.unsafePoll() === null; i++) {
      if (i === 30) running.unsafeInterruptAsFork(FiberId.none)
      yield* TestClock.adjust("1 second")
    }
    expect(running.unsafePoll(), "the tree closed").not.toBe(null)
    for (const call of calls) expect(call.unsafePoll(), "a call was answered").not.toBe(null)
    expect(new Set(finalized).size, "no finalizer ran twice").toBe(finalized.length)
    // What was left to itself can go now: then nothing is left.
    yield* Deferred.succeed(release, undefined)
    yield* TestClock.adjust("1 second")
    expect(alive.length, "no worker is left").toBe(0)
    expect(new Set(finalized), "every finalizer ran").toEqual(acquired)
  }).pipe(Effect.withMaxOpsBeforeYield(schedule.maxOps))

const ok: Life = { build: "ok", worker: "lives", finalizer: "ok" }

/** What random schedules have found, kept so that it stays found. */
const found: ReadonlyArray<readonly [string, Schedule]> = [
  [
    "a letter that comes while the supervisor is about to wait for one is read",
    {
      strategy: "one_for_one",
      intensity: 4,
      children: [[{ build: "hang", worker: "lives", finalizer: "hang" }]],
      steps: [
        { op: "wait", millis: 2000 },
        { op: "call", child: 1 },
        { op: "wait", millis: 50 },
        { op: "restart", child: 2 },
        { op: "wait", millis: 2000 },
        { op: "wait", millis: 0 },
        { op: "restart", child: 0 },
        { op: "start", child: 1 },
        { op: "crash", child: 0 },
        { op: "restart", child: 1 }
      ],
      maxOps: 64
    }
  ],
  [
    "a tree that is interrupted while it is being built closes although a restart in it hangs",
    {
      strategy: "one_for_all",
      intensity: 2,
      children: [
        [
          { build: "slow", worker: "crashes later", finalizer: "slow" },
          { build: "ok", worker: "ignores interruption", finalizer: "ok" },
          { build: "hang", worker: "ignores interruption", finalizer: "ok" }
        ],
        [{ build: "ok", worker: "crashes soon", finalizer: "ok" }],
        [{ build: "ok", worker: "crashes soon", finalizer: "ok" }],
        [ok]
      ],
      steps: [],
      maxOps: 2048
    }
  ],
  [
    "a daemon that was forked by a build which was then interrupted ends with it",
    {
      strategy: "one_for_one",
      intensity: 6,
      children: [[{ build: "ok", worker: "lives", finalizer: "dies" }]],
      steps: [{ op: "crash", child: 2 }],
      maxOps: 64
    }
  ],
  [
    "a child whose turn never comes, because a sibling's restart hangs, can be interrupted",
    {
      strategy: "one_for_all",
      intensity: 6,
      children: [
        [{ build: "hang", worker: "crashes soon", finalizer: "hang" }],
        [{ build: "slow", worker: "ignores interruption", finalizer: "dies" }],
        [
          { build: "fail", worker: "crashes later", finalizer: "dies" },
          { ...ok, build: "hang" }
        ],
        [{ build: "ok", worker: "crashes soon", finalizer: "dies" }]
      ],
      steps: [
        { op: "wait", millis: 1 },
        { op: "crash", child: 0 }
      ],
      maxOps: 2048
    }
  ]
]

describe("faults once found", () => {
  for (const [name, schedule] of found) {
    it.effect(name, () => play(schedule).pipe(Effect.provide(Logger.remove(Logger.defaultLogger))))
  }
})

describe("random faults", () => {
  it.effect(
    "leave no fiber behind, run every finalizer once, and never hang",
    () =>
      Effect.gen(function* () {
        for (const schedule of fc.sample(schedules, { numRuns: 150, seed: 20 })) {
          const exit = yield* Effect.exit(play(schedule))
          if (Exit.isFailure(exit)) expect.fail(`${JSON.stringify(schedule)}\n${exit.cause.toString()}`)
        }
      }).pipe(Effect.provide(Logger.remove(Logger.defaultLogger))),
    60_000
  )
})
