import { describe, expect, it } from "@effect/vitest"
import { Cause, Context, Effect, Exit, Fiber, Layer, Logger, Random, Schedule, TestClock } from "effect"
import { limitOf, problemOf } from "../../src/supervision/backoff.js"
import * as Supervised from "../../src/supervision/Supervised.js"
import * as SupervisionTree from "../../src/supervision/SupervisionTree.js"
import * as TestSupervision from "../../src/supervision/TestSupervision.js"

interface Service {
  readonly ask: Effect.Effect<string>
}

/** Writes down starts and stops with the time, in milliseconds. */
const child = (events: Array<string>, id: string, options: Supervised.ChildOptions = {}, fails = { times: 0 }) => {
  const tag = Context.GenericTag<Service>(id)
  const note = (event: string) =>
    Effect.flatMap(Effect.clock, (clock) =>
      Effect.sync(() => events.push(`${clock.unsafeCurrentTimeMillis()} ${event}`))
    )
  const layer = Layer.scoped(
    tag,
    Effect.gen(function* () {
      if (fails.times-- > 0) {
        yield* note(`${id} fails`)
        return yield* Effect.die(`${id} cannot start`)
      }
      yield* Effect.acquireRelease(note(`+${id}`), () => note(`-${id}`))
      return { ask: Effect.succeed(id) }
    })
  )
  return Supervised.layer(layer, { id, ...options })
}

const pair = (
  events: Array<string>,
  options: SupervisionTree.Options,
  a: Supervised.ChildOptions,
  b: Supervised.ChildOptions = {}
) =>
  child(events, "b", b).pipe(
    Layer.provideMerge(child(events, "a", a)),
    SupervisionTree.layer({ name: "app", intensity: 3, period: "60 seconds", ...options })
  )

const crash = TestSupervision.crash
const settle = TestClock.adjust(0)
const statuses = Effect.map(SupervisionTree.snapshot, (node) => node.children.map((it) => `${it.id} ${it.status}`))

const second = Schedule.spaced("1 second")

describe("backoff", () => {
  it.effect("delays each restart as its Schedule says, to the millisecond", () => {
    const events: Array<string> = []
    const layer = pair(events, {}, { backoff: Schedule.exponential("1 second") })
    return Effect.gen(function* () {
      yield* crash("app/a")
      yield* TestClock.adjust("999 millis")
      expect(yield* statuses).toEqual(["a restarting", "b up"])
      yield* TestClock.adjust("1 millis")
      expect(yield* statuses).toEqual(["a up", "b up"])
      yield* crash("app/a")
      yield* TestClock.adjust("2 seconds")
      yield* crash("app/a")
      yield* TestClock.adjust("4 seconds")
      expect(events).toEqual(["0 +a", "0 +b", "0 -a", "1000 +a", "1000 -a", "3000 +a", "3000 -a", "7000 +a"])
    }).pipe(Effect.provide(layer))
  })

  it.effect("delays the next attempt after a start that failed, and each attempt counts", () => {
    const events: Array<string> = []
    const fails = { times: 0 }
    const layer = child(events, "a", { backoff: second }, fails).pipe(
      SupervisionTree.layer({ name: "app", intensity: 3, period: "60 seconds" })
    )
    return Effect.gen(function* () {
      fails.times = 2
      yield* crash("app/a")
      yield* TestClock.adjust("10 seconds")
      expect(events).toEqual(["0 +a", "0 -a", "1000 a fails", "2000 a fails", "3000 +a"])
      expect((yield* SupervisionTree.snapshot).intensity.used).toBe(3)
      yield* crash("app/a")
      expect(yield* Effect.flip(SupervisionTree.awaitShutdown)).toMatchObject({ childId: "a", restarts: 4 })
    }).pipe(Effect.provide(layer))
  })

  it.effect("begins anew when no restart of the child counts any more", () => {
    const events: Array<string> = []
    const layer = pair(events, {}, { backoff: Schedule.exponential("1 second") })
    return Effect.gen(function* () {
      yield* crash("app/a")
      yield* TestClock.adjust("60 seconds")
      // Exactly one period ago still counts.
      yield* crash("app/a")
      yield* TestClock.adjust("60001 millis")
      yield* crash("app/a")
      yield* TestClock.adjust("1 second")
      expect(events.slice(2)).toEqual(["0 -a", "1000 +a", "60000 -a", "62000 +a", "120001 -a", "121001 +a"])
    }).pipe(Effect.provide(layer))
  })

  it.effect("handles others meanwhile, and makes calls wait for as long as whenDown says", () => {
    const events: Array<string> = []
    const layer = pair(events, {}, { backoff: Schedule.spaced("10 seconds"), whenDown: { await: "2 seconds" } })
    const A = Context.GenericTag<Service>("a")
    return Effect.gen(function* () {
      const a = yield* A
      yield* crash("app/a")
      yield* settle
      const call = yield* Effect.fork(Effect.exit(a.ask))
      yield* crash("app/b")
      yield* TestClock.adjust("2 seconds")
      const answer = yield* Fiber.join(call)
      expect(Exit.isFailure(answer) && Cause.pretty(answer.cause)).toContain("this call waited 2000 ms")
      expect(events.slice(2)).toEqual(["0 -a", "0 -b", "0 +b"])
      const late = yield* Effect.fork(Effect.zipRight(Effect.sleep("7 seconds"), a.ask))
      yield* TestClock.adjust("8 seconds")
      expect(yield* Fiber.join(late)).toBe("a")
    }).pipe(Effect.provide(layer))
  })

  it.effect("is ended by terminate, after which start does not wait; and by remove", () => {
    const events: Array<string> = []
    const layer = pair(events, {}, { backoff: second })
    return Effect.gen(function* () {
      yield* crash("app/a")
      yield* settle
      expect((yield* Effect.flip(SupervisionTree.start("app/a"))).reason).toBe("restarting")
      expect((yield* Effect.flip(SupervisionTree.remove("app/a"))).reason).toBe("restarting")
      yield* SupervisionTree.terminate("app/a")
      yield* TestClock.adjust("5 seconds")
      expect(yield* statuses).toEqual(["a down", "b up"])
      yield* SupervisionTree.start("app/a")
      yield* crash("app/a")
      yield* SupervisionTree.terminate("app/a")
      yield* SupervisionTree.remove("app/a")
      yield* TestClock.adjust("5 seconds")
      expect(yield* statuses).toEqual(["b up"])
      expect(events.slice(2)).toEqual(["0 -a", "5000 +a", "5000 -a"])
    }).pipe(Effect.provide(layer))
  })

  it.effect("is cut short by restart, which does not wait", () => {
    const events: Array<string> = []
    const layer = pair(events, {}, { backoff: second })
    return Effect.gen(function* () {
      yield* crash("app/a")
      yield* settle
      yield* SupervisionTree.restart("app/a")
      yield* TestClock.adjust("5 seconds")
      expect(events.slice(2)).toEqual(["0 -a", "0 +a"])
    }).pipe(Effect.provide(layer))
  })

  it.effect("does not hold up a tree that closes, also while another child stops", () => {
    const events: Array<string> = []
    const layer = pair(events, {}, { backoff: Schedule.spaced("10 seconds") })
    return Effect.gen(function* () {
      yield* Effect.provide(crash("app/a"), layer)
      expect(events).toEqual(["0 +a", "0 +b", "0 -a", "0 -b"])
      events.length = 0
      const slow = Layer.scopedDiscard(Effect.addFinalizer(() => Effect.sleep("3 seconds"))).pipe(
        Supervised.layer({ id: "slow" })
      )
      const both = slow.pipe(
        Layer.provideMerge(child(events, "a", { backoff: Schedule.spaced("2 seconds") })),
        SupervisionTree.layer({ name: "app", period: "60 seconds" })
      )
      const closing = yield* Effect.fork(Effect.provide(crash("app/a"), both))
      yield* TestClock.adjust("3 seconds")
      yield* Fiber.join(closing)
      yield* TestClock.adjust("60 seconds")
      expect(events).toEqual(["0 +a", "0 -a"])
    })
  })

  it.effect("gives up at once: one restart too many is not waited for", () => {
    const events: Array<string> = []
    const layer = pair(events, { intensity: 1 }, { backoff: second })
    return Effect.gen(function* () {
      yield* crash("app/a")
      yield* TestClock.adjust("1 second")
      yield* crash("app/a")
      expect(yield* Effect.flip(SupervisionTree.awaitShutdown)).toMatchObject({ reason: "intensity" })
      expect(events.slice(2)).toEqual(["0 -a", "1000 +a", "1000 -a", "1000 -b"])
    }).pipe(Effect.provide(layer))
  })

  it.effect("stops the siblings of a group at once, and starts them with the child", () => {
    const events: Array<string> = []
    const layer = pair(events, { strategy: "one_for_all" }, { backoff: second })
    return Effect.gen(function* () {
      yield* crash("app/a")
      yield* settle
      expect(yield* statuses).toEqual(["a restarting", "b down"])
      yield* TestClock.adjust("1 second")
      expect(events.slice(2)).toEqual(["0 -a", "0 -b", "1000 +a", "1000 +b"])
    }).pipe(Effect.provide(layer))
  })

  it.effect("is not cut short by the crash of a sibling that takes the child along", () => {
    const events: Array<string> = []
    const layer = pair(events, { strategy: "rest_for_one" }, {}, { backoff: Schedule.spaced("5 seconds") })
    return Effect.gen(function* () {
      yield* crash("app/b")
      yield* TestClock.adjust("2 seconds")
      yield* crash("app/a")
      yield* TestClock.adjust("60 seconds")
      expect(events.slice(2)).toEqual(["0 -b", "2000 -a", "5000 +a", "5000 +b"])
    }).pipe(Effect.provide(layer))
  })

  it.effect("stays at its last delay when the Schedule is over, and never grows past what give-up allows", () => {
    const [over, growing]: [Array<string>, Array<string>] = [[], []]
    const times = (events: Array<string>) => events.filter((it) => it.includes("+")).slice(2)
    return Effect.gen(function* () {
      const crashes = Effect.forEach([1, 2, 3], () => Effect.zipRight(crash("app/a"), TestClock.adjust("18 seconds")))
      yield* Effect.provide(crashes, pair(over, {}, { backoff: Schedule.intersect(second, Schedule.recurs(1)) }))
      expect(times(over)).toEqual(["1000 +a", "19000 +a", "37000 +a"])
      const further = Effect.forEach([1, 2, 3, 4, 5], () =>
        Effect.zipRight(crash("app/a"), TestClock.adjust("25 seconds"))
      )
      const from = 3 * 18_000
      yield* Effect.provide(further, pair(growing, {}, { backoff: Schedule.exponential("1 second") }))
      const delays = [1000, 2000, 4000, 8000, 14_999]
      expect(times(growing)).toEqual(delays.map((delay, n) => `${from + n * 25_000 + delay} +a`))
    })
  })

  it.effect("says in the log how long the restart waits", () => {
    const lines: Array<unknown> = []
    const logger = Logger.make(({ message }) => lines.push(String(message)))
    const layer = pair([], {}, { backoff: second })
    return Effect.gen(function* () {
      yield* crash("app/a")
      yield* TestClock.adjust("1 second")
      expect(lines).toEqual(['"app/a" (instance 1) crashed: restarting it in 1000 ms, 1 of 3 restarts in 60000 ms'])
    }).pipe(Effect.provide(layer), Effect.provide(Logger.replace(Logger.defaultLogger, logger)))
  })
})

const refusal = (options: SupervisionTree.Options, childOptions: Supervised.ChildOptions) =>
  Effect.map(Effect.exit(Effect.scoped(Layer.build(pair([], options, childOptions)))), (exit) =>
    Exit.isFailure(exit) ? Cause.pretty(exit.cause) : "accepted"
  )

describe("a backoff under which the supervisor could never give up", () => {
  it.effect("is refused with child, numbers and remedy", () =>
    Effect.gen(function* () {
      expect(yield* refusal({ intensity: 3, period: "4 seconds" }, { backoff: second })).toContain(
        'supervisor "app": child "a": its backoff waits up to 1000 ms, so that 4 restarts do not fit into the period of 4000 ms, and the supervisor could never give up; allow 999 ms at most (Schedule.either(Schedule.spaced("999 millis")) caps a schedule), or make the period longer than 4000 ms'
      )
      expect(yield* refusal({ intensity: 3, period: "4001 millis" }, { backoff: second })).toBe("accepted")
      expect(yield* refusal({ intensity: 3, period: "4 seconds" }, { backoff: Schedule.spaced("999 millis") })).toBe(
        "accepted"
      )
    })
  )

  it("is found by the longest of its first delays, and at the worst end of its jitter", () => {
    const window = { intensity: 3, period: 40_000 }
    expect(problemOf(Schedule.exponential("1 second"), window)).toBeUndefined()
    expect(problemOf(Schedule.exponential("1250 millis"), window)).toContain("up to 10000 ms")
    expect(problemOf(Schedule.jittered(Schedule.spaced("8 seconds")), window)).toBeUndefined()
    expect(problemOf(Schedule.jittered(Schedule.spaced("9 seconds")), window)).toContain("up to 10800 ms")
    expect(problemOf(Schedule.either(Schedule.exponential("1 hour"), Schedule.spaced("9999 millis")), window)).toBe(
      undefined
    )
  })

  it("is compared strictly: maxDelay * (intensity + 1) < period", () => {
    for (const intensity of [0, 1, 3, 6]) {
      for (const period of [1, 7, 1000, 5000]) {
        const limit = limitOf({ intensity, period })
        expect(limit * (intensity + 1)).toBeLessThan(period)
        expect((limit + 1) * (intensity + 1)).toBeGreaterThanOrEqual(period)
      }
    }
  })

  it.effect(
    "and so are a Schedule that waits or throws when it is asked, one of a temporary child, and what is none",
    () =>
      Effect.gen(function* () {
        const asynchronous = Schedule.delayedEffect(second, () => Effect.as(Effect.sleep("1 second"), "1 second"))
        const throwing = Schedule.mapInput(second, (cause: Cause.Cause<unknown>): unknown => {
          throw new Error(`no answer to ${cause._tag}`)
        })
        expect(yield* refusal({}, { backoff: asynchronous })).toContain(
          "cannot tell its delays without waiting, or fails"
        )
        expect(yield* refusal({}, { backoff: throwing })).toContain("no answer to Empty")
        expect(yield* refusal({}, { backoff: second, restart: "temporary" })).toContain("never restarted")
        expect(yield* refusal({}, { backoff: "1 second" as never })).toContain("backoff is not a Schedule")
      })
  )
})

describe("a Schedule that goes wrong later", () => {
  it.effect("waits as long as may be", () => {
    const events: Array<string> = []
    const fragile = Schedule.mapInput(second, (cause: Cause.Cause<unknown>) => {
      if (!Cause.isEmpty(cause)) throw new Error("unexpected")
    })
    return Effect.gen(function* () {
      yield* crash("app/a")
      yield* TestClock.adjust("14998 millis")
      expect(events).toHaveLength(3)
      yield* TestClock.adjust("1 millis")
      expect(events.at(-1)).toBe("14999 +a")
    }).pipe(Effect.provide(pair(events, {}, { backoff: fragile })))
  })

  it.effect("gets the cause of each crash, and its random numbers from where the tree was built", () => {
    const seen: Array<unknown> = []
    const events: Array<string> = []
    const asking = Schedule.jittered(Schedule.spaced("10 seconds")).pipe(
      Schedule.mapInput((cause: Cause.Cause<unknown>) => seen.push(Cause.squash(cause)))
    )
    return Effect.gen(function* () {
      yield* crash("app/a", "boom")
      yield* TestClock.adjust("10 seconds")
      expect(seen.at(-1)).toBe("boom")
      expect(events.slice(3)).toEqual(["10000 +a"])
    }).pipe(Effect.provide(pair(events, {}, { backoff: asking })), Effect.withRandom(Random.fixed([0.5])))
  })
})
