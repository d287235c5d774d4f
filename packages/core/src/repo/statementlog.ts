/** One Debug line and one count for every statement. Both are nearly free while nobody listens. */
import { Clock, Context, Effect, Exit, type Fiber, FiberRef, LogLevel, Metric } from "effect"

/** The number of statements sent to PostgreSQL, `begin` and `commit` included. */
export const queries: Metric.Metric.Counter<number> = Metric.counter("effecto_repo_queries", {
  description: "Statements sent to PostgreSQL",
  incremental: true
})

const bySource: Metric.Metric.Counter<number> = Metric.counter("effecto_repo_queries_by_source", {
  description: "Statements sent to PostgreSQL, tagged with the table they are about, or transaction, lock, sql",
  incremental: true
})

const tagged = new Map<string, Metric.Metric.Counter<number>>()

/** The number of statements about one table; `transaction`, `lock` and `sql` (written by hand) are sources too. */
export const queriesOf = (source: string): Metric.Metric.Counter<number> => {
  let metric = tagged.get(source)
  if (metric === undefined) {
    metric = Metric.tagged(bySource, "source", source)
    tagged.set(source, metric)
  }
  return metric
}

/** What a statement is about: shown as `source="people"` when it is a table. */
export interface Source {
  readonly name: string
  readonly isTable: boolean
  readonly count: Metric.Metric.Counter<number>
  /** What stands for fields in its text, where a middleware narrows it to some rows of the table. */
  readonly standing?: ReadonlyMap<string, unknown> | undefined
}

export const source = (name: string, isTable = false): Source => ({ name, isTable, count: queriesOf(name) })

export const transactionSource = source("transaction")
export const lockSource = source("lock")
export const sqlSource = source("sql")

const inspect = (parameter: unknown): unknown =>
  typeof parameter === "bigint"
    ? parameter.toString()
    : parameter instanceof Uint8Array
      ? `<${parameter.byteLength} bytes>`
      : parameter

const line = (
  word: "OK" | "ERROR",
  about: Source,
  nanos: bigint,
  text: string,
  parameters: ReadonlyArray<unknown> | undefined
): string => {
  const table = about.isTable ? ` source="${about.name}"` : ""
  const shown = parameters === undefined ? "" : ` ${JSON.stringify(parameters.map(inspect))}`
  return `QUERY ${word}${table} db=${(Number(nanos) / 1e6).toFixed(1)}ms\n${text}${shown}`
}

/** Counts a statement. */
export const count = (about: Source): void => {
  queries.unsafeUpdate(1, [])
  about.count.unsafeUpdate(1, [])
}

/** Whether anybody listens at Debug where a fiber is. */
export const isLogged = (fiber: Fiber.RuntimeFiber<unknown, unknown>): boolean =>
  fiber.getFiberRef(FiberRef.currentMinimumLogLevel).ordinal <= LogLevel.Debug.ordinal

/** Counts the statement, and logs it when it is over if anybody listens at Debug. */
export const observed = <A, E, R>(
  self: Effect.Effect<A, E, R>,
  about: Source,
  text: string,
  /** Given only when they may be shown. */
  parameters: ReadonlyArray<unknown> | undefined
): Effect.Effect<A, E, R> =>
  Effect.withFiberRuntime((fiber) => {
    count(about)
    if (!isLogged(fiber)) return self
    const clock = Context.get(fiber.currentDefaultServices, Clock.Clock)
    const begun = clock.unsafeCurrentTimeNanos()
    return Effect.onExit(self, (exit) =>
      Effect.logDebug(
        line(Exit.isSuccess(exit) ? "OK" : "ERROR", about, clock.unsafeCurrentTimeNanos() - begun, text, parameters)
      )
    )
  })
