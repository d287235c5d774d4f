import { describe, expect, it } from "@effect/vitest"
import {
  Cause,
  Context,
  Deferred,
  Duration,
  Effect,
  Exit,
  Fiber,
  FiberRef,
  Layer,
  Logger,
  LogLevel,
  Schedule,
  type Scope,
  TestClock
} from "effect"
import * as DynamicSupervisor from "../../src/supervision/DynamicSupervisor.js"
import { Instance, Slot } from "../../src/supervision/instance.js"
import * as Supervised from "../../src/supervision/Supervised.js"
import { ChildDown } from "../../src/supervision/SupervisionError.js"
import * as SupervisionTree from "../../src/supervision/SupervisionTree.js"
import * as TestSupervision from "../../src/supervision/TestSupervision.js"

interface Service {
  readonly ask: Effect.Effect<string>
}

const tagOf = (id: string) => Context.GenericTag<Service>(id)
const ask = (id: string) => Effect.flatMap(tagOf(id), (service) => service.ask)

/** Writes down starts and stops with the time, in milliseconds, and runs `build` in its build. */
const child = (
  events: Array<string>,
  id: string,
  build: Effect.Effect<unknown, never, Service | Scope.Scope> = Effect.void,
  options: Supervised.ChildOptions = {}
): Layer.Layer<Service, never, Service | Supervised.CurrentSupervisor> => {
  const note = (event: string) =>
    Effect.clockWith((clock) => Effect.sync(() => events.push(`${clock.unsafeCurrentTimeMillis()} ${event}`)))
  const bare = Layer.scoped(
    tagOf(id),
    Effect.gen(function* () {
      yield* build
      yield* Effect.acquireRelease(note(`+${id}`), () => note(`-${id}`))
      return { ask: Effect.succeed(id) }
    })
  )
  return Supervised.layer(bare, { id, ...options })
}

/** Each sees the services of all before it. */
const tree = (
  layers: ReadonlyArray<Layer.Layer<Service, never, Service | Supervised.CurrentSupervisor>>,
  options: SupervisionTree.Options = {}
): Layer.Layer<Service | SupervisionTree.SupervisionTree> =>
  layers
    .reduce((below, layer) => Layer.provideMerge(layer, below))
    .pipe(SupervisionTree.layer({ name: "app", intensity: 5, period: "1 minute", ...options })) as Layer.Layer<
    Service | SupervisionTree.SupervisionTree
  >

const crash = TestSupervision.crash
const settle = TestClock.adjust(0)
const second = Schedule.spaced("1 second")
/** Crashes the instance that is being built when it is completed. */
const mortal = Effect.tap(Deferred.make<void>(), (dies) =>
  Effect.forkScoped(Effect.zipRight(Deferred.await(dies), Effect.die("crash")))
)
const downOf = (cause: Cause.Cause<unknown>): unknown => {
  const defect = Cause.squash(cause)
  return defect instanceof ChildDown ? [defect.path, defect.holding] : defect
}

describe("a build that calls a sibling that is down", () => {
  const all = ["one_for_one", "one_for_all", "rest_for_one", "rest_for_dependents"] as const
  for (const strategy of all) {
    it.effect(`fails at once and is tried again when that is up: ${strategy}`, () => {
      const events: Array<string> = []
      return Effect.gen(function* () {
        yield* crash("app/b")
        yield* crash("app/a")
        yield* settle
        expect(yield* Effect.zip(ask("a"), ask("b"))).toEqual(["a", "b"])
        expect(events.every((event) => event.startsWith("0 "))).toBe(true)
      }).pipe(Effect.provide(tree([child(events, "a"), child(events, "b", ask("a"))], { strategy })))
    })
  }

  it.effect("is tried again when the sibling's backoff is over, and holds up nobody until then", () => {
    const events: Array<string> = []
    const causes: Array<unknown> = []
    const asks = Effect.tapErrorCause(ask("a"), (cause) => Effect.sync(() => causes.push(downOf(cause))))
    const layer = tree([
      child(events, "x"),
      child(events, "a", Effect.void, { backoff: second }),
      child(events, "b", asks)
    ])
    return Effect.gen(function* () {
      yield* crash("app/a")
      yield* crash("app/b")
      yield* TestClock.adjust("500 millis")
      yield* crash("app/x")
      yield* TestClock.adjust("500 millis")
      expect(events).toEqual(["0 +x", "0 +a", "0 +b", "0 -a", "0 -b", "500 -x", "500 +x", "1000 +a", "1000 +b"])
      expect(causes).toEqual([["app/a", "app/b"]])
      expect((yield* SupervisionTree.snapshot).intensity.used).toBe(4)
    }).pipe(Effect.provide(layer))
  })

  it.effect("is tried again after the time of whenDown if that stays down", () => {
    const events: Array<string> = []
    let tries = 0
    const layer = tree([
      child(events, "a", Effect.void, { whenDown: { await: "2 seconds" } }),
      child(
        events,
        "b",
        Effect.zipRight(
          Effect.sync(() => tries++),
          ask("a")
        )
      )
    ])
    return Effect.gen(function* () {
      yield* SupervisionTree.terminate("app/a")
      yield* crash("app/b")
      yield* TestClock.adjust("1999 millis")
      expect(tries).toBe(2)
      yield* TestClock.adjust("1 millis")
      expect(tries).toBe(3)
      yield* SupervisionTree.start("app/a")
      yield* settle
      expect(yield* ask("b")).toBe("b")
    }).pipe(Effect.provide(layer))
  })

  it.effect("is the answer of start", () => {
    const events: Array<string> = []
    const layer = tree([child(events, "a", Effect.void, { backoff: second }), child(events, "b", ask("a"))])
    return Effect.gen(function* () {
      yield* SupervisionTree.terminate("app/b")
      yield* crash("app/a")
      const { cause, message, reason } = yield* Effect.flip(SupervisionTree.start("app/b"))
      expect([reason, downOf(cause)]).toEqual(["start failed", ["app/a", "app/b"]])
      expect(message).toContain('could not start "app/b"')
      expect(Cause.pretty(cause)).toContain('"app/a" is down, and to wait for it would deadlock')
    }).pipe(Effect.provide(layer))
  })

  it.effect("fails at once from a fiber that is a part of it", () => {
    const events: Array<string> = []
    const asks = Effect.all([Effect.void, Effect.forEach([1, 2], () => ask("a"), { concurrency: 2 })], {
      concurrency: 2
    })
    return Effect.gen(function* () {
      yield* crash("app/b")
      yield* crash("app/a")
      yield* settle
      expect(events).toEqual(["0 +a", "0 +b", "0 -b", "0 -a", "0 +a", "0 +b"])
    }).pipe(Effect.provide(tree([child(events, "a"), child(events, "b", asks)])))
  })

  const parts: { readonly [how: string]: Effect.Effect<unknown, never, Service | Scope.Scope> } = {
    "a timeout": Effect.orDie(Effect.timeout(ask("a"), "1 second")),
    "a race": Effect.raceFirst(ask("a"), Effect.never),
    "a fork that is joined": Effect.flatMap(Effect.fork(ask("a")), Fiber.join),
    "a fork that is joined later": Effect.flatMap(Effect.fork(ask("a")), (fiber) =>
      Effect.zipRight(Effect.repeatN(Effect.yieldNow(), 9), Fiber.join(fiber))
    ),
    "a timeout in one of several": Effect.forEach([1, 2], () => Effect.orDie(Effect.timeout(ask("a"), "1 second")), {
      concurrency: 2
    }),
    "a race in a fork that is awaited": Effect.flatMap(
      Effect.fork(Effect.raceFirst(Effect.asVoid(ask("a")), Effect.never)),
      (fiber) => Effect.flatten(Fiber.await(fiber))
    )
  }
  for (const [how, build] of Object.entries(parts)) {
    it.effect(`fails at once from ${how}`, () => {
      const events: Array<string> = []
      return Effect.gen(function* () {
        yield* crash("app/b")
        yield* crash("app/a")
        yield* settle
        expect(events).toEqual(["0 +a", "0 +b", "0 -b", "0 -a", "0 +a", "0 +b"])
      }).pipe(Effect.provide(tree([child(events, "a"), child(events, "b", build)])))
    })
  }

  it.effect("fails at once where its layer was built side by side with others", () => {
    const events: Array<string> = []
    const both = Layer.merge(child(events, "b", ask("a")), child(events, "c"))
    return Effect.gen(function* () {
      yield* crash("app/b")
      yield* crash("app/a")
      yield* settle
      expect(events.slice(3)).toEqual(["0 -b", "0 -a", "0 +a", "0 +b"])
    }).pipe(Effect.provide(tree([child(events, "a"), both])))
  })

  it.effect("fails at once where the tree is run by SupervisionTree.provide", () => {
    const events: Array<string> = []
    const both = Effect.all([ask("a"), Effect.void], { concurrency: 2 })
    return Effect.gen(function* () {
      yield* crash("app/b")
      yield* crash("app/a")
      yield* settle
      expect(events).toEqual(["0 +a", "0 +b", "0 -b", "0 -a", "0 +a", "0 +b"])
    }).pipe(SupervisionTree.provide(tree([child(events, "a"), child(events, "b", both)])))
  })

  it.effect("may have forked a worker that waits: that holds up nobody", () => {
    const events: Array<string> = []
    const worker = Effect.flatMap(Effect.exit(ask("a")), (exit) =>
      Effect.sync(() => events.push(`worker ${exit._tag}`))
    )
    const build = Effect.zipRight(Effect.forkScoped(worker), Effect.yieldNow())
    return Effect.gen(function* () {
      yield* crash("app/a")
      yield* crash("app/b")
      yield* TestClock.adjust("1 second")
      expect(events).toEqual(["0 +a", "worker Success", "0 +b", "0 -a", "0 -b", "0 +b", "1000 +a", "worker Success"])
    }).pipe(Effect.provide(tree([child(events, "a", Effect.void, { backoff: second }), child(events, "b", build)])))
  })

  it.effect("fails at once inside of a nested tree that is being built, too", () => {
    const events: Array<string> = []
    const inner = child(events, "b", ask("a")).pipe(
      SupervisionTree.layer({ name: "in" }),
      Supervised.layer({ id: "in" })
    )
    return Effect.gen(function* () {
      yield* crash("app/in")
      yield* crash("app/a")
      yield* settle
      expect(events).toEqual(["0 +a", "0 +b", "0 -b", "0 -a", "0 +a", "0 +b"])
      // The nested supervisor waits, and the one above it does not.
      yield* crash("app/in/b")
      yield* crash("app/a")
      yield* settle
      expect(events.slice(6)).toEqual(["0 -b", "0 -a", "0 +a", "0 +b"])
    }).pipe(Effect.provide(tree([child(events, "a"), inner])))
  })
})

describe("a finalizer that calls a sibling that is down", () => {
  for (const strategy of ["rest_for_dependents", "rest_for_one", "one_for_all"] as const) {
    it.effect(`holds up nobody, and is not orphaned: ${strategy}`, () => {
      const events: Array<string> = []
      const build = Effect.zipRight(
        ask("a"),
        Effect.flatMap(tagOf("a"), (a) => Effect.addFinalizer(() => Effect.exit(Effect.uninterruptible(a.ask))))
      )
      return Effect.gen(function* () {
        yield* crash("app/a")
        yield* settle
        expect(events).toEqual(["0 +a", "0 +b", "0 -a", "0 -b", "0 +a", "0 +b"])
        expect((yield* SupervisionTree.snapshot).children.map((it) => it.orphaned)).toEqual([0, 0])
      }).pipe(
        Effect.provide(tree([child(events, "a"), child(events, "b", build, { shutdown: "1 second" })], { strategy }))
      )
    })
  }
})

describe("a dynamic child's build that calls a sibling that is down", () => {
  type Rooms = DynamicSupervisor.DynamicSupervisor<string, Service>
  const Rooms = Context.GenericTag<Rooms>("rooms")
  const rooms = (build: (id: string) => Effect.Effect<unknown, never, Service>) =>
    Supervised.layer(
      DynamicSupervisor.layer(Rooms, {
        child: (id: string) => Effect.as(build(id), { ask: Effect.succeed(id) }),
        id: (id) => id,
        intensity: 1
      }),
      { id: "rooms" }
    )

  it.effect("fails at once if a static one's build waits for it", () => {
    const events: Array<string> = []
    const starts = Effect.orDie(
      Effect.flatMap(Rooms, (it) =>
        Effect.catchTag(it.start("r"), "AlreadyStarted", ({ child }) => Effect.succeed(child))
      )
    )
    const layer = tree([
      child(events, "a"),
      rooms(() => ask("a")) as never,
      child(events, "b", starts as Effect.Effect<unknown, never, never>)
    ])
    return Effect.gen(function* () {
      yield* (yield* Rooms).terminate("r")
      yield* crash("app/b")
      yield* crash("app/a")
      yield* settle
      expect(events).toEqual(["0 +a", "0 +b", "0 -b", "0 -a", "0 +a", "0 +b"])
    }).pipe(Effect.provide(layer as Layer.Layer<Service | SupervisionTree.SupervisionTree | Rooms>))
  })

  it.effect("waits for one that does not wait for it", () => {
    const events: Array<string> = []
    const layer = tree([child(events, "a", Effect.void, { backoff: second }), rooms(() => ask("a")) as never])
    return Effect.gen(function* () {
      const all = yield* Rooms
      yield* crash("app/a")
      yield* settle
      const start = yield* Effect.fork(all.start("r"))
      yield* TestClock.adjust("999 millis")
      expect(start.unsafePoll()).toBe(null)
      yield* TestClock.adjust("1 millis")
      expect((yield* Fiber.join(start)).id).toBe("r")
    }).pipe(Effect.provide(layer as Layer.Layer<Service | SupervisionTree.SupervisionTree | Rooms>))
  })

  it.scoped("fails at once if the other one waits for it", () =>
    Effect.gen(function* () {
      const asked: Array<unknown> = []
      const services = new Map<string, Service>()
      let cyclic = false
      const all = yield* DynamicSupervisor.make({
        name: "rooms",
        child: (id: string) =>
          Effect.gen(function* () {
            const dies = yield* mortal
            const other = services.get(id === "x" ? "y" : "x")
            if (cyclic && asked.length === 0 && other !== undefined) {
              yield* Effect.repeatN(Effect.yieldNow(), 3)
              yield* Effect.tapErrorCause(other.ask, (cause) => Effect.sync(() => asked.push(downOf(cause))))
            }
            return { ask: Effect.succeed(id), die: Deferred.succeed(dies, undefined) }
          }),
        id: (id: string) => id,
        intensity: 5
      })
      const [x, y] = [yield* all.start("x"), yield* all.start("y")]
      for (const room of [x, y]) services.set(room.id, room.service)
      cyclic = true
      const dying = [x.service.die, y.service.die]
      yield* Effect.all(dying)
      yield* Effect.repeatN(Effect.yieldNow(), 9)
      cyclic = false
      yield* settle
      // The second of them that asked; the first one waits for it, and is answered.
      expect(asked).toEqual([["rooms/x", "rooms/y"]])
      expect(yield* Effect.all([x.service.ask, y.service.ask])).toEqual(["x", "y"])
    })
  )

  it.scoped("is forgotten when it has been answered, and in nobody's way then", () =>
    Effect.gen(function* () {
      const asked: Array<unknown> = []
      /** What the builds that follow do, one each. */
      const builds: Array<Effect.Effect<unknown>> = []
      const asking = (other: Service) =>
        Effect.onExit(other.ask, (exit) =>
          Effect.sync(() => asked.push(Exit.isSuccess(exit) ? exit.value : downOf(exit.cause)))
        )
      const all = yield* DynamicSupervisor.make({
        name: "rooms",
        child: (id: string) =>
          Effect.gen(function* () {
            const dies = yield* mortal
            yield* builds.shift() ?? Effect.void
            return { ask: Effect.succeed(id), die: Deferred.succeed(dies, undefined) }
          }),
        id: (id: string) => id,
        intensity: 5
      })
      const [{ service: x }, { service: y }] = [yield* all.start("x"), yield* all.start("y")]
      const [xGoesOn, yGoesOn] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
      builds.push(Deferred.await(xGoesOn))
      yield* x.die
      yield* settle
      // Waits for x, is answered, and has more to do.
      builds.push(Effect.zipRight(asking(x), Deferred.await(yGoesOn)))
      yield* y.die
      yield* settle
      yield* Deferred.succeed(xGoesOn, undefined)
      yield* settle
      expect(asked).toEqual(["x"])
      builds.push(asking(y))
      yield* x.die
      yield* settle
      yield* Deferred.succeed(yGoesOn, undefined)
      yield* settle
      expect(asked).toEqual(["x", "y"])
    })
  )
})

describe("a call that waits for a child that is down", () => {
  for (let turns = 1; turns <= 6; turns++) {
    it.effect(`waits on when one comes up and dies before it was asked: after ${turns} turns`, () => {
      const S = tagOf("s")
      let builds = 0
      const layer = Layer.scoped(
        S,
        Effect.gen(function* () {
          const number = ++builds
          yield* Effect.sleep(1)
          const dying = Effect.zipRight(Effect.repeatN(Effect.yieldNow(), turns), Effect.die("at once"))
          if (number > 1 && number < 4) yield* Effect.forkScoped(dying)
          return { ask: Effect.sync(() => `asked ${number}`) }
        })
      ).pipe(Supervised.layer({ id: "s" }), SupervisionTree.layer({ name: "app", intensity: 100 }))
      return Effect.gen(function* () {
        const context = yield* Effect.fork(Layer.build(layer))
        yield* TestClock.adjust(1)
        const s = Context.get(yield* Fiber.join(context), S)
        yield* Effect.provide(crash("app/s"), yield* Fiber.join(context))
        yield* settle
        const call = yield* Effect.fork(Effect.exit(s.ask))
        yield* TestClock.adjust(1)
        yield* TestClock.adjust(1)
        yield* TestClock.adjust(1)
        const exit = yield* Fiber.join(call)
        // Either it was asked, whatever becomes of the instance then, or it waits for one that is.
        expect(Exit.isSuccess(exit) && exit.value).toMatch(/^asked [234]$/)
      }).pipe(Effect.scoped)
    })
  }

  const gated = (gate: Effect.Effect<unknown>) => {
    let builds = 0
    return Layer.effect(
      tagOf("s"),
      Effect.gen(function* () {
        const number = ++builds
        if (number > 1) yield* gate
        return { ask: Effect.sync(() => `asked ${number}`) }
      })
    ).pipe(
      Supervised.layer({ id: "s", whenDown: { await: "1 second" } }),
      SupervisionTree.layer({ name: "app", intensity: 100 })
    )
  }

  it.scoped("needs one timer, however many instances come up and die before it has its turn", () =>
    Effect.gen(function* () {
      const gate = yield* Deferred.make<void>()
      const context = yield* Layer.build(gated(Deferred.await(gate)))
      const slot = Context.get(context, SupervisionTree.SupervisionTree).find("app/s")?.child.slot
      const clock = yield* Effect.clock
      let sleeps = 0
      const counting = {
        ...clock,
        unsafeCurrentTimeNanos: () => clock.unsafeCurrentTimeNanos(),
        sleep: (duration: Duration.Duration) =>
          Effect.zipRight(
            Effect.sync(() => sleeps++),
            clock.sleep(duration)
          )
      }
      yield* Effect.provide(crash("app/s"), context)
      yield* settle
      const call = yield* Effect.fork(Effect.withClock(Context.get(context, tagOf("s")).ask, counting))
      yield* settle
      // Told after the call, and before that has its turn.
      const killer = slot?.until(() => {
        if (slot.current === undefined || slot.current.number >= 10) return undefined
        slot.current.exit({ exit: "abnormal", cause: Cause.die("at once") })
        return undefined
      })
      yield* Effect.fork(killer ?? Effect.void)
      yield* settle
      yield* Deferred.succeed(gate, undefined)
      expect([yield* Fiber.join(call), sleeps]).toEqual(["asked 10", 1])
    })
  )

  const eventLoop = Effect.promise(() => new Promise<void>((resolve) => setImmediate(resolve)))

  // Live: the test clock has fibers of its own, which some of these numbers would not let end.
  it.live("leaves no timer wherever it is interrupted", () =>
    Effect.gen(function* () {
      const context = yield* Layer.build(gated(Effect.never))
      yield* Effect.provide(crash("app/s"), context)
      yield* eventLoop
      const clock = yield* Effect.clock
      const open: Array<string> = []
      const { ask } = Context.get(context, tagOf("s"))
      let timers = 0
      for (let ops = 10; ops < 40; ops += 1) {
        for (let turns = 0; turns < 6; turns += 1) {
          const at = `after ${turns} turns of ${ops} steps`
          const counting = {
            ...clock,
            unsafeCurrentTimeNanos: () => clock.unsafeCurrentTimeNanos(),
            sleep: () =>
              Effect.async<void>(() => {
                timers += 1
                open.push(at)
                return Effect.sync(() => open.splice(open.indexOf(at), 1))
              })
          }
          const waiting = Effect.locally(Effect.withClock(ask, counting), FiberRef.currentMaxOpsBeforeYield, ops)
          const call = yield* Effect.fork(waiting)
          for (let turn = 0; turn < turns; turn += 1) yield* Effect.yieldNow()
          yield* Fiber.interrupt(call)
          yield* eventLoop
        }
      }
      expect([open, timers > 0]).toEqual([[], true])
    }).pipe(Effect.scoped, Logger.withMinimumLogLevel(LogLevel.None))
  )

  it.scoped("leaves nothing in its slot when its time is over", () =>
    Effect.gen(function* () {
      const context = yield* Layer.build(gated(Effect.never))
      const slot = Context.get(context, SupervisionTree.SupervisionTree).find("app/s")?.child.slot
      yield* Effect.provide(crash("app/s"), context)
      yield* settle
      const { ask } = Context.get(context, tagOf("s"))
      const calls = yield* Effect.all([Effect.fork(ask), Effect.fork(ask)])
      // Not in its public type: who is told of the next change.
      const waiting = (): number => (slot as unknown as { readonly waiters: ReadonlySet<unknown> }).waiters.size
      yield* settle
      const before = waiting()
      yield* TestClock.adjust("1 second")
      for (const call of calls) yield* Fiber.await(call)
      expect([before, waiting()]).toEqual([2, 0])
    })
  )

  /** A call that waits up to a second, by a clock of its own, and gives way after so many steps. */
  const waitingCall = (ops: number) =>
    Effect.gen(function* () {
      const clock = yield* Effect.clock
      const slot = new Slot("app/s", 1000)
      const alarms = new Map<() => void, number>()
      let now = 0
      const own = {
        ...clock,
        unsafeCurrentTimeNanos: () => BigInt(now) * 1_000_000n,
        sleep: (duration: Duration.Duration) =>
          Effect.async<void>((resume) => {
            const ring = () => resume(Effect.void)
            alarms.set(ring, now + Duration.toMillis(duration))
            return Effect.sync(() => alarms.delete(ring))
          })
      }
      const call = yield* slot.awaitUp.pipe(
        Effect.withClock(own),
        Effect.locally(FiberRef.currentMaxOpsBeforeYield, ops),
        Effect.fork
      )
      yield* eventLoop
      return {
        call,
        slot,
        up: () => slot.up(new Instance(undefined, slot, 1, undefined, () => {})),
        passTo: (time: number) => {
          now = time
          for (const [ring, at] of Array.from(alarms)) if (at <= now) ring()
        }
      }
    })

  it.live("waits for its time, and no longer, wherever it gives way", () =>
    Effect.gen(function* () {
      const ends = new Set<string>()
      for (let ops = 10; ops < 40; ops += 1) {
        for (let turns = 0; turns < 6; turns += 1) {
          const { call, passTo, slot, up } = yield* waitingCall(ops)
          passTo(600)
          up()
          for (let turn = 0; turn < turns; turn += 1) yield* Effect.yieldNow()
          slot.current = undefined
          yield* eventLoop
          passTo(999)
          yield* eventLoop
          const before = call.unsafePoll()
          passTo(1000)
          yield* eventLoop
          const end = before ?? call.unsafePoll()
          if (end === null) ends.add(`late: ${turns} turns of ${ops} steps`)
          else if (Exit.isSuccess(end)) ends.add("answered")
          else ends.add(before === null ? "in time" : `early: ${turns} turns of ${ops} steps`)
          yield* Fiber.interrupt(call)
        }
      }
      expect(Array.from(ends).sort()).toEqual(["answered", "in time"])
    }).pipe(Logger.withMinimumLogLevel(LogLevel.None))
  )

  it.live("is answered by a child that is up when its time is over", () =>
    Effect.gen(function* () {
      const { call, passTo, up } = yield* waitingCall(2048)
      passTo(1000)
      up()
      expect((yield* Fiber.join(call)).number).toBe(1)
    })
  )

  it.scoped("is bounded also where its caller was interrupted, and hears nothing of that", () =>
    Effect.gen(function* () {
      const context = yield* Layer.build(gated(Effect.never))
      yield* Effect.provide(crash("app/s"), context)
      yield* settle
      const begin = yield* Deferred.make<void>()
      const { ask } = Context.get(context, tagOf("s"))
      const ends: Array<Exit.Exit<string>> = []
      const clock = yield* Effect.clock
      // As the real clock does, and the test clock does not, its sleep looks whether its fiber was interrupted.
      const hearing = {
        ...clock,
        unsafeCurrentTimeNanos: () => clock.unsafeCurrentTimeNanos(),
        sleep: (duration: Duration.Duration) => Effect.interruptible(clock.sleep(duration))
      }
      const call = yield* Deferred.await(begin).pipe(
        Effect.zipRight(Effect.exit(Effect.withClock(ask, hearing))),
        Effect.map((end) => ends.push(end)),
        Effect.uninterruptible,
        Effect.fork
      )
      yield* settle
      yield* Fiber.interruptFork(call)
      yield* settle
      yield* Deferred.succeed(begin, undefined)
      yield* settle
      expect(ends).toEqual([])
      yield* TestClock.adjust("1 second")
      yield* Fiber.await(call)
      expect(ends.map((end) => Exit.isFailure(end) && Cause.squash(end.cause) instanceof ChildDown)).toEqual([true])
    })
  )
})
