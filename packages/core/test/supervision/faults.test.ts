import { Cause, Context, Deferred, Effect, Exit, Fiber, FiberId, Layer, Logger, Option, Schedule } from "effect"
import * as fc from "effect/FastCheck"
import { describe, expect, it } from "vitest"
import * as Supervised from "../../src/supervision/Supervised.js"
import { ChildDown, InstanceDied, SupervisorShutdown } from "../../src/supervision/SupervisionError.js"
import * as SupervisionTree from "../../src/supervision/SupervisionTree.js"
import { type Life, Lives } from "./lives.js"
import { Simulation } from "./simulation.js"

interface Node {
  readonly lives: ReadonlyArray<Life>
  /** Milliseconds that its restarts wait. */
  readonly backoff: number
  /** Whether it calls the sibling before it while it is being built, and so depends on it. */
  readonly reads: boolean
  /** A tree of its own inside of this child, beside what the child is itself. */
  readonly nested: Branch | undefined
}

interface Branch {
  readonly strategy: "one_for_one" | "one_for_all" | "rest_for_one" | "rest_for_dependents"
  readonly intensity: number
  readonly children: ReadonlyArray<Node>
}

type Operation = "crash" | "kill" | "terminate" | "start" | "restart" | "remove" | "call"

interface Script {
  readonly tree: Branch
  readonly steps: ReadonlyArray<
    { readonly op: "wait"; readonly millis: number } | { readonly op: Operation; readonly child: number }
  >
  /** Whoever uses the tree is interrupted after so many tasks. */
  readonly interrupt: number
  readonly maxOps: number
}

const life: fc.Arbitrary<Life> = fc.record({
  build: fc.constantFrom<Life["build"]>("ok", "ok", "ok", "slow", "fail", "hang"),
  worker: fc.constantFrom<Life["worker"]>("lives", "lives", "crashes soon", "crashes later", "ignores interruption"),
  finalizer: fc.constantFrom<Life["finalizer"]>("ok", "ok", "slow", "hang", "dies")
})

const branch = (depth: number): fc.Arbitrary<Branch> =>
  fc.record({
    strategy: fc.constantFrom<Branch["strategy"]>("one_for_one", "one_for_all", "rest_for_one", "rest_for_dependents"),
    intensity: fc.integer({ min: 0, max: 6 }),
    children: fc.array(
      fc.record({
        lives: fc.array(life, { minLength: 1, maxLength: 3 }),
        // Seven of the longest fit into the period, so that giving up stays possible.
        backoff: fc.constantFrom(0, 0, 10, 100),
        reads: fc.boolean(),
        nested:
          depth === 0
            ? fc.constant(undefined)
            : fc.oneof({ weight: 2, arbitrary: fc.constant(undefined) }, { weight: 1, arbitrary: branch(depth - 1) })
      }),
      { minLength: 1, maxLength: 2 + depth }
    )
  })

const schedules: fc.Arbitrary<Script> = fc.record({
  tree: branch(1),
  steps: fc.array(
    fc.oneof(
      fc.record({ op: fc.constant("wait" as const), millis: fc.constantFrom(0, 1, 50, 100, 500, 2000) }),
      fc.record({
        op: fc.constantFrom<Operation>("crash", "kill", "terminate", "start", "restart", "remove", "call"),
        child: fc.nat({ max: 7 })
      })
    ),
    { maxLength: 8 }
  ),
  interrupt: fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 600 })),
  maxOps: fc.constant(2048)
})

/** Plays a schedule from beginning to end, and says what is wrong with what it has led to. */
const play = (schedule: Script): string | undefined => {
  const simulation = new Simulation()
  const all = new Lives()
  const calls: Array<Fiber.RuntimeFiber<unknown, unknown>> = []
  const paths: Array<string> = []

  const layerOf = (
    { backoff, lives, nested, reads }: Node,
    path: string
  ): Layer.Layer<Ask, never, Supervised.CurrentSupervisor> => {
    paths.push(path)
    const id = path.slice(path.lastIndexOf("/") + 1)
    const tag = Context.GenericTag<Ask>(path)
    let instances = 0
    const own = Layer.scoped(
      tag,
      Effect.gen(function* () {
        const n = instances++
        const name = `${path}#${n}`
        const now = lives[n % lives.length] ?? ok
        // The first build has to succeed, or there is no tree to speak of.
        const build = n === 0 ? "ok" : now.build
        yield* all.acquire(name, now.finalizer)
        const before = Context.GenericTag<Ask>(path.replace(/\d+$/, (index) => String(Number(index) - 1)))
        if (reads)
          yield* Effect.flatMap(
            Effect.serviceOption(before),
            Option.match({ onNone: () => Effect.void, onSome: (it) => Effect.exit(it.now) })
          )
        yield* all.build(build)
        if (now.worker !== "none") yield* (n % 2 === 0 ? Effect.forkScoped : Effect.forkDaemon)(all.worker(now.worker))
        return { ask: Effect.as(Effect.sleep("10 millis"), name), now: Effect.void }
      })
    )
    const inside = nested === undefined ? own : Layer.provideMerge(own, treeOf(nested, path))
    return Supervised.layer(inside, {
      id,
      shutdown: "200 millis",
      whenDown: { await: "300 millis" },
      ...(backoff > 0 ? { backoff: Schedule.spaced(backoff) } : {})
    })
  }
  const treeOf = (it: Branch, path: string): Layer.Layer<Ask | SupervisionTree.SupervisionTree> =>
    it.children
      .map((child, index) => layerOf(child, `${path}/${index}`))
      .reduceRight((later, earlier) => Layer.provideMerge(later, earlier))
      .pipe(SupervisionTree.layer({ name: path, strategy: it.strategy, intensity: it.intensity, period: "1 second" }))

  const layer = treeOf(schedule.tree, "t")
  const program = Effect.gen(function* () {
    const self = yield* SupervisionTree.SupervisionTree
    const context = yield* Effect.context<Ask>()
    for (const step of schedule.steps) {
      if (step.op === "wait") {
        yield* Effect.sleep(step.millis)
        continue
      }
      const path = paths[step.child % paths.length] ?? "t/0"
      switch (step.op) {
        case "call":
          calls.push(yield* Effect.forkDaemon(Context.get(context, Context.GenericTag<Ask>(path)).ask))
          break
        case "crash":
          self.find(path)?.child.slot.current?.exit({ exit: "abnormal", cause: Cause.die("crash") })
          break
        case "kill":
          for (const fiber of self.find(path)?.child.slot.current?.tracker.linked ?? []) {
            fiber.unsafeInterruptAsFork(FiberId.none)
          }
          break
        default:
          calls.push(yield* Effect.forkDaemon(self.control(step.op, path)))
      }
    }
  })
  const story = Effect.gen(function* () {
    const running = yield* Effect.forkDaemon(program.pipe(SupervisionTree.provide(layer)))
    if (schedule.interrupt > 0) simulation.alarm(schedule.interrupt, () => running.unsafeInterruptAsFork(running.id()))
    // A build that hangs holds its supervisor up for ever, as in OTP (`startTimeout` is the remedy). Then an interrupt has to
    // end it. Everything else is bounded, and takes less than this.
    yield* Effect.forkDaemon(Effect.zipRight(Effect.sleep("30 seconds"), Fiber.interruptFork(running)))
    const end = yield* Fiber.await(running)
    if (Exit.isFailure(end) && !Cause.isInterrupted(end.cause)) {
      // Given up while it was being built, that is the build's defect.
      if (!(Cause.squash(end.cause) instanceof SupervisorShutdown)) return `the tree ended with ${end.cause}`
    }
    yield* Effect.sleep("1 second")
    if (calls.some((call) => call.unsafePoll() === null)) return "a call was never answered"
    for (const call of calls) {
      const exit = call.unsafePoll()
      if (exit === null || Exit.isSuccess(exit)) continue
      const error = Cause.squash(exit.cause)
      const isExpected = [InstanceDied, ChildDown, SupervisorShutdown, SupervisionTree.ControlError].some(
        (type) => error instanceof type
      )
      if (!isExpected) return `a call ended with ${exit.cause}`
    }
    // What was left to itself can go now: then nothing is left.
    yield* Deferred.succeed(all.release, undefined)
    yield* Effect.sleep("40 seconds")
    return all.problem
  }).pipe(Effect.withMaxOpsBeforeYield(schedule.maxOps), Effect.provide(Logger.remove(Logger.defaultLogger)))
  const exit = simulation.run(story)
  if (Exit.isFailure(exit)) return String(exit.cause)
  return exit.value ?? (simulation.alive > 0 ? `${simulation.alive} fibers are left` : undefined)
}

interface Ask {
  readonly ask: Effect.Effect<string>
  readonly now: Effect.Effect<void>
}

const plain = { backoff: 0, reads: false, nested: undefined }

const ok: Life = { build: "ok", worker: "lives", finalizer: "ok" }

const expectGood = (schedule: Script): void => {
  const problem = (() => {
    try {
      return play(schedule)
    } catch (error) {
      return String(error)
    }
  })()
  if (problem !== undefined) expect.fail(`${problem}\n\n${JSON.stringify(schedule)}`)
}

/** A tree of one level. */
interface Flat extends Pick<Branch, "strategy" | "intensity">, Pick<Script, "steps" | "maxOps"> {
  readonly children: ReadonlyArray<ReadonlyArray<Life>>
}

const fromFlat = ({ children, intensity, maxOps, steps, strategy }: Flat): Script => ({
  tree: { strategy, intensity, children: children.map((lives) => ({ lives, ...plain })) },
  steps,
  interrupt: 0,
  maxOps
})

/** What random schedules have found, kept so that it stays found. */
const found: ReadonlyArray<readonly [string, Flat]> = [
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
        { op: "kill", child: 0 },
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
      steps: [{ op: "kill", child: 2 }],
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
        { op: "kill", child: 0 }
      ],
      maxOps: 2048
    }
  ]
]

describe("faults once found", () => {
  for (const [name, schedule] of found) it(name, () => expectGood(fromFlat(schedule)))

  it("a call that waits for a build in a tree whose own end is held up is answered", () => {
    const hangs: Life = { ...ok, build: "hang" }
    const inner: Branch = {
      strategy: "one_for_one",
      intensity: 0,
      children: [
        { lives: [ok, hangs], ...plain },
        { lives: [ok], ...plain }
      ]
    }
    expectGood({
      tree: {
        strategy: "one_for_one",
        intensity: 0,
        children: [{ ...plain, lives: [{ ...ok, worker: "ignores interruption" }], nested: inner }]
      },
      steps: [{ op: "restart", child: 1 }],
      interrupt: 0,
      maxOps: 2048
    })
  })
})

/** The same schedules each time; another seed makes others. */
const seed = 20
const samples = fc.sample(schedules, { numRuns: 1000, seed })

// In parts, so that the runner can breathe in between.
const parts = Array.from({ length: 10 }, (_, i) => ({
  part: `${i + 1} of 10`,
  of: samples.slice(i * 100, i * 100 + 100)
}))

describe("random faults", () => {
  it.each(parts)(
    `188, 205: leave no fiber behind, run every finalizer once, and never hang (seed ${seed}, part $part)`,
    ({ of }) => {
      for (const schedule of of) expectGood(schedule)
    }
  )

  // A fiber gives way after so many operations: each number from 10 to 128 moves that point elsewhere.
  it.each(parts)(`205: do so wherever fibers give way (seed ${seed}, part $part)`, ({ of }) => {
    for (const schedule of of) expectGood({ ...schedule, maxOps: 10 + (samples.indexOf(schedule) % 119) })
  })
})
