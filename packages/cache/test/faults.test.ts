/** Every function that a cache is given throws, once: those who wait are told, nothing is left behind, and the key can be loaded again. */
import { describe, expect, it } from "@effect/vitest"
import type { Cache } from "@effecto/cache"
import { Effect, Either, Exit, Fiber, Option, TestClock } from "effect"
import { settingsOf } from "../src/options.js"
import { open, structure } from "./structure.js"

class Broken extends Error {}

/** The function, but for the first call. */
const once = <Args extends ReadonlyArray<unknown>, A>(f: (...args: Args) => A) => {
  let isFirst = true
  return (...args: Args): A => {
    if (!isFirst) return f(...args)
    isFirst = false
    throw new Broken()
  }
}

const one = () => Effect.succeedSome(1)
type Options = Cache.Options<string, number, string>
type Get = (cache: Cache.Cache<string, number, string>) => Effect.Effect<Option.Option<number>, string>
const get: Get = (cache) => cache.get("k")

const cases: ReadonlyArray<
  readonly [name: string, Omit<Options, "name">, Exit.Exit<Option.Option<number>, string>, Get?]
> = [
  ["lookup", { lookup: once(one) }, Exit.succeed(Option.some(1))],
  [
    "lookupAll",
    { lookupAll: once((keys) => Effect.succeed(keys.map((key) => [key, Either.right(1)] as const))) },
    Exit.succeed(Option.some(1))
  ],
  [
    "what lookupAll answers",
    {
      lookupAll: (() => {
        const next = once(() => [["k", Either.right(1)] as const])
        return () => Effect.succeed({ [Symbol.iterator]: () => next()[Symbol.iterator]() })
      })()
    },
    Exit.succeed(Option.some(1))
  ],
  ["lifetime", { lookup: one, lifetime: once(() => "1 hour") }, Exit.succeed(Option.some(1))],
  ["tags", { lookup: one, tags: once(() => ["tag"]) }, Exit.succeed(Option.some(1))],
  ["weight", { lookup: one, weight: once(() => 1), maxWeight: 5 }, Exit.succeed(Option.some(1))],
  ["absent", { lookup: () => Effect.succeedNone, absent: once(() => "1 hour") }, Exit.succeed(Option.none())],
  ["failed", { lookup: () => Effect.fail("down"), failed: once(() => "1 hour") }, Exit.fail("down")],
  [
    "onTimeout",
    { lookup: () => Effect.never, hardTimeout: "1 second", onTimeout: once(() => "late") },
    Exit.fail("late")
  ],
  [
    "the lifetime of a getOrLoad",
    {},
    Exit.succeed(Option.some(1)),
    (() => {
      const lifetime = once(() => ({ max: "1 hour" }) as const)
      return (cache) =>
        Effect.asSome(cache.getOrLoad("k", Effect.zipRight(Effect.yieldNow(), Effect.succeed(1)), lifetime))
    })()
  ]
]

describe("a function that throws", () => {
  for (const [name, options, next, read = get] of cases) {
    it.scoped(`${name}: is a defect of those who wait, and leaves nothing behind`, () =>
      Effect.gen(function* () {
        const { cache, service } = yield* open<string, number, string>(settingsOf({ name: "rows", ...options }))
        const ask = Effect.gen(function* () {
          const callers = yield* Effect.forEach([1, 2], () => Effect.fork(read(cache)))
          yield* Effect.yieldNow()
          yield* TestClock.adjust("1 second")
          return yield* Effect.forEach(callers, Fiber.await)
        })
        const [first] = yield* ask
        expect(first).toMatchObject({ _tag: "Failure", cause: { _tag: "Die" } })
        const { inFlight, loads, tagged, waiters, weight } = structure(service)
        expect({ inFlight, loads, waiters }).toEqual({ inFlight: 0, loads: 0, waiters: 0 })
        // What a second caller has loaded by then is whole: it has its tag and its weight, or there is nothing.
        const held = structure(service).entries
        expect([tagged, weight]).toEqual([name === "tags" ? held : 0, name === "weight" ? held : 0])
        expect(yield* ask).toEqual([next, next])
      })
    )
  }
})
