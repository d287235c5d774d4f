/** Writing down what a cache holds, and reading it back. */
import { describe, expect, it } from "@effect/vitest"
import { Cache } from "@effecto/cache"
import { Duration, Effect, Option, Schema, TestClock } from "effect"

const schemas = { key: Schema.String, value: Schema.DateFromString }
const make = (name: string, options: Partial<Cache.Options<string, Date>> = {}) =>
  Cache.make<string, Date>({ name, ...options })

describe("dump and restore", () => {
  it.scoped("carry values over with the lifetimes they have left, through JSON", () =>
    Effect.gen(function* () {
      const before = yield* make("before")
      yield* before.put("forever", new Date(1))
      yield* before.put("idle", new Date(2), "1 minute")
      yield* before.put("both", new Date(3), { idle: "1 minute", max: "90 seconds" })
      yield* before.put("short", new Date(4), "15 seconds")
      yield* TestClock.adjust("10 seconds")
      const written = JSON.stringify(yield* Cache.dump(before, schemas))
      yield* TestClock.adjust("20 seconds")
      const after = yield* make("after")
      yield* after.put("idle", new Date(99))
      expect(yield* Cache.restore(after, schemas, JSON.parse(written))).toBe(2)
      expect(yield* after.entries).toEqual([
        ["idle", new Date(99)],
        ["forever", new Date(1)],
        ["both", new Date(3)]
      ])
      expect(yield* after.ttl("forever")).toEqual(Option.some(Duration.infinity))
      expect(yield* after.ttl("both")).toEqual(Option.some(Duration.seconds(60)))
      yield* TestClock.adjust("50 seconds")
      yield* after.get("both")
      yield* TestClock.adjust("10 seconds")
      expect(yield* after.has("both")).toBe(false)
    })
  )

  it.scoped("leave a dump of another version alone", () =>
    Effect.gen(function* () {
      const before = yield* make("before")
      yield* before.put("a", new Date(1))
      const dumped = yield* Cache.dump(before, { ...schemas, version: "1" })
      const after = yield* make("after")
      expect(yield* Cache.restore(after, { ...schemas, version: "2" }, dumped)).toBe(0)
      expect(yield* Cache.restore(after, { ...schemas, version: "1" }, dumped)).toBe(1)
    })
  )

  it.scoped("fail on what is no dump, and on values that do not fit", () =>
    Effect.gen(function* () {
      const cache = yield* make("dates")
      expect((yield* Effect.flip(Cache.restore(cache, schemas, { entries: [] })))._tag).toBe("ParseError")
      const odd = { format: 1, version: "", at: 0, entries: [{ key: 1, value: 2, left: null, idle: null, max: null }] }
      expect((yield* Effect.flip(Cache.restore(cache, schemas, odd)))._tag).toBe("ParseError")
      expect(yield* cache.size).toBe(0)
    })
  )
})
