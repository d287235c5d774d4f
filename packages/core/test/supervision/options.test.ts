import { describe, expect, it } from "@effect/vitest"
import { Cause, Context, Deferred, Effect, Exit, Fiber, Layer, Stream, TestClock } from "effect"
import * as Supervised from "../../src/supervision/Supervised.js"
import * as SupervisionTree from "../../src/supervision/SupervisionTree.js"
import * as TestSupervision from "../../src/supervision/TestSupervision.js"

interface Service {
  readonly instance: Effect.Effect<number>
  readonly ping: Effect.Effect<void, string>
  readonly slow: Effect.Effect<number>
  readonly slowly: Stream.Stream<number>
}

class Db extends Context.Tag("Db")<Db, Service>() {}

/** A tree of one child, whose instances answer a ping as `answers` says. */
const app = (
  options: Supervised.ChildOptions<Db>,
  answers: { ping: (instance: number) => Effect.Effect<void, string> } = { ping: () => Effect.void },
  fork: Effect.Effect<unknown> = Effect.never
) => {
  const events: Array<string> = []
  let instances = 0
  const note = (event: string) =>
    Effect.flatMap(Effect.clock, (clock) =>
      Effect.sync(() => events.push(`${clock.unsafeCurrentTimeMillis()} ${event}`))
    )
  const bare = Layer.scoped(
    Db,
    Effect.gen(function* () {
      const n = ++instances
      yield* Effect.acquireRelease(note(`+${n}`), () => note(`-${n}`))
      if (n === 1) yield* Effect.forkDaemon(fork)
      return {
        instance: Effect.succeed(n),
        ping: Effect.suspend(() => Effect.zipRight(note(`ping ${n}`), answers.ping(n))),
        slow: Effect.as(Effect.sleep("10 seconds"), n),
        slowly: Stream.repeatEffect(Effect.as(Effect.sleep("10 seconds"), n))
      }
    })
  )
  const layer = Supervised.layer(bare, { id: "db", ...options }).pipe(SupervisionTree.layer({ name: "app" }))
  return { events, layer }
}

const ping = Effect.flatMap(Db, (db) => db.ping)

describe("heartbeat", () => {
  it.effect("asks each instance again and again, and not before its time", () => {
    const { events, layer } = app({ heartbeat: { check: ping, every: "2 seconds" } })
    return Effect.gen(function* () {
      yield* TestClock.adjust("1999 millis")
      expect(events).toEqual(["0 +1"])
      yield* TestClock.adjust("3 seconds")
      yield* TestSupervision.crash("app/db")
      yield* TestClock.adjust("2 seconds")
      expect(events).toEqual(["0 +1", "2000 ping 1", "4000 ping 1", "4999 -1", "4999 +2", "6999 ping 2"])
    }).pipe(
      Effect.provide(layer),
      Effect.tap(TestClock.adjust("1 minute")),
      Effect.tap(() =>
        Effect.sync(() => {
          expect(events.slice(6)).toEqual(["6999 -2"])
        })
      )
    )
  })

  it.effect("crashes an instance that fails it, with a clear cause", () => {
    const { layer } = app(
      { heartbeat: { check: ping, every: "1 second" } },
      { ping: (n) => (n === 1 ? Effect.fail("no route") : Effect.void) }
    )
    return Effect.gen(function* () {
      const exits = yield* collect
      yield* TestClock.adjust("3 seconds")
      expect(yield* Effect.flatMap(Db, (db) => db.instance)).toBe(2)
      const [exited] = exits
      const error = exited === undefined ? undefined : Cause.squash(exited)
      expect(error).toBeInstanceOf(Supervised.HeartbeatFailed)
      expect(String(error)).toContain('instance 1 of "app/db" failed its heartbeat: Error: no route')
    }).pipe(Effect.provide(layer))
  })

  it.effect("crashes an instance whose check throws, or interrupts itself", () => {
    const throws = app(
      { heartbeat: { check: ping, every: "1 second" } },
      {
        ping: (n) => {
          if (n === 1) throw new Error("a bug in the check")
          return n === 2 ? Effect.interrupt : Effect.void
        }
      }
    )
    return Effect.gen(function* () {
      yield* TestClock.adjust("5 seconds")
      expect(throws.events.filter((event) => event.includes("+"))).toEqual(["0 +1", "1000 +2", "2000 +3"])
    }).pipe(Effect.provide(throws.layer))
  })

  it.effect("crashes an instance that does not answer in time, also if the check cannot be interrupted", () => {
    const release = Deferred.unsafeMake<void>(Effect.runSync(Effect.fiberId))
    const { events, layer } = app(
      { heartbeat: { check: ping, every: "1 second", timeout: "3 seconds" } },
      { ping: (n) => (n === 1 ? Effect.uninterruptible(Deferred.await(release)) : Effect.void) }
    )
    return Effect.gen(function* () {
      const exits = yield* collect
      yield* TestClock.adjust("3999 millis")
      expect(events).toEqual(["0 +1", "1000 ping 1"])
      yield* TestClock.adjust("1 millis")
      expect(events.slice(2)).toEqual(["4000 -1", "4000 +2"])
      expect(exits.map((cause) => Cause.squash(cause))).toMatchObject([{ _tag: "HeartbeatFailed", after: 3000 }])
      yield* Deferred.succeed(release, undefined)
    }).pipe(Effect.provide(layer))
  })

  it.effect("ends with the tree, in the middle of a check as well", () => {
    const { layer } = app({ heartbeat: { check: ping, every: "1 second" } }, { ping: () => Effect.never })
    return Effect.provide(TestClock.adjust("2 seconds"), layer)
  })

  it.effect("gives up like any crash", () => {
    const { layer } = app(
      { heartbeat: { check: ping, every: "500 millis" } },
      { ping: () => Effect.fail("never well") }
    )
    return Effect.gen(function* () {
      const given = yield* Effect.fork(TestSupervision.awaitGiveUp)
      yield* TestClock.adjust("3 seconds")
      expect(yield* Fiber.join(given)).toMatchObject({ childId: "db", restarts: 4 })
    }).pipe(Effect.provide(layer))
  })
})

/** The causes of the exits from now on. */
const collect = Effect.gen(function* () {
  const causes: Array<Cause.Cause<unknown>> = []
  yield* SupervisionTree.events.pipe(
    Stream.runForEach((event) => Effect.sync(() => event._tag === "Exited" && causes.push(event.cause))),
    Effect.forkDaemon
  )
  yield* TestClock.adjust(0)
  return causes
})

describe("inFlight", () => {
  const answer = (options: Supervised.ChildOptions) =>
    Effect.gen(function* () {
      const db = yield* Db
      const call = yield* Effect.fork(Effect.exit(db.slow))
      const pull = yield* Effect.fork(Effect.exit(Stream.runHead(db.slowly)))
      yield* TestClock.adjust("1 second")
      yield* TestSupervision.crash("app/db")
      yield* TestSupervision.awaitRestart("app/db")
      yield* TestClock.adjust("10 seconds")
      const exits: ReadonlyArray<Exit.Exit<unknown>> = [yield* Fiber.join(call), yield* Fiber.join(pull)]
      expect(yield* db.instance).toBe(2)
      return exits.map((exit) =>
        Exit.match(exit, { onFailure: (cause) => (Cause.squash(cause) as Error).name, onSuccess: () => "answered" })
      )
    }).pipe(Effect.provide(app(options).layer))

  it.effect("fail: a call that waits for an answer dies with its instance", () =>
    Effect.map(answer({ inFlight: "fail" }), (answers) => expect(answers).toEqual(["InstanceDied", "InstanceDied"]))
  )

  it.effect("detach: it goes on, and a new call reaches the next instance", () =>
    Effect.map(answer({ inFlight: "detach" }), (answers) => expect(answers).toEqual(["answered", "answered"]))
  )
})

describe("link", () => {
  const afterwards = (options: Supervised.ChildOptions) =>
    Effect.gen(function* () {
      yield* TestClock.adjust("2 seconds")
      return yield* Effect.flatMap(Db, (db) => db.instance)
    }).pipe(
      Effect.provide(app(options, undefined, Effect.zipRight(Effect.sleep("1 second"), Effect.die("worker"))).layer)
    )

  it.effect("auto: a fiber that outlives the build crashes its instance when it fails", () =>
    Effect.map(afterwards({ link: "auto" }), (instance) => expect(instance).toBe(2))
  )

  it.effect("manual: it does not, and goes on when the instance ends; but Supervised.fork does", () => {
    const lived: Array<string> = []
    const Manual = Layer.scopedDiscard(
      Effect.zipRight(
        Effect.forkDaemon(
          Effect.zipRight(
            Effect.sleep("5 seconds"),
            Effect.sync(() => lived.push("goes on"))
          )
        ),
        Supervised.fork(Effect.zipRight(Effect.sleep("1 second"), Effect.die("linked")))
      )
    ).pipe(Supervised.layer({ id: "manual", link: "manual" }), SupervisionTree.layer({ name: "app" }))
    return Effect.gen(function* () {
      expect(yield* afterwards({ link: "manual" })).toBe(1)
      yield* Effect.gen(function* () {
        yield* TestClock.adjust("1 second")
        expect((yield* SupervisionTree.snapshot).children).toMatchObject([{ instance: 2 }])
      }).pipe(Effect.provide(Manual))
      yield* TestClock.adjust("5 seconds")
      expect(lived).toEqual(["goes on", "goes on"])
    })
  })
})

describe("an option that does not exist", () => {
  it.effect("is refused with what there is", () =>
    Effect.gen(function* () {
      const refusal = (options: object) =>
        Effect.map(Effect.exit(Effect.scoped(Layer.build(app(options).layer))), (exit) =>
          Exit.isFailure(exit) ? Cause.pretty(exit.cause) : "accepted"
        )
      expect(yield* refusal({ inFlight: "wait" })).toContain('inFlight is "wait"; it has to be one of fail, detach')
      expect(yield* refusal({ link: "none" })).toContain('link is "none"; it has to be one of auto, manual')
      expect(yield* refusal({ heartbeat: { check: ping, every: 0 } })).toContain("heartbeat.every is 0 ms")
      expect(yield* refusal({ heartbeat: { check: ping, every: "soon" } })).toContain('heartbeat.every is "soon"')
      expect(yield* refusal({ heartbeat: { check: () => ping, every: 1 } })).toContain(
        "heartbeat.check is not an Effect"
      )
      expect(yield* refusal({ dependsOn: [undefined] })).toContain("dependsOn holds undefined, which is not the tag")
    })
  )
})
