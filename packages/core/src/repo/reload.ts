/** Reads rows again that were read before, and rows that somebody else has read. */
import { Effect, Option } from "effect"
import { identity } from "./changes.js"
import { quoted } from "./columnnames.js"
import { type Asked, equalities } from "./condition.js"
import { maximalParameters } from "./messages.js"
import { DbError, type StatementError } from "./RepoError.js"
import { keyOf } from "./rowkey.js"
import type { TableImplementation } from "./tableimplementation.js"

/** What asks for rows by their keys: one list, however many they are, or as many tuples as fit into a statement. */
const byKeys = (table: TableImplementation, keys: ReadonlyArray<unknown>): Effect.Effect<ReadonlyArray<Asked>> => {
  const { key, plan } = table
  if (typeof key === "string")
    return Effect.map(equalities(table, { [key]: keys }), (where) => (where === undefined ? [] : [where]))
  return Effect.map(
    Effect.forEach(keys, (one) => Effect.option(plan.encodeKey(one))),
    (encoded) => {
      const known = encoded.filter(Option.isSome).map(({ value }) => value)
      const columns = key.map((name) => quoted(plan.field(name)?.column ?? name)).join(", ")
      const size = Math.floor(maximalParameters / key.length)
      const found: Array<Asked> = []
      for (let begin = 0; begin < known.length; begin += size) {
        const some = known.slice(begin, begin + size)
        const tuples = some.map((_, at) => `(${key.map((__, field) => `$${at * key.length + field + 1}`).join(", ")})`)
        found.push({ text: ` where (${columns}) in (${tuples.join(", ")})`, parameters: some.flat() })
      }
      return found
    }
  )
}

/** In the order of the rows that are given, with none for those that are gone. */
export const reload = (
  table: TableImplementation,
  rows: ReadonlyArray<object>,
  read: (asked: Asked) => Effect.Effect<ReadonlyArray<object>, StatementError>,
  hooked: (rows: ReadonlyArray<object>) => Effect.Effect<ReadonlyArray<object>>
): Effect.Effect<ReadonlyArray<Option.Option<object>>, StatementError> => {
  const keys = rows.map((row) => keyOf(table, row))
  const distinct = [...new Map(keys.map((key) => [identity(key), key])).values()]
  return Effect.flatMap(byKeys(table, distinct), (all) =>
    Effect.map(
      Effect.flatMap(Effect.forEach(all, read), (found) => hooked(found.flat())),
      (found) => {
        const byKey = new Map(found.map((row) => [identity(keyOf(table, row)), row]))
        return keys.map((key) => Option.fromNullable(byKey.get(identity(key))))
      }
    )
  )
}

/** Rows of whatever made them: by the names of their columns, or, where a client renames those, of their fields. */
export const decodeRows = (
  table: TableImplementation,
  rows: ReadonlyArray<unknown>
): Effect.Effect<ReadonlyArray<object>, DbError> => {
  const { plan } = table
  const named: Array<Record<string, unknown>> = []
  for (const row of rows) {
    if (typeof row !== "object" || row === null)
      throw new Error(`what is decoded as rows of ${table.name} has to be objects, as a client gives them`)
    const own: Record<string, unknown> = {}
    for (const { column, isOptional, name } of plan.columns) {
      // Sound: an object, looked at by the names of its fields.
      const given = row as Readonly<Record<string, unknown>>
      const found = column in given ? given[column] : given[name]
      if (found === undefined && !isOptional)
        return Effect.fail(
          new DbError({
            operation: `read ${table.name}`,
            kind: "decode",
            code: undefined,
            retryable: false,
            reason: `a row has no column ${column}, which field ${name} of the model is read from. Select it, or all columns of ${table.name}.`,
            cause: undefined
          })
        )
      own[column] = found
    }
    named.push(own)
  }
  const decoded = plan.decode(named)
  return decoded instanceof DbError ? Effect.fail(decoded) : Effect.succeed(decoded)
}
