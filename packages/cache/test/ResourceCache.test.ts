/** Values that are lent, and released when nobody has them any more. */
import { describe, expect, it } from "@effect/vitest"
import { Cache, ResourceCache } from "@effecto/cache"
import { Cause, Deferred, Effect, Exit, Fiber, FiberRef, Logger, Option, Scope, TestClock } from "effect"

const turns = Effect.repeatN(Effect.yieldNow(), 20)

interface Thing {
  readonly id: string
  isOpen: boolean
}

/** Things that say when they are opened and closed; a gate holds the opening of those that are named in it. */
const workshop = () => {
  const events: Array<string> = []
  const gates = new Map<string, Deferred.Deferred<void, "refused">>()
  let made = 0
  const acquire = (key: string) =>
    Effect.gen(function* () {
      made += 1
      const thing: Thing = { id: `${key}${made}`, isOpen: true }
      yield* Effect.addFinalizer(() =>
        Effect.sync(() => {
          thing.isOpen = false
          events.push(`closed ${thing.id}`)
        })
      )
      const gate = gates.get(thing.id)
      if (gate !== undefined) yield* Deferred.await(gate)
      events.push(`opened ${thing.id}`)
      return thing
    })
  const hold = (id: string) =>
    Effect.map(Deferred.make<void, "refused">(), (gate) => {
      gates.set(id, gate)
      return gate
    })
  return { acquire, events, hold }
}

/** A borrower with a scope of its own. */
const borrower = <K, A, E>(cache: ResourceCache.ResourceCache<K, A, E>, key: K) =>
  Effect.gen(function* () {
    const scope = yield* Scope.make()
    const value = yield* Scope.extend(cache.borrow(key), scope)
    return { value, leave: Scope.close(scope, Exit.void) }
  })

describe("borrow", () => {
  it.scoped("acquires once for all who ask, and keeps what is given back", () =>
    Effect.gen(function* () {
      const { acquire, events } = workshop()
      const things = yield* ResourceCache.make({ name: "things", idle: "10 seconds", acquire })
      const one = yield* borrower(things, "a")
      const other = yield* borrower(things, "a")
      expect(other.value).toBe(one.value)
      yield* one.leave
      yield* other.leave
      expect((yield* borrower(things, "a")).value).toBe(one.value)
      expect(events).toEqual(["opened a1"])
      expect(yield* things.stats).toEqual({ size: 1, alive: 1, acquired: 1, failed: 0 })
    })
  )

  for (const [how, letGo] of [
    ["has expired", () => TestClock.adjust("1 minute")],
    ["was invalidated", (things: ResourceCache.ResourceCache<string, Thing, "refused">) => things.invalidate("a")],
    ["was cleared", (things: ResourceCache.ResourceCache<string, Thing, "refused">) => things.clear],
    [
      "was evicted",
      (things: ResourceCache.ResourceCache<string, Thing, "refused">) => things.use("b", () => Effect.void)
    ]
  ] as const)
    it.scoped(
      `what ${how} is released when the last one has left, and another is acquired for who asks meanwhile`,
      () =>
        Effect.gen(function* () {
          const { acquire, events } = workshop()
          const things = yield* ResourceCache.make({
            name: "things",
            idle: "10 seconds",
            capacity: 1,
            policy: "lru",
            acquire
          })
          const one = yield* borrower(things, "a")
          const other = yield* borrower(things, "a")
          yield* Effect.suspend((): Effect.Effect<unknown, "refused"> => letGo(things))
          const next = yield* borrower(things, "a")
          expect(next.value).not.toBe(one.value)
          events.length = 0
          yield* one.leave
          expect(one.value.isOpen).toBe(true)
          yield* other.leave
          expect([one.value.isOpen, next.value.isOpen]).toEqual([false, true])
          expect(events.at(-1)).toBe("closed a1")
          yield* next.leave
          expect(next.value.isOpen).toBe(true)
          yield* things.invalidate("a")
          yield* turns
          expect(next.value.isOpen).toBe(false)
          expect((yield* things.stats).alive).toBe((yield* things.stats).size)
        })
    )

  it.scoped("what is not lent is released as soon as it is let go", () =>
    Effect.gen(function* () {
      const { acquire, events } = workshop()
      const things = yield* ResourceCache.make({ name: "things", idle: "10 seconds", acquire })
      yield* things.use("a", () => Effect.void)
      expect(events).toEqual(["opened a1"])
      yield* TestClock.adjust("20 seconds")
      expect(events).toEqual(["opened a1", "closed a1"])
      expect(yield* things.invalidate("a")).toBe(false)
      yield* things.use("a", () => Effect.void)
      expect(yield* things.invalidate("a")).toBe(true)
      yield* turns
      expect(events).toEqual(["opened a1", "closed a1", "opened a2", "closed a2"])
    })
  )

  it.scoped("with no lifetime at all lends to whoever asks, and keeps nothing", () =>
    Effect.gen(function* () {
      const { acquire, events } = workshop()
      const things = yield* ResourceCache.make({ name: "things", max: 0, acquire })
      const isOpen = things.use("a", (thing) =>
        Effect.zipRight(
          turns,
          Effect.sync(() => thing.isOpen)
        )
      )
      expect([yield* isOpen, yield* isOpen]).toEqual([true, true])
      expect(events).toEqual(["opened a1", "closed a1", "opened a2", "closed a2"])
    })
  )

  it.scoped("who asks after an invalidation does not get what was being acquired before it", () =>
    Effect.gen(function* () {
      const { acquire, events, hold } = workshop()
      const gate = yield* hold("a1")
      const things = yield* ResourceCache.make({ name: "things", acquire })
      const early = yield* Effect.fork(borrower(things, "a"))
      yield* turns
      yield* things.invalidate("a")
      const late = yield* borrower(things, "a")
      expect(late.value.id).toBe("a2")
      yield* Deferred.succeed(gate, undefined)
      const { leave, value } = yield* Fiber.join(early)
      expect([value.id, value.isOpen]).toEqual(["a1", true])
      yield* leave
      expect(events).toEqual(["opened a2", "opened a1", "closed a1"])
      expect(late.value.isOpen).toBe(true)
    })
  )

  it.scoped("goes on acquiring when a borrower is interrupted, and releases what nobody may have any more", () =>
    Effect.gen(function* () {
      const { acquire, events, hold } = workshop()
      const gates = [yield* hold("a1"), yield* hold("a2")]
      const things = yield* ResourceCache.make({ name: "things", acquire })
      for (const [place, gate] of gates.entries()) {
        const waiting = yield* Effect.fork(Effect.scoped(things.borrow("a")))
        yield* turns
        yield* Fiber.interrupt(waiting)
        if (place === 1) yield* things.invalidate("a")
        yield* Deferred.succeed(gate, undefined)
        yield* turns
        if (place === 0) expect((yield* borrower(things, "a")).value.id).toBe("a1")
        yield* things.clear
      }
      yield* turns
      expect(events).toEqual(["opened a1", "opened a2", "closed a2"])
    })
  )

  it.scoped("who gives up waiting has borrowed nothing, however long its scope stays open", () =>
    Effect.gen(function* () {
      const { acquire, events, hold } = workshop()
      const gate = yield* hold("a1")
      const things = yield* ResourceCache.make({ name: "things", acquire })
      const waiting = yield* Effect.fork(Effect.timeoutOption(things.borrow("a"), "1 second"))
      yield* TestClock.adjust("1 second")
      expect(yield* Fiber.join(waiting)).toEqual(Option.none())
      yield* Deferred.succeed(gate, undefined)
      yield* turns
      yield* things.invalidate("a")
      yield* turns
      expect(events).toEqual(["opened a1", "closed a1"])
    })
  )

  it.scoped("shares a failure with all who wait, closes what was begun, and keeps nothing of it", () =>
    Effect.gen(function* () {
      const { acquire, events, hold } = workshop()
      const gate = yield* hold("a1")
      const things = yield* ResourceCache.make({ name: "things", acquire })
      const waiting = yield* Effect.fork(
        Effect.all([Effect.flip(Effect.scoped(things.borrow("a"))), Effect.flip(things.use("a", () => Effect.void))], {
          concurrency: 2
        })
      )
      yield* turns
      yield* Deferred.fail(gate, "refused")
      expect(yield* Fiber.join(waiting)).toEqual(["refused", "refused"])
      yield* turns
      expect(events).toEqual(["closed a1"])
      expect(yield* things.stats).toEqual({ size: 0, alive: 0, acquired: 1, failed: 1 })
      expect((yield* borrower(things, "a")).value.id).toBe("a2")
    })
  )

  it.scoped("of its own key, within the acquisition, dies with the path; of another it does not", () =>
    Effect.gen(function* () {
      const caches: Array<ResourceCache.ResourceCache<string, string>> = []
      const things: ResourceCache.ResourceCache<string, string> = yield* ResourceCache.make({
        name: "things",
        acquire: (key: string): Effect.Effect<string, never, Scope.Scope> =>
          Effect.suspend(
            () => caches[0]?.borrow(key === "a" ? "b" : key === "b" ? "a" : "leaf") ?? Effect.succeed("")
          ).pipe(
            key === "leaf" ? () => Effect.succeed("leaf") : (inner) => Effect.map(inner, (below) => `${key}/${below}`)
          )
      })
      caches.push(things)
      expect(yield* Effect.scoped(things.borrow("c"))).toBe("c/leaf")
      const exit = yield* Effect.exit(Effect.scoped(things.borrow("a")))
      expect(Exit.isFailure(exit) && Cause.pretty(exit.cause)).toContain("CyclicLoad")
      yield* turns
      expect((yield* things.stats).alive).toBe(2)
    })
  )
})

describe("the end of the cache", () => {
  it.effect("releases what is not lent before it is over, and the rest when it is given back", () =>
    Effect.gen(function* () {
      const { acquire, events, hold } = workshop()
      yield* hold("c3")
      const scope = yield* Scope.make()
      const things = yield* Scope.extend(ResourceCache.make({ name: "things", acquire }), scope)
      const lent = yield* borrower(things, "a")
      yield* things.use("b", () => Effect.void)
      const waiting = yield* Effect.fork(Effect.exit(Effect.scoped(things.borrow("c"))))
      yield* turns
      yield* Scope.close(scope, Exit.void)
      expect(events.slice(2).sort()).toEqual(["closed b2", "closed c3"])
      for (const exit of [yield* Fiber.join(waiting), yield* Effect.exit(Effect.scoped(things.borrow("a")))])
        expect(Exit.isFailure(exit) && Cause.squash(exit.cause)).toBeInstanceOf(Cache.CacheClosed)
      expect(lent.value.isOpen).toBe(true)
      yield* lent.leave
      expect(lent.value.isOpen).toBe(false)
    })
  )

  it.effect("logs a release that fails, and fails nobody", () =>
    Effect.gen(function* () {
      const logged: Array<string> = []
      const logger = Logger.make(({ message }) => logged.push(String(message)))
      yield* Effect.scoped(
        Effect.gen(function* () {
          const things = yield* ResourceCache.make({
            name: "things",
            acquire: (_: string) => Effect.addFinalizer(() => Effect.die("stuck"))
          })
          yield* things.use("a", () => things.invalidate("a"))
        })
      ).pipe(Effect.provide(Logger.replace(Logger.defaultLogger, logger)))
      expect(logged).toEqual(['cache "things" could not release a value in peace'])
    })
  )
})

describe("at every yield point", () => {
  it.effect("nobody has what was released, and in the end all of it is", () =>
    Effect.gen(function* () {
      for (let budget = 10; budget <= 128; budget += 1) {
        const { acquire, events } = workshop()
        const wrong: Array<string> = []
        yield* Effect.scoped(
          Effect.gen(function* () {
            const things = yield* ResourceCache.make({ name: "things", capacity: 1, policy: "lru", acquire })
            const use = (key: string) =>
              things.use(key, (thing) =>
                Effect.gen(function* () {
                  for (let step = 0; step < 3; step += 1) {
                    if (!thing.isOpen) wrong.push(thing.id)
                    yield* Effect.yieldNow()
                  }
                })
              )
            const fibers = yield* Effect.forEach(["a", "a", "b", "a", "b", "a"], (key) => Effect.fork(use(key)))
            yield* Effect.yieldNow()
            yield* things.invalidate("a")
            yield* Effect.forEach(fibers.slice(0, 2), Fiber.interrupt)
            yield* use("a")
            yield* Effect.forEach(fibers.slice(2), Fiber.join)
          })
        ).pipe(Effect.locally(FiberRef.currentMaxOpsBeforeYield, budget))
        expect(wrong).toEqual([])
        const count = (what: string) => events.filter((event) => event.startsWith(what)).length
        expect(count("closed")).toBeGreaterThanOrEqual(count("opened"))
        expect(new Set(events).size).toBe(events.length)
      }
    })
  )
})
