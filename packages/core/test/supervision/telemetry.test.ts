import { describe, expect, it } from "@effect/vitest"
import { Cause, Context, Effect, Exit, Layer, Metric, Option, Schedule, Schema, TestClock, Tracer } from "effect"
import * as Supervised from "../../src/supervision/Supervised.js"
import * as SupervisionTree from "../../src/supervision/SupervisionTree.js"
import * as TestSupervision from "../../src/supervision/TestSupervision.js"

const plain = (id: string, options: Supervised.ChildOptions = {}) =>
  Supervised.layer(Layer.effectDiscard(Effect.yieldNow()), { id, ...options })

const isRestart = (span: Tracer.AnySpan): span is Tracer.Span =>
  span._tag === "Span" && span.name === "Supervision.restart"

/** A tracer that keeps the spans it made. */
const recording = () => {
  const spans: Array<Tracer.Span> = []
  const native = Effect.runSync(Effect.tracer)
  const tracer = Tracer.make({
    context: (f) => f(),
    span: (...args) => {
      const span = native.span(...args)
      spans.push(span)
      return span
    }
  })
  const restarts = () =>
    spans.filter(isRestart).map((span) => ({
      ...Object.fromEntries(span.attributes),
      links: span.links.map((link) => (link.span._tag === "Span" ? link.span.name : "external")),
      ended: span.status._tag === "Ended" ? (Exit.isSuccess(span.status.exit) ? "ok" : "failed") : "never"
    }))
  return { layer: Layer.setTracer(tracer), spans, restarts }
}

describe("the span of a restart", () => {
  it.effect("199: is linked to the span in which the crash arose, and says what for", () => {
    const { layer, restarts } = recording()
    const crashing = Layer.scopedDiscard(
      Effect.sleep("1 second").pipe(
        Effect.zipRight(Effect.fail(new Error("boom"))),
        Effect.withSpan("work"),
        Effect.forkScoped
      )
    ).pipe(Supervised.layer({ id: "worker" }))
    const tree = plain("rest").pipe(
      Layer.provideMerge(crashing),
      SupervisionTree.layer({ name: "app", strategy: "rest_for_one" }),
      Layer.provide(layer)
    )
    return Effect.gen(function* () {
      yield* TestClock.adjust("1 second")
      const because = "app/worker"
      expect(restarts()).toEqual([
        { path: "app/worker", instance: 2, attempt: 1, decision: "restart", because, links: ["work"], ended: "ok" },
        { path: "app/rest", instance: 2, attempt: 1, decision: "restart", because, links: ["work"], ended: "ok" }
      ])
    }).pipe(Effect.provide(tree))
  })

  it.effect("counts the attempts, fails with the start, and lasts as long as that takes", () => {
    const { layer, restarts, spans } = recording()
    let builds = 0
    const flaky = Layer.effectDiscard(
      Effect.suspend(() => {
        builds += 1
        return builds === 2 ? Effect.fail("no") : builds === 3 ? Effect.sleep("3 seconds") : Effect.void
      })
    ).pipe(Supervised.layer({ id: "flaky", backoff: Schedule.spaced("1 second") }))
    const tree = SupervisionTree.layer({ name: "app", period: "1 minute" })(flaky).pipe(Layer.provide(layer))
    return Effect.gen(function* () {
      yield* TestSupervision.crash("app/flaky")
      yield* TestClock.adjust("10 seconds")
      expect(restarts()).toMatchObject([
        { instance: 2, attempt: 1, because: "app/flaky", ended: "failed" },
        { instance: 3, attempt: 2, because: "app/flaky", ended: "ok" }
      ])
      const last = spans.filter(isRestart).at(-1)?.status
      expect(last?._tag === "Ended" && last.endTime - last.startTime).toBe(3_000_000_000n)
      yield* SupervisionTree.restart("app/flaky")
      expect(restarts().at(-1)).toEqual({
        path: "app/flaky",
        instance: 4,
        attempt: 1,
        decision: "start",
        links: [],
        ended: "ok"
      })
    }).pipe(Effect.provide(tree))
  })

  it.effect("is none for a first start, and not the parent of what an instance does", () => {
    const { layer, spans } = recording()
    const worker = Layer.scopedDiscard(Effect.forkScoped(Effect.withSpan(Effect.never, "work"))).pipe(
      Supervised.layer({ id: "worker" })
    )
    const tree = SupervisionTree.layer({ name: "app" })(worker).pipe(Layer.provide(layer))
    return Effect.gen(function* () {
      yield* TestClock.adjust("1 millis")
      expect(spans.map((span) => span.name)).toEqual(["work"])
      yield* TestSupervision.crash("app/worker")
      yield* TestClock.adjust("1 millis")
      expect(spans.map((span) => [span.name, Option.isNone(span.parent)])).toEqual([
        ["work", true],
        ["Supervision.restart", true],
        ["work", true]
      ])
    }).pipe(Effect.provide(tree))
  })

  it.effect("199: leaves the Cause of a crash as it is: parallel parts and the span of each", () => {
    class Broken extends Schema.TaggedError<Broken>()("Broken", { part: Schema.String }) {}
    const both = Effect.all(
      [
        Effect.withSpan(Effect.fail(new Broken({ part: "left" })), "left"),
        Effect.withSpan(Effect.die(new Error("right")), "right")
      ],
      { concurrency: 2, discard: true }
    )
    const worker = Layer.scopedDiscard(
      Effect.forkScoped(Effect.zipRight(Effect.sleep("1 second"), Effect.uninterruptible(both)))
    ).pipe(Supervised.layer({ id: "worker" }))
    return Effect.gen(function* () {
      yield* TestClock.adjust("1 second")
      const { cause } = yield* Effect.flip(SupervisionTree.awaitShutdown)
      expect(Array.from(Cause.failures(cause))).toMatchObject([{ _tag: "Broken", part: "left" }])
      expect(Cause.prettyErrors(cause).map((error) => error.span?.name)).toEqual(["left", "right"])
    }).pipe(Effect.provide(SupervisionTree.layer({ name: "app", intensity: 0 })(worker)))
  })
})

const metric = (name: string, path: string) =>
  Effect.map(Metric.snapshot, (pairs) =>
    pairs.flatMap(({ metricKey, metricState }) =>
      metricKey.name === `effecto_supervision_${name}` && metricKey.tags.some(({ value }) => value === path)
        ? [{ state: metricState, tags: metricKey.tags.map(({ key, value }) => `${key}=${value}`).sort() }]
        : []
    )
  )

describe("metrics", () => {
  it.effect("200: show how many children are up, of all trees of one name, and after each way to end", () => {
    const up = Effect.map(metric("active", "meters"), (found) => found.map(({ state }) => state))
    const tree = plain("b", { restart: "temporary" }).pipe(
      Layer.provideMerge(plain("a")),
      SupervisionTree.layer({ name: "meters" })
    )
    return Effect.gen(function* () {
      yield* Effect.gen(function* () {
        expect(yield* up).toMatchObject([{ value: 2 }])
        yield* Effect.zipRight(
          Effect.tap(up, (values) => expect(values).toMatchObject([{ value: 4 }])),
          Effect.void
        ).pipe(Effect.provide(Layer.fresh(tree)))
        expect(yield* up).toMatchObject([{ value: 2 }])
        yield* TestSupervision.crash("meters/b")
        yield* TestSupervision.crash("meters/a")
        yield* TestClock.adjust("1 second")
        expect(yield* up).toMatchObject([{ value: 1 }])
        yield* SupervisionTree.terminate("meters/a")
        expect(yield* up).toMatchObject([{ value: 0 }])
        yield* SupervisionTree.start("meters/a")
      }).pipe(Effect.provide(tree))
      expect(yield* up).toMatchObject([{ value: 0 }])
    })
  })

  it.effect("200: count give-ups and orphans, and measure how long a restarted child was down", () => {
    const stuck = Layer.scopedDiscard(Effect.addFinalizer(() => Effect.never)).pipe(
      Supervised.layer({ id: "stuck", shutdown: "2 seconds", backoff: Schedule.spaced("1 second") })
    )
    const tree = SupervisionTree.layer({ name: "measured", intensity: 1, period: "1 minute" })(stuck)
    return Effect.gen(function* () {
      yield* TestSupervision.crash("measured/stuck")
      yield* TestClock.adjust("3 seconds")
      expect(yield* metric("restart_duration", "measured/stuck")).toMatchObject([{ state: { count: 1, min: 3000 } }])
      expect(yield* metric("orphans", "measured/stuck")).toMatchObject([{ state: { count: 1 } }])
      yield* TestSupervision.crash("measured/stuck")
      yield* TestClock.adjust("2 seconds")
      yield* Effect.flip(SupervisionTree.awaitShutdown)
      expect(yield* metric("give_ups", "measured")).toMatchObject([{ state: { count: 1 } }])
      expect(yield* metric("restart_duration", "measured/stuck")).toMatchObject([{ state: { count: 1 } }])
    }).pipe(Effect.provide(tree))
  })

  it.effect("carry the labels of whoever built the tree", () =>
    Effect.gen(function* () {
      expect((yield* metric("active", "labelled"))[0]?.tags).toEqual(["path=labelled", "region=eu"])
    }).pipe(Effect.provide(SupervisionTree.layer({ name: "labelled" })(plain("a"))), Effect.tagMetrics("region", "eu"))
  )
})

describe("a service", () => {
  it.effect("that fails with an object without a span makes a restart without a link", () => {
    const { layer, restarts } = recording()
    const Db = Context.GenericTag<{ readonly instance: number }>("Db")
    const tree = Layer.succeed(Db, { instance: 1 }).pipe(
      Supervised.layer({ id: "db" }),
      SupervisionTree.layer({ name: "app" }),
      Layer.provide(layer)
    )
    return Effect.gen(function* () {
      yield* TestSupervision.crash("app/db", "no object at all")
      yield* TestSupervision.awaitRestart("app/db")
      expect(restarts()).toMatchObject([{ links: [], because: "app/db" }])
    }).pipe(Effect.provide(tree))
  })
})
