import { describe, expect, it } from "@effect/vitest"
import { Cache } from "@effecto/cache"
import { Cause, Deferred, Effect, Exit, Fiber, Option } from "effect"

const defectOf = (exit: Exit.Exit<unknown, unknown>): unknown =>
  Exit.isFailure(exit) ? Option.getOrUndefined(Cause.dieOption(exit.cause)) : "no defect"

/** A cache whose values are made by asking for others. */
const graph = (edges: Record<string, ReadonlyArray<string>>, pause: Effect.Effect<void> = Effect.void) =>
  Effect.gen(function* () {
    const self: Cache.Cache<string, string> = yield* Cache.make<string, string>({
      name: "graph",
      lookup: (key) =>
        Effect.gen(function* () {
          yield* pause
          const parts: Array<string> = []
          for (const next of edges[key] ?? []) parts.push(yield* self.fetch(next).pipe(Effect.orDie))
          return Option.some(`${key}(${parts.join(",")})`)
        })
    })
    return self
  })

const path = (...keys: ReadonlyArray<string>) =>
  new Cache.CyclicLoad({ path: keys.map((key) => ({ cache: "graph", key })) })

describe("a load that asks for other keys", () => {
  for (const [how, pause] of [
    ["at once", Effect.void],
    ["after a while", Effect.yieldNow()]
  ] as const) {
    it.scoped(`gets them, ${how}, as deep as it likes`, () =>
      Effect.gen(function* () {
        const chain = Object.fromEntries(Array.from({ length: 500 }, (_, n) => [`${n}`, [`${n + 1}`]]))
        const cache = yield* graph({ ...chain, a: ["b", "c"], b: ["c"] }, pause)
        expect(yield* cache.fetch("a")).toBe("a(b(c()),c())")
        expect((yield* cache.fetch("0")).length).toBeGreaterThan(1_000)
      })
    )

    it.scoped(`and for its own fails ${how} with the path`, () =>
      Effect.gen(function* () {
        const cache = yield* graph({ a: ["a"] }, pause)
        expect(defectOf(yield* Effect.exit(cache.get("a")))).toEqual(path("a", "a"))
      })
    )

    it.scoped(`round a corner fails ${how} with the path`, () =>
      Effect.gen(function* () {
        const two = yield* graph({ a: ["b"], b: ["a"] }, pause)
        expect(defectOf(yield* Effect.exit(two.get("a")))).toEqual(path("a", "b", "a"))
        const three = yield* graph({ a: ["b"], b: ["c"], c: ["a"] }, pause)
        const error = defectOf(yield* Effect.exit(three.get("a")))
        expect(error).toEqual(path("a", "b", "c", "a"))
        expect((error as Error).message).toBe(
          "a load waits for itself: graph:a → graph:b → graph:c → graph:a. Load what both need under a key of its own, or pass the value on instead of asking for it again."
        )
      })
    )
  }

  it.scoped("joins one that ten thousand others stand behind", () =>
    Effect.gen(function* () {
      const last = 10_000
      const gate = yield* Deferred.make<void>()
      const far = yield* Deferred.make<void>()
      const cache: Cache.Cache<number, number> = yield* Cache.make<number, number>({
        name: "chain",
        lookup: (n) => {
          if (n === last)
            return Effect.as(Effect.zipRight(Deferred.succeed(far, undefined), Deferred.await(gate)), Option.some(n))
          return Effect.zipRight(Effect.yieldNow(), cache.get(n < 0 ? 0 : n + 1))
        }
      })
      yield* Effect.fork(cache.get(0))
      yield* Deferred.await(far)
      const joined = yield* Effect.fork(cache.get(-1))
      yield* Effect.repeatN(Effect.yieldNow(), 20)
      yield* Deferred.succeed(gate, undefined)
      expect(yield* Fiber.await(joined)).toEqual(Exit.succeed(Option.some(last)))
    })
  )

  it.scoped("fails when the circle is closed from both ends by two callers", () =>
    Effect.gen(function* () {
      const cache = yield* graph({ a: ["b"], b: ["a"] }, Effect.yieldNow())
      const fibers = yield* Effect.forEach(["a", "b"], (key) => Effect.fork(cache.get(key)))
      const exits = yield* Effect.forEach(fibers, Fiber.await)
      for (const exit of exits) expect(defectOf(exit)).toBeInstanceOf(Cache.CyclicLoad)
    })
  )

  it.scoped("fails when the circle goes through a forked fiber and another cache", () =>
    Effect.gen(function* () {
      const outer: Cache.Cache<string, number> = yield* Cache.make<string, number>({
        name: "outer",
        lookup: (key) => Effect.flatMap(Effect.fork(inner.get(key)), Fiber.join)
      })
      const inner: Cache.Cache<string, number> = yield* Cache.make<string, number>({
        name: "inner",
        lookup: (key) => outer.get(key)
      })
      expect(defectOf(yield* Effect.exit(outer.get("k")))).toEqual(
        new Cache.CyclicLoad({
          path: [
            { cache: "outer", key: "k" },
            { cache: "inner", key: "k" },
            { cache: "outer", key: "k" }
          ]
        })
      )
    })
  )

  it.scoped("leaves every key loadable after a circle", () =>
    Effect.gen(function* () {
      const edges: Record<string, ReadonlyArray<string>> = { a: ["b"], b: ["a"] }
      const cache = yield* graph(edges)
      yield* Effect.exit(cache.get("a"))
      edges.b = []
      expect(yield* cache.fetch("a")).toBe("a(b())")
    })
  )

  it.scoped("is no circle when the earlier wait was given up", () =>
    Effect.gen(function* () {
      const gates = { a: yield* Deferred.make<void>(), b: yield* Deferred.make<void>() }
      const cache: Cache.Cache<string, string> = yield* Cache.make<string, string>({
        name: "graph",
        lookup: (key) =>
          key === "a"
            ? Effect.gen(function* () {
                const wait = yield* Effect.fork(cache.get("b"))
                yield* Effect.yieldNow()
                yield* Fiber.interrupt(wait)
                yield* Deferred.await(gates.a)
                return Option.some("a")
              })
            : Effect.zipRight(Deferred.await(gates.b), cache.get("a"))
      })
      const a = yield* Effect.fork(cache.fetch("a"))
      yield* Effect.repeatN(Effect.yieldNow(), 10)
      const b = yield* Effect.fork(cache.fetch("b"))
      yield* Deferred.succeed(gates.b, undefined)
      yield* Effect.repeatN(Effect.yieldNow(), 10)
      yield* Deferred.succeed(gates.a, undefined)
      expect([yield* Fiber.join(a), yield* Fiber.join(b)]).toEqual(["a", "a"])
    })
  )

  it.scoped("may put and delete its own key: the value reaches who waits and is not kept over them", () =>
    Effect.gen(function* () {
      const cache: Cache.Cache<string, string> = yield* Cache.make<string, string>({
        name: "graph",
        lookup: (key) => Effect.as(cache.put(key, "put"), Option.some("loaded"))
      })
      expect(yield* cache.fetch("a")).toBe("loaded")
      expect(yield* cache.fetch("a")).toBe("put")
    })
  )
})
