/** How long statements wait, run, and are decoded: in metrics, and on the spans of the Repo's calls. Times are real ones, whatever a test's clock says. */
import { Effect, type Fiber, Metric, MetricBoundaries } from "effect"

/** From 50 µs to 26 s, each twice the one before. */
const boundaries = MetricBoundaries.exponential({ start: 0.05, factor: 2, count: 20 })

const histogram = (name: string, description: string) => Metric.histogram(name, boundaries, description)

/** How long statements waited, in milliseconds: for a connection of the pool, or for their turn in a transaction. */
export const queueTime = histogram(
  "effecto_repo_queue_milliseconds",
  "How long statements waited for a connection, or for their turn in a transaction"
)

/** How long statements ran that were not interrupted, in milliseconds: from their being sent until PostgreSQL's answer was there. */
export const queryTime = histogram("effecto_repo_query_milliseconds", "How long statements took to be answered")

/** How long it took to make rows of what PostgreSQL answered, in milliseconds. */
export const decodeTime = histogram(
  "effecto_repo_decode_milliseconds",
  "How long it took to make rows of what PostgreSQL answered"
)

const kinds = {
  queue: { metric: queueTime, attribute: "effecto.repo.queue_ms" },
  query: { metric: queryTime, attribute: "effecto.repo.query_ms" },
  decode: { metric: decodeTime, attribute: "effecto.repo.decode_ms" }
} as const

/** A call of several statements shows their sum. */
export const note = (
  fiber: Fiber.RuntimeFiber<unknown, unknown>,
  kind: keyof typeof kinds,
  milliseconds: number
): void => {
  const { attribute, metric } = kinds[kind]
  metric.unsafeUpdate(milliseconds, [])
  const span = fiber.currentSpan
  // Several calls may share a statement, and the one it runs for may be over before it is.
  if (span?._tag !== "Span" || span.status._tag === "Ended" || !span.name.startsWith("Repo.")) return
  const before = span.attributes.get(attribute)
  span.attribute(attribute, milliseconds + (typeof before === "number" ? before : 0))
}

/** A statement that gets to its connection now, and was `asked` for at that time. */
export const timed = <A, E, R>(asked: number, self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.withFiberRuntime((fiber) => {
    const begun = performance.now()
    note(fiber, "queue", begun - asked)
    const over = () => note(fiber, "query", performance.now() - begun)
    return Effect.matchCauseEffect(self, {
      onFailure: (cause) => {
        over()
        return Effect.failCause(cause)
      },
      onSuccess: (value) => {
        over()
        return Effect.succeed(value)
      }
    })
  })

/** Rows that are made here, at once, in a fiber. */
export const timedDecoding = <A>(fiber: Fiber.RuntimeFiber<unknown, unknown>, decode: () => A): A => {
  const begun = performance.now()
  const decoded = decode()
  note(fiber, "decode", performance.now() - begun)
  return decoded
}
