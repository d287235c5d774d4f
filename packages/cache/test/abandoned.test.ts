/** What becomes of a load when the last who waits for it is interrupted. */
import { describe, expect, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, FiberId, FiberRef, Option } from "effect"
import type { Settings } from "../src/service.js"
import { open, structure } from "./structure.js"

const turns = Effect.repeatN(Effect.yieldNow(), 20)

/** A cache whose loads wait at a gate, and say how they ended. */
const make = (settings: Partial<Settings<string, number, never>> = {}) =>
  Effect.gen(function* () {
    const gate = yield* Deferred.make<void>()
    const ends: Array<string> = []
    let loads = 0
    const wait = (what: string) =>
      Effect.onExit(Deferred.await(gate), (exit) =>
        Effect.sync(() => ends.push(`${what} ${Exit.isInterrupted(exit) ? "interrupted" : "done"}`))
      )
    const opened = yield* open<string, number, never>({
      span: { idle: Number.POSITIVE_INFINITY, max: 1_000 },
      policy: undefined,
      onAbandoned: "interrupt",
      lookup: (key) =>
        Effect.suspend(() => {
          loads += 1
          const load = loads
          return Effect.as(wait(key), Option.some(load))
        }),
      ...settings
    })
    return { ...opened, gate, ends, wait }
  })

describe("onAbandoned: interrupt", () => {
  it.scoped("has the last who waits take the load along, and nobody before", () =>
    Effect.gen(function* () {
      const { cache, ends, gate, service } = yield* make()
      const first = yield* Effect.fork(cache.get("a"))
      const second = yield* Effect.fork(cache.getOrLoad("a", Effect.succeed(7)))
      yield* turns
      yield* Fiber.interrupt(first)
      yield* turns
      expect(ends).toEqual([])
      yield* Fiber.interrupt(second)
      yield* turns
      expect(ends).toEqual(["a interrupted"])
      expect(structure(service)).toMatchObject({ loads: 0, inFlight: 0, waiters: 0 })
      const third = yield* Effect.fork(cache.get("a"))
      yield* Deferred.succeed(gate, undefined)
      expect(yield* Fiber.join(third)).toEqual(Option.some(2))
      expect(yield* cache.stats).toMatchObject({ loads: 2, loadFailures: 0, revokedLoads: 0, size: 1 })
    })
  )

  it.scoped("goes for getAll and refresh, too, and for what a load waits for", () =>
    Effect.gen(function* () {
      const { cache, ends, service, wait } = yield* make()
      for (const read of [Effect.asVoid(cache.getAll(["a", "b"])), Effect.asVoid(cache.refresh("c"))]) {
        const reader = yield* Effect.fork(read)
        yield* turns
        yield* Fiber.interrupt(reader)
        yield* turns
      }
      expect(ends.splice(0)).toEqual(["a interrupted", "b interrupted", "c interrupted"])
      const outer = yield* Effect.fork(cache.getOrLoad("outer", Effect.zipRight(cache.get("inner"), Effect.succeed(1))))
      yield* turns
      yield* Fiber.interrupt(outer)
      yield* turns
      expect(ends.splice(0)).toEqual(["inner interrupted"])
      const batch = yield* make({
        lookup: undefined,
        lookupAll: (keys) => Effect.as(wait(keys.join()), [])
      })
      const [one, both] = [yield* Effect.fork(batch.cache.get("a")), yield* Effect.fork(batch.cache.getAll(["b", "a"]))]
      yield* turns
      yield* Fiber.interrupt(one)
      expect(ends).toEqual([])
      yield* Fiber.interrupt(both)
      yield* turns
      expect(ends).toEqual(["a,b interrupted"])
      for (const { service: of } of [{ service }, batch])
        expect(structure(of)).toMatchObject({ loads: 0, inFlight: 0, waiters: 0, edges: 0 })
    })
  )

  it.scoped("leaves alone what is loaded in the background, or beside something in grace", () =>
    Effect.gen(function* () {
      const { cache, ends, gate, service } = yield* make({ grace: 60_000, softTimeout: 1 })
      yield* cache.put("a", 0, { max: 0.5 })
      yield* cache.put("b", 0, { max: 1 })
      service.timeline.now = () => 10
      const reader = yield* Effect.fork(cache.get("b"))
      yield* turns
      yield* Fiber.interrupt(reader)
      yield* turns
      expect(ends).toEqual([])
      yield* Deferred.succeed(gate, undefined)
      yield* turns
      expect(ends).toEqual(["b done"])
    })
  )

  it.effect("strands nobody and nothing at every yield point", () =>
    Effect.gen(function* () {
      for (let budget = 10; budget <= 50; budget += 1) {
        for (let pause = 0; pause <= 2; pause += 1) {
          const seen = yield* Effect.scoped(
            Effect.gen(function* () {
              const { cache, gate, service } = yield* make()
              const own = Effect.zipRight(Deferred.await(gate), Effect.succeed(1))
              const reads = [
                Effect.asVoid(cache.get("a")),
                Effect.asVoid(cache.getAll(["b", "a"])),
                Effect.asVoid(cache.refresh("c")),
                Effect.asVoid(cache.getOrLoad("d", own))
              ]
              const readers = yield* Effect.forEach(reads, (read) =>
                Effect.locally(
                  Effect.fork(Effect.zipRight(Effect.repeatN(Effect.void, 3), read)),
                  FiberRef.currentMaxOpsBeforeYield,
                  budget
                )
              )
              yield* Effect.repeatN(Effect.yieldNow(), pause)
              for (const reader of readers) reader.unsafeInterruptAsFork(FiberId.none)
              const last = yield* Effect.fork(cache.getAll(["a", "e"]))
              yield* turns
              const { inFlight, waiters } = structure(service)
              yield* Deferred.succeed(gate, undefined)
              const exit = yield* Fiber.await(last)
              return [Exit.isSuccess(exit), inFlight, waiters, structure(service)] as const
            })
          )
          expect(seen).toMatchObject([true, 2, 1, { loads: 0, inFlight: 0, waiters: 0, edges: 0 }])
        }
      }
    })
  )
})
