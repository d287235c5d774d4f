/** Rows one chunk at a time, so that a table of any size takes the same memory. */
import type { SqlError } from "@effect/sql"
import { Chunk, Effect, Stream } from "effect"
import { asked } from "./condition.js"
import type { Database } from "./database.js"
import { DbError, type StatementError } from "./RepoError.js"
import { statementError } from "./sqlstate.js"
import { filledIn } from "./standing.js"
import type { TableImplementation } from "./tableimplementation.js"
import type { Reads } from "./tableplan.js"

/**
 * By a cursor of the transaction that is open, between whose chunks other statements fit; or of a transaction of its own, on a connection that goes back to
 * the pool when the stream ends or is interrupted.
 */
export const stream = (
  database: Database,
  table: TableImplementation,
  reads: Reads,
  condition: unknown,
  chunkSize: number | undefined,
  hooked: (rows: ReadonlyArray<object>) => Effect.Effect<ReadonlyArray<object>>
): Stream.Stream<object, StatementError> => {
  const failed = (error: SqlError.SqlError) => statementError(error, `stream ${table.name}`)
  const chunks = (rows: Chunk.Chunk<unknown>): Effect.Effect<Chunk.Chunk<object>, StatementError> => {
    // Sound: the driver gives rows as objects.
    const decoded = table.plan.decode(Chunk.toReadonlyArray(rows) as ReadonlyArray<Record<string, unknown>>)
    return decoded instanceof DbError ? Effect.fail(decoded) : Effect.map(hooked(decoded), Chunk.fromIterable)
  }
  return Stream.unwrapScoped(
    Effect.flatMap(asked(database.client, table, condition), (where) => {
      if (where === undefined) return Effect.succeed(Stream.empty)
      const { standing } = table.plan.source
      const given = { text: `${reads.selectText}${where.text}`, parameters: where.parameters }
      const { parameters, text } = standing === undefined ? given : filledIn(given.text, given.parameters, standing)
      return Effect.withFiberRuntime((fiber) =>
        Effect.map(Effect.mapError(database.channel(fiber.currentContext), failed), (channel) =>
          channel
            .executeStream(text, parameters, undefined, chunkSize)
            .pipe(Stream.mapError(failed), Stream.mapChunksEffect(chunks))
        )
      )
    })
  )
}
