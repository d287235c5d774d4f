import { describe, expect, it } from "@effect/vitest"
import { Cause, Clock, Context, Deferred, Effect, Exit, Layer, Logger, Metric, Option, Scope, TestClock } from "effect"
import * as DynamicSupervisor from "../../src/supervision/DynamicSupervisor.js"
import { Dynamic } from "../../src/supervision/dynamicruntime.js"
import * as Supervised from "../../src/supervision/Supervised.js"
import * as SupervisionTree from "../../src/supervision/SupervisionTree.js"
import * as TestSupervision from "../../src/supervision/TestSupervision.js"

const quiet = Logger.replace(
  Logger.defaultLogger,
  Logger.make(() => {})
)

type Devices = DynamicSupervisor.DynamicSupervisor<string, { readonly read: Effect.Effect<string> }>
const Devices = Context.GenericTag<Devices>("devices")

const settle = TestClock.adjust(0)

/** Devices of which each has a tree inside, with one child. */
const app = (events: Array<string>, name = "app") => {
  const tree = (id: string) =>
    Layer.scopedDiscard(
      Effect.acquireRelease(
        Effect.sync(() => events.push(`+${id}`)),
        () => Effect.sync(() => events.push(`-${id}`))
      )
    ).pipe(Supervised.layer({ id: "line" }), SupervisionTree.layer({ name: "inner", intensity: 1 }))
  return DynamicSupervisor.layer(Devices, {
    child: (id: string) => Effect.as(Layer.build(tree(id)), { read: Effect.succeed(id) }),
    id: (id) => id,
    intensity: 10
  }).pipe(Supervised.layer({ id: "devices" }), SupervisionTree.layer({ name }))
}

const drawn = Effect.map(SupervisionTree.snapshot, (node) => SupervisionTree.render(node).split("\n"))

describe("the path of a dynamic child", () => {
  it.effect("is one for TestSupervision", () => {
    const events: Array<string> = []
    return Effect.gen(function* () {
      const { service } = yield* (yield* Devices).start("a/b")
      yield* TestSupervision.crash("app/devices/a/b")
      expect(yield* TestSupervision.awaitRestart("app/devices/a/b")).toBe(2)
      expect(yield* service.read).toBe("a/b")
      yield* TestSupervision.failNextStart("app/devices/a/b", { times: 2 })
      yield* TestSupervision.crash("app/devices/a/b")
      expect(yield* TestSupervision.awaitRestart("app/devices/a/b")).toBe(5)
      expect(events).toEqual(["+a/b", "-a/b", "+a/b", "-a/b", "+a/b"])
    }).pipe(Effect.provide(app(events)), Effect.provide(quiet))
  })

  it.effect("leads to it, and to the tree inside of it, for calls of administration", () => {
    const events: Array<string> = []
    const path = "app/devices/a"
    return Effect.gen(function* () {
      const devices = yield* Devices
      yield* devices.start("a")
      yield* SupervisionTree.restart(`${path}/line`)
      expect(events).toEqual(["+a", "-a", "+a"])
      yield* TestSupervision.crash(`${path}/line`)
      expect(yield* TestSupervision.awaitRestart(`${path}/line`)).toBe(3)
      for (const call of [SupervisionTree.restart, SupervisionTree.start, SupervisionTree.remove]) {
        const error = yield* Effect.flip(call(path))
        expect([error.reason, error.message]).toEqual(["dynamic", expect.stringContaining("DynamicSupervisor")])
      }
      yield* SupervisionTree.terminate(path)
      expect(events).toEqual(["+a", "-a", "+a", "-a", "+a", "-a"])
      expect((yield* devices.count).specs).toBe(0)
      expect((yield* Effect.flip(SupervisionTree.terminate(path))).reason).toBe("not found")
      expect((yield* Effect.flip(SupervisionTree.terminate(`${path}/line`))).reason).toBe("not found")
    }).pipe(Effect.provide(app(events)), Effect.provide(quiet))
  })

  it.effect("is refused in the build of that child: it would wait for itself", () => {
    const asked: Array<unknown> = []
    const build = Effect.flatMap(
      Effect.serviceOption(SupervisionTree.SupervisionTree),
      Option.match({
        onNone: () => Effect.void,
        onSome: (tree) =>
          SupervisionTree.terminate("app/devices/a").pipe(
            Effect.provideService(SupervisionTree.SupervisionTree, tree),
            Effect.catchAll((error) => Effect.sync(() => asked.push(error.reason)))
          )
      })
    )
    const self = Deferred.unsafeMake<Context.Tag.Service<typeof SupervisionTree.SupervisionTree>>(
      Effect.runSync(Effect.fiberId)
    )
    const layer = DynamicSupervisor.layer(Devices, {
      child: (id: string) =>
        Effect.as(
          Effect.flatMap(Deferred.await(self), (tree) =>
            Effect.provideService(build, SupervisionTree.SupervisionTree, tree)
          ),
          { read: Effect.succeed(id) }
        ),
      id: (id) => id
    }).pipe(Supervised.layer({ id: "devices" }), SupervisionTree.layer({ name: "app" }))
    return Effect.gen(function* () {
      yield* Deferred.succeed(self, yield* SupervisionTree.SupervisionTree)
      yield* (yield* Devices).start("a")
      expect(asked).toEqual(["would deadlock"])
    }).pipe(Effect.provide(layer))
  })

  it.effect("begins with the name that the child around it gets when it is built, and so do those of trees", () => {
    const leaf = Layer.empty.pipe(Supervised.layer({ id: "leaf" }), SupervisionTree.layer({ name: "in" }))
    const Named = Context.GenericTag<number>("Named")
    const layer = Layer.provideMerge(Layer.succeed(Named, 1), Layer.discard(leaf)).pipe(
      Supervised.layer(),
      SupervisionTree.layer({ name: "outer" }),
      (tree) => Layer.provideMerge(Layer.succeed(Context.GenericTag<number>("Other"), 2), Layer.discard(tree)),
      Supervised.layer(),
      SupervisionTree.layer({ name: "renamed" })
    )
    return Effect.gen(function* () {
      const path = "renamed/Other/Named/leaf"
      yield* TestSupervision.crash(path)
      expect(yield* TestSupervision.awaitRestart(path)).toBe(2)
      expect(yield* drawn).toEqual([
        "renamed one_for_one, 0 of 3 restarts in 5 s",
        "└─ Other up #1, one_for_one, 0 of 3 restarts in 5 s",
        "   └─ Named up #1, one_for_one, 1 of 3 restarts in 5 s",
        "      └─ leaf up #2, restarted 1×"
      ])
      const paths = (yield* Metric.snapshot).flatMap(({ metricKey }) =>
        metricKey.tags.map(({ value }) => value).filter((value) => value.startsWith("renamed"))
      )
      expect(Array.from(new Set(paths)).sort()).toEqual(["renamed", "renamed/Other", "renamed/Other/Named", path])
    }).pipe(Effect.provide(layer), Effect.provide(quiet))
  })

  it.effect("is no path of metrics, and neither are those below it: there may be any number of them", () => {
    const events: Array<string> = []
    return Effect.gen(function* () {
      const devices = yield* Devices
      for (const id of ["a", "b", "c"]) {
        yield* devices.start(id)
        const path = `series/devices/${id}`
        yield* TestSupervision.crash(`${path}/line`)
        yield* TestSupervision.awaitRestart(`${path}/line`)
        yield* TestSupervision.crash(`${path}/line`)
        yield* settle
      }
      const series = (yield* Metric.snapshot).flatMap(({ metricKey, metricState }) =>
        metricKey.tags
          .filter(({ value }) => value.startsWith("series/"))
          .map(({ value }) => [
            metricKey.name.replace("effecto_supervision_", ""),
            value,
            (metricState as { readonly value?: number }).value ??
              (metricState as { readonly count?: number | bigint }).count
          ])
      )
      expect(series.sort()).toEqual([
        // Three devices, and a line in each.
        ["active", "series/devices", 6],
        ["give_ups", "series/devices", 3],
        ["restart_duration", "series/devices", 3],
        ["restarts", "series/devices", 6]
      ])
    }).pipe(Effect.provide(app(events, "series")), Effect.provide(quiet))
  })
})

/** A clock that knows how many sleep. */
const counting = (clock: Clock.Clock, asleep: { now: number; ever: number }): Clock.Clock => ({
  [Clock.ClockTypeId]: Clock.ClockTypeId,
  currentTimeMillis: clock.currentTimeMillis,
  currentTimeNanos: clock.currentTimeNanos,
  unsafeCurrentTimeMillis: () => clock.unsafeCurrentTimeMillis(),
  unsafeCurrentTimeNanos: () => clock.unsafeCurrentTimeNanos(),
  sleep: (duration) =>
    Effect.acquireUseRelease(
      Effect.sync(() => {
        asleep.now++
        asleep.ever++
      }),
      () => clock.sleep(duration),
      () => Effect.sync(() => asleep.now--)
    )
})

describe("a timer of a dynamic supervisor", () => {
  const timed = (options: { readonly startTimeout?: number }, stopping: Effect.Effect<void>) =>
    Effect.gen(function* () {
      const asleep = { now: 0, ever: 0 }
      const clock = counting(yield* Effect.clock, asleep)
      const go = yield* Deferred.make<void>()
      const self = yield* Effect.withClock(
        DynamicSupervisor.make({
          child: (wait: boolean) =>
            Effect.zipRight(
              wait ? Deferred.await(go) : Effect.void,
              Effect.addFinalizer(() => stopping)
            ),
          shutdown: "1 minute",
          ...options
        }),
        clock
      )
      return { asleep, go, self }
    })

  it.scoped("for a start ends with the start", () =>
    Effect.gen(function* () {
      const { asleep, go, self } = yield* timed({ startTimeout: 1000 }, Effect.void)
      yield* self.start(false)
      expect(asleep.ever).toBe(0)
      const start = yield* Effect.fork(self.start(true))
      yield* settle
      expect(asleep).toEqual({ now: 1, ever: 1 })
      yield* Deferred.succeed(go, undefined)
      yield* settle
      expect(asleep).toEqual({ now: 0, ever: 1 })
      yield* start.await
    })
  )

  it.scoped("for closes ends with the last of them that has it", () =>
    Effect.gen(function* () {
      const ends: Array<Deferred.Deferred<void>> = []
      const stop = Effect.suspend(() => {
        const end = Deferred.unsafeMake<void>(Effect.runSync(Effect.fiberId))
        ends.push(end)
        return Deferred.await(end)
      })
      const { asleep, self } = yield* timed({}, stop)
      const scope = yield* Scope.make()
      yield* self.start(false)
      yield* self.start(false)
      const both = yield* Effect.fork(
        Effect.all([self.terminate("1"), self.terminate("2")], { concurrency: "unbounded" })
      )
      yield* settle
      const begun = asleep.now
      expect(begun).toBeGreaterThan(0)
      for (const end of ends) yield* Deferred.succeed(end, undefined)
      yield* settle
      expect(asleep).toEqual({ now: 0, ever: begun })
      yield* both.await
      yield* Scope.close(scope, Exit.void)
    })
  )
})

describe("a dynamic supervisor with much to do", () => {
  it.scoped("lets go of what it has read when it gives way", () =>
    Effect.gen(function* () {
      const held: Array<number> = []
      const begin = (n: number) => self.begin(`${n}`, n, undefined, () => {})
      const self: Dynamic<number> = yield* Dynamic.make<number, never>(
        {
          name: "busy",
          child: (n) =>
            Effect.sync(() => {
              // From within a build, so that they are queued.
              if (n === 0) for (let other = 1; other <= 1000; other++) begin(other)
              // What it holds is no part of what it says.
              held.push((self as unknown as { readonly events: ReadonlyArray<unknown> }).events.length)
            }),
          defaults: { restart: "permanent", shutdown: undefined, startTimeout: undefined, whenDown: 5000 },
          isIgnored: () => false,
          intensity: 3,
          period: 5000,
          maxChildren: 2000
        },
        (context) => context
      )
      begin(0)
      while (held.length <= 1000) yield* Effect.promise(() => new Promise(setImmediate))
      expect(held.length).toBe(1001)
      expect(held[100]).toBeGreaterThan(900)
      // A thousand of them say that one is up. It has given way three times, after 256 each.
      expect(held[1000]).toBeLessThan(1300)
      expect(self.children.size).toBe(1001)
    })
  )

  it.effect("answers starts that come between its last steps", () =>
    Effect.gen(function* () {
      // One of these numbers makes it give way between forgetting its last child and being over.
      for (let size = 120; size <= 135; size++) {
        const scope = yield* Scope.make()
        const self = yield* Scope.extend(
          DynamicSupervisor.make({ name: "busy", child: (_: number) => Effect.void }),
          scope
        )
        for (let n = 0; n < size; n++) yield* self.start(n)
        const close = yield* Effect.fork(Scope.close(scope, Exit.void))
        const late: Array<string> = []
        for (let n = 0; n < 20; n++) {
          const start = self.start(n).pipe(
            Effect.matchCause({
              onSuccess: () => "started",
              onFailure: (cause) => (Cause.squash(cause) as Error).name
            }),
            Effect.tap((end) => Effect.sync(() => late.push(end)))
          )
          yield* Effect.forkDaemon(start)
          yield* Effect.yieldNow()
        }
        yield* close.await
        yield* Effect.promise(() => new Promise(setImmediate))
        yield* Effect.repeatN(Effect.yieldNow(), 5)
        expect([size, late.filter((end) => end !== "started")]).toEqual([size, late])
        expect(late).toHaveLength(20)
      }
    })
  )
})
