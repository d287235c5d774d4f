/** What can be seen of a cache from outside: metrics, spans, a look without an effect. */
import { describe, expect, it } from "@effect/vitest"
import { Cache } from "@effecto/cache"
import { Deferred, Effect, Fiber, Metric, MetricKey, MetricState, Option, TestClock, Tracer } from "effect"

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
