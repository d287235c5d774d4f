/** What can be seen of a cache from outside: metrics, spans, a look without an effect. */
import { describe, expect, it } from "@effect/vitest"
import { Cache } from "@effecto/cache"
import { Deferred, Effect, Exit, Fiber, Metric, MetricKey, MetricState, Option, Scope, TestClock, Tracer } from "effect"
import { open } from "./structure.js"

const turns = Effect.repeatN(Effect.yieldNow(), 20)

const read = (name: string, cache: string): number | undefined => {
  for (const { metricKey, metricState } of Metric.unsafeSnapshot()) {
    if (metricKey.name !== name || !metricKey.tags.some(({ key, value }) => key === "cache" && value === cache))
      continue
    if (MetricState.isCounterState(metricState)) return Number(metricState.count)
    if (MetricState.isGaugeState(metricState)) return Number(metricState.value)
  }
  return undefined
}

describe("metrics", () => {
  it.scoped("say by cache what stats says", () =>
    Effect.gen(function* () {
      const cache = yield* Cache.make({
        name: "measured",
        max: "10 seconds",
        lookup: (key: string) => (key === "x" ? Effect.fail("down") : Effect.delay(Effect.succeedSome(1), "5 millis"))
      })
      const first = yield* Effect.fork(cache.get("a"))
      yield* TestClock.adjust("5 millis")
      yield* Fiber.join(first)
      yield* cache.get("a")
      yield* Effect.ignore(cache.get("x"))
      expect({
        hits: read("effecto_cache_hits", "measured"),
        misses: read("effecto_cache_misses", "measured"),
        loads: read("effecto_cache_loads", "measured"),
        failures: read("effecto_cache_load_failures", "measured"),
        time: read("effecto_cache_load_milliseconds", "measured"),
        size: read("effecto_cache_size", "measured")
      }).toEqual({ hits: 1, misses: 2, loads: 2, failures: 1, time: 5, size: 1 })
      yield* TestClock.adjust("20 seconds")
      expect(read("effecto_cache_size", "measured")).toBe(0)
      const expired = MetricKey.counter("effecto_cache_removals").pipe(
        MetricKey.tagged("cache", "measured"),
        MetricKey.tagged("cause", "expired")
      )
      expect(yield* Metric.value(Metric.fromMetricKey(expired))).toMatchObject({ count: 1 })
    })
  )
})

describe("hitAges", () => {
  const buckets = (cache: string) =>
    Object.fromEntries(
      Metric.unsafeSnapshot().flatMap(({ metricKey, metricState }) => {
        const tags = new Map(metricKey.tags.map(({ key, value }) => [key, value]))
        return metricKey.name.startsWith("effecto_cache_hit_age_milliseconds") &&
          tags.get("cache") === cache &&
          MetricState.isCounterState(metricState)
          ? [[tags.get("le") ?? metricKey.name.slice(35), Number(metricState.count)] as const]
          : []
      })
    )

  for (const [kind, options] of [
    ["with any lifetimes", {}],
    ["with a bound and sliding", { capacity: 10, idle: "100 days" }]
  ] as const)
    it.scoped(`count by age what was served since it was written, ${kind}`, () =>
      Effect.gen(function* () {
        const cache = yield* Cache.make<string, number>({ name: `aged ${kind}`, hitAges: true, ...options })
        yield* cache.put("a", 1)
        yield* cache.get("a") // 0
        yield* TestClock.adjust("1 millis")
        yield* cache.getAll(["a", "a", "b"]) // 1, twice
        yield* TestClock.adjust("6 millis")
        yield* cache.fetch("a") // 7
        yield* cache.expire("a", { max: "90 days" })
        yield* TestClock.adjust("1 millis")
        yield* cache.get("a") // 8: the same value with another lifetime
        yield* TestClock.adjust("1 day")
        yield* cache.get("a") // 86,400,008
        yield* cache.put("a", 2)
        yield* cache.get("a") // 0
        yield* cache.update(
          "a",
          Option.map((n) => n + 1)
        )
        yield* TestClock.adjust("30 days")
        yield* cache.getOption("a") // 2,592,000,000: more than the last bound
        yield* cache.has("a")
        yield* cache.getOption("b")
        const stats = yield* cache.stats
        expect(stats.hitAges).toEqual([
          { below: 1, hits: 2 },
          { below: 2, hits: 2 },
          { below: 8, hits: 1 },
          { below: 16, hits: 1 },
          { below: 2 ** 27, hits: 1 },
          { below: Number.POSITIVE_INFINITY, hits: 1 }
        ])
        expect(stats.hits).toBe(8)
        expect(buckets(`aged ${kind}`)).toMatchObject({
          1: 2,
          2: 4,
          4: 4,
          8: 5,
          16: 6,
          [2 ** 26]: 6,
          [2 ** 27]: 7,
          [2 ** 31]: 7,
          "+Inf": 8,
          count: 8,
          sum: 2_678_400_025
        })
      })
    )

  it.scoped("go on with what a restart keeps, and cost other caches nothing", () =>
    Effect.gen(function* () {
      const make = Cache.make<string, number>({ name: "aged and kept", hitAges: true, onRestart: "keep" })
      const scope = yield* Scope.make()
      const first = yield* Scope.extend(make, scope)
      yield* first.put("a", 1)
      yield* TestClock.adjust("5 millis")
      yield* Scope.close(scope, Exit.void)
      const next = yield* make
      yield* next.get("a")
      expect((yield* next.stats).hitAges).toEqual([{ below: 8, hits: 1 }])
      const other = yield* open<string, number, never>({
        span: { idle: 1_000, max: Number.POSITIVE_INFINITY },
        policy: undefined,
        lookup: undefined
      })
      yield* other.cache.put("a", 1)
      yield* other.cache.get("a")
      expect((yield* other.cache.stats).hitAges).toEqual([])
      // Nothing is recorded that nobody asks for.
      const { entries } = other.service.store
      expect(entries.dateOf(entries.get("a") ?? -1)).toBeNaN()
    })
  )
})

describe("a load's span", () => {
  /** A tracer that keeps its spans. */
  const makeTracer = () => {
    const spans: Array<{
      readonly name: string
      readonly parent: string | undefined
      readonly links: Array<string>
      readonly attributes: Map<string, unknown>
      ended: boolean
    }> = []
    const nameOf = (span: Tracer.AnySpan) => (span._tag === "Span" ? span.name : span.spanId)
    const tracer = Tracer.make({
      span: (name, parent, context, links, _startTime, kind) => {
        const record: (typeof spans)[number] = {
          name,
          parent: Option.getOrUndefined(Option.map(parent, nameOf)),
          links: links.map(({ span }) => nameOf(span)),
          attributes: new Map(),
          ended: false
        }
        spans.push(record)
        return {
          _tag: "Span",
          name,
          spanId: name,
          traceId: "trace",
          parent,
          context,
          status: { _tag: "Started", startTime: 0n },
          attributes: record.attributes,
          links,
          sampled: true,
          kind,
          end: () => {
            record.ended = true
          },
          attribute: (key, value) => record.attributes.set(key, value),
          event: () => undefined,
          addLinks: (more) => record.links.push(...more.map(({ span }) => nameOf(span)))
        }
      },
      context: (f) => f()
    })
    return { spans, tracer }
  }

  it.effect("is one, the child of nobody, linked to all who wait for it, and parent of what the load does", () =>
    Effect.gen(function* () {
      const { spans, tracer } = makeTracer()
      const gate = yield* Deferred.make<void>()
      yield* Effect.scoped(
        Effect.gen(function* () {
          const cache = yield* Cache.make({
            name: "rows",
            lookup: (_: string) => Effect.withSpan(Effect.as(Deferred.await(gate), Option.some(1)), "query")
          })
          const readers = yield* Effect.forEach(["one", "two"], (name) =>
            Effect.fork(Effect.withSpan(cache.get("k"), name))
          )
          yield* turns
          yield* Deferred.succeed(gate, undefined)
          yield* Effect.forEach(readers, Fiber.join)
        })
      ).pipe(Effect.withTracer(tracer))
      const load = spans.filter(({ name }) => name === "Cache.load")
      expect(load).toEqual([
        {
          name: "Cache.load",
          parent: undefined,
          links: ["one", "two"],
          attributes: new Map<string, unknown>([
            ["cache", "rows"],
            ["keys", 1]
          ]),
          ended: true
        }
      ])
      expect(spans.find(({ name }) => name === "query")?.parent).toBe("Cache.load")
    })
  )
})

describe("unsafePeek", () => {
  it.scoped("sees what is held, renews nothing and counts nothing", () =>
    Effect.gen(function* () {
      const cache = yield* Cache.make<string, number>({ name: "numbers", idle: "10 seconds" })
      yield* cache.put("a", 1)
      yield* TestClock.adjust("9 seconds")
      expect(cache.unsafePeek("a")).toEqual(Option.some(1))
      yield* TestClock.adjust("1 second")
      expect(cache.unsafePeek("a")).toEqual(Option.none())
      expect(yield* cache.stats).toMatchObject({ hits: 0, misses: 0 })
    })
  )
})
