/** How long things took, in metrics and on spans. */
import { describe, expect, layer } from "@effect/vitest"
import { Effect, Metric, Option, Tracer } from "effect"
import * as Repo from "../../src/repo/Repo.js"
import { ada, freshTables, People, TestRepo } from "./people.js"

const counts = Effect.map(
  Effect.all([Metric.value(Repo.queueTime), Metric.value(Repo.queryTime), Metric.value(Repo.decodeTime)]),
  (states) => states.map(({ count }) => count)
)

/** How much the counts rise by an effect. */
const risen = <A, E, R>(self: Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    const before = yield* counts
    yield* self
    return (yield* counts).map((count, at) => count - (before[at] ?? 0))
  })

/** The spans that an effect makes. */
const spans = <A, E, R>(self: Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    const made: Array<Tracer.Span> = []
    const native = yield* Effect.tracer
    const tracer = Tracer.make({
      context: (run) => run(),
      span: (name, parent, context, links, startTime, kind, options) => {
        const span = native.span(name, parent, context, links, startTime, kind, options)
        made.push(span)
        return span
      }
    })
    yield* Effect.withTracer(self, tracer)
    return made
  })

const times = ["effecto.repo.queue_ms", "effecto.repo.query_ms", "effecto.repo.decode_ms"]

describe("queueTime, queryTime and decodeTime", () => {
  layer(TestRepo, { excludeTestServices: true })((it) => {
    it.effect("count each statement once, and each answer that rows are made of", () =>
      Effect.gen(function* () {
        const sql = yield* freshTables
        expect(yield* risen(Repo.insert(People, { ...ada, nickName: Option.none() }))).toEqual([1, 1, 1])
        expect(yield* risen(Repo.all(People))).toEqual([1, 1, 1])
        expect(yield* risen(Effect.flip(Repo.insert(People, { ...ada, nickName: Option.none() })))).toEqual([1, 1, 0])
        expect(yield* risen(Repo.transact(sql`select 1`))).toEqual([1, 1, 0])
      })
    )

    it.effect("stand on the span of a call as the sum of its statements, with nothing of its data", () =>
      Effect.gen(function* () {
        yield* freshTables
        const person = yield* Repo.insert(People, { ...ada, nickName: Option.none() })
        const [span] = yield* spans(Repo.get(People, person.id))
        const attributes = Object.fromEntries(span?.attributes ?? [])
        expect([span?.name, Object.keys(attributes).sort()]).toEqual([
          "Repo.get",
          ["db.collection.name", "db.system.name", ...times].sort()
        ])
        for (const name of times) expect(attributes[name]).toBeGreaterThanOrEqual(0)
        const [outer] = yield* spans(Effect.withSpan(Effect.void, "mine"))
        expect([...(outer?.attributes.keys() ?? [])].filter((name) => times.includes(name))).toEqual([])
      })
    )
  })
})
