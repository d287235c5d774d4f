import { describe, expect, it } from "@effect/vitest"
import { Cache } from "@effecto/cache"
import { Cause, Clock, Deferred, Effect, Exit, Fiber, Option, Scope, Supervisor } from "effect"

const defectOf = (exit: Exit.Exit<unknown, unknown>): unknown =>
  Exit.isFailure(exit) ? Option.getOrUndefined(Cause.dieOption(exit.cause)) : "no defect"

const everyCommand = (cache: Cache.Cache<string, number>): Record<string, Effect.Effect<unknown, unknown>> => ({
  get: cache.get("a"),
  "get, in a generator": Effect.gen(function* () {
    return yield* cache.get("a")
  }),
  fetch: cache.fetch("a"),
  getOption: cache.getOption("a"),
  getOrLoad: cache.getOrLoad("a", Effect.succeed(1)),
  put: cache.put("a", 1),
  delete: cache.delete("a"),
  clear: cache.clear,
  putIfAbsent: cache.putIfAbsent("a", 1),
  update: cache.update("a", (value) => value),
  getAndUpdate: cache.getAndUpdate("a", (value) => value),
  take: cache.take("a"),
  deleteAll: cache.deleteAll(["a"]),
  touch: cache.touch("a"),
  ttl: cache.ttl("a"),
  expire: cache.expire("a", 1),
  keys: cache.keys,
  entries: cache.entries,
  increment: Cache.increment(cache, "a"),
  has: cache.has("a"),
  size: cache.size,
  stats: cache.stats
})

describe("a cache whose scope has ended", () => {
  it.effect("answers every command with a defect that says so", () =>
    Effect.gen(function* () {
      const cache = yield* Effect.scoped(
        Effect.tap(
          Cache.make({ name: "people", lookup: (_: string): Effect.Effect<Option.Option<number>> => Effect.never }),
          (cache) => cache.put("a", 1)
        )
      )
      for (const [name, command] of Object.entries(everyCommand(cache))) {
        const defect = defectOf(yield* Effect.exit(command))
        expect([name, defect]).toEqual([
          name,
          new Cache.CacheClosed({ cache: "people", reason: "the scope that owns it has ended" })
        ])
        expect((defect as Error).message).toBe(
          'cache "people" is closed: the scope that owns it has ended, so nothing can be looked up any more'
        )
      }
    })
  )

  it.effect(
    "tells those who wait for a load, also for one that was overtaken, and stops the loads before it is gone",
    () =>
      Effect.gen(function* () {
        const scope = yield* Scope.make()
        const events: Array<string> = []
        const cache = yield* Scope.extend(
          Cache.make({
            name: "people",
            lookup: (key: string): Effect.Effect<Option.Option<number>> =>
              Effect.onInterrupt(Effect.never, () =>
                Effect.zipRight(
                  Effect.repeatN(Effect.yieldNow(), 50),
                  Effect.sync(() => void events.push(`load of ${key} stopped`))
                )
              )
          }),
          scope
        )
        const waiting = yield* Effect.fork(cache.get("a"))
        const overtaken = yield* Effect.fork(cache.get("b"))
        yield* Effect.repeatN(Effect.yieldNow(), 10)
        yield* cache.delete("b")
        yield* Scope.close(scope, Exit.void)
        events.push("closed")
        for (const fiber of [waiting, overtaken]) {
          expect(defectOf(yield* Fiber.await(fiber))).toBeInstanceOf(Cache.CacheClosed)
        }
        expect(events).toEqual(["load of a stopped", "load of b stopped", "closed"])
      })
  )

  it.effect("drops what a load brings that cannot be stopped", () =>
    Effect.gen(function* () {
      const gate = yield* Deferred.make<void>()
      const scope = yield* Scope.make()
      const cache = yield* Scope.extend(
        Cache.make({
          name: "people",
          lookup: (_: string) => Effect.uninterruptible(Effect.as(Deferred.await(gate), Option.some(1)))
        }),
        scope
      )
      const reader = yield* Effect.fork(cache.get("a"))
      yield* Effect.repeatN(Effect.yieldNow(), 10)
      const closing = yield* Effect.fork(Scope.close(scope, Exit.void))
      expect(defectOf(yield* Fiber.await(reader))).toBeInstanceOf(Cache.CacheClosed)
      yield* Deferred.succeed(gate, undefined)
      yield* Fiber.join(closing)
      expect(defectOf(yield* Effect.exit(cache.has("a")))).toBeInstanceOf(Cache.CacheClosed)
    })
  )
})

describe("the service fiber", () => {
  /** Makes a cache as a supervisor does, watching what is forked: the one fiber that is left is the cache's process. */
  const watched = Effect.gen(function* () {
    const tracker = yield* Supervisor.track
    const cache = yield* Effect.supervised(
      Cache.make({
        name: "people",
        idle: "10 seconds",
        lookup: (_: string): Effect.Effect<Option.Option<number>> => Effect.never
      }),
      tracker
    )
    const [service, ...others] = yield* tracker.value
    expect(others).toEqual([])
    return { cache, tracker, service: yield* Effect.fromNullable(service) }
  })

  it.scoped("closes the cache when it ends, and tells who waits", () =>
    Effect.gen(function* () {
      const { cache, service } = yield* watched
      const reader = yield* Effect.fork(cache.get("a"))
      yield* Effect.repeatN(Effect.yieldNow(), 10)
      yield* Fiber.interrupt(service)
      for (const exit of [yield* Fiber.await(reader), yield* Effect.exit(cache.has("a"))]) {
        expect((defectOf(exit) as Error).message).toBe(
          'cache "people" is closed: its service fiber has ended, so nothing can be looked up any more'
        )
      }
    })
  )

  it.scoped("dies of what goes wrong in it, so that a supervisor sees it", () =>
    Effect.gen(function* () {
      const own = yield* Effect.clock
      const clock: Clock.Clock = {
        [Clock.ClockTypeId]: Clock.ClockTypeId,
        currentTimeMillis: own.currentTimeMillis,
        currentTimeNanos: own.currentTimeNanos,
        unsafeCurrentTimeMillis: () => own.unsafeCurrentTimeMillis(),
        unsafeCurrentTimeNanos: () => own.unsafeCurrentTimeNanos(),
        sleep: () => Effect.die(new Error("this clock does not sleep"))
      }
      const { cache, service } = yield* Effect.withClock(watched, clock)
      yield* cache.put("a", 1)
      expect(defectOf(yield* Fiber.await(service))).toEqual(new Error("this clock does not sleep"))
      expect(defectOf(yield* Effect.exit(cache.get("a")))).toBeInstanceOf(Cache.CacheClosed)
    })
  )

  it.scoped("is all that a supervisor sees: loads that fail are nobody's crash", () =>
    Effect.gen(function* () {
      const tracker = yield* Supervisor.track
      const cache = yield* Effect.supervised(
        Cache.make({
          name: "people",
          lookup: (key: string): Effect.Effect<Option.Option<number>, string> =>
            key === "a" ? Effect.fail("refused") : Effect.never
        }),
        tracker
      )
      yield* Effect.exit(cache.get("a"))
      yield* Effect.fork(cache.get("b"))
      yield* Effect.repeatN(Effect.yieldNow(), 10)
      expect((yield* cache.stats).loads).toBe(2)
      expect((yield* tracker.value).length).toBe(1)
    })
  )
})
