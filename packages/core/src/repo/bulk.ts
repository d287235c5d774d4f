/** Writes of many rows: in as few statements as there may be, and in one transaction. */
import { Statement } from "@effect/sql"
import { Effect } from "effect"
import { quoted } from "./columnnames.js"
import { asked } from "./condition.js"
import type { Database } from "./database.js"
import { maximalParameters } from "./messages.js"
import { type Conflict, conflictText } from "./onconflict.js"
import { queried, queryText } from "./queryrows.js"
import type { InvalidInput } from "./RepoError.js"
import type { TableImplementation } from "./tableimplementation.js"
import type { Values } from "./tableplan.js"
import { transactFor } from "./transact.js"
import { commitError } from "./violation.js"
import { fieldsGiven, type Verb, type WriteFailure, type Writing } from "./writing.js"

const everythingId: unique symbol = Symbol.for("@effecto/core/Repo/everything")

/**
 * The condition that holds for all rows: what `updateAll` and `deleteAll` want to hear before they touch a whole table.
 *
 * @since 0.1.0
 * @category models
 */
export interface Everything {
  readonly [everythingId]: true
}

/**
 * All rows of a table, for `Repo.updateAll` and `Repo.deleteAll`, which take no empty condition.
 *
 * @since 0.1.0
 * @category writing
 */
export const everything: Everything = Object.freeze({ [everythingId]: true as const })

/** Whether rows are wanted back, or only their number. */
export interface Bulk {
  readonly returning?: boolean | undefined
  readonly onConflict?: Conflict | undefined
}

type Result = Effect.Effect<ReadonlyArray<object> | number, WriteFailure | InvalidInput>

/** Rows with the same columns in one statement; where others have more, PostgreSQL fills in the defaults. */
const valuesText = (table: TableImplementation, columns: ReadonlyArray<string>, rows: ReadonlyArray<Values>) => {
  const parameters: Array<unknown> = []
  const tuples = rows.map((row) => {
    const places = columns.map((column) => {
      const at = row.columns.indexOf(column)
      if (at < 0) return "default"
      parameters.push(row.parameters[at])
      return `$${parameters.length}`
    })
    return `(${places.join(", ")})`
  })
  return {
    text: `insert into ${table.plan.sqlName} (${columns.map(quoted).join(", ")}) values ${tuples.join(", ")}`,
    parameters
  }
}

/** No statement gets so large that it keeps the process, or the server, from other work. */
const maximalRows = 2000

/** Rows for statements of the same columns, and their places among all rows. */
interface Group {
  readonly columns: ReadonlyArray<string>
  readonly rows: Array<Values>
  readonly places: Array<number>
}

/** All rows; or, where a row that is there already would take over the defaults of what was not given, those with the same columns. */
const groupsOf = (rows: ReadonlyArray<Values>, replaces: boolean): Iterable<Group> => {
  if (!replaces)
    return [{ columns: [...new Set(rows.flatMap((row) => row.columns))], rows: [...rows], places: [...rows.keys()] }]
  const groups = new Map<string, Group>()
  for (const [place, row] of rows.entries()) {
    const name = JSON.stringify(row.columns)
    const group = groups.get(name)
    if (group === undefined) groups.set(name, { columns: row.columns, rows: [row], places: [place] })
    else {
      group.rows.push(row)
      group.places.push(place)
    }
  }
  return groups.values()
}

/** In the order of the rows they were made of; some may have been dropped by a trigger, and nobody knows which. */
const inPlace = (written: ReadonlyArray<object> | number, places: ReadonlyArray<number>) => {
  if (typeof written === "number" || written.length !== places.length) return written
  const ordered = [...written]
  for (const [at, place] of places.entries()) ordered[place] = written[at] as object
  return ordered
}

export const insertAll = (
  database: Database,
  writing: Writing,
  table: TableImplementation,
  rows: unknown,
  { onConflict, returning }: Bulk = {}
): Result => {
  if (!Array.isArray(rows))
    return Effect.flatMap(queryText(database.client, table, queried(table, rows)), ({ columns, parameters, text }) =>
      bulk(
        writing,
        table,
        "insert into",
        `${text}${conflictText(database.client, table, { columns }, onConflict)}`,
        parameters,
        returning === true
      )
    )
  const given = rows.map((row: unknown) => fieldsGiven(table, "insert into", row))
  return Effect.flatMap(
    Effect.forEach(given, (row) => table.plan.encodeInsert(row)),
    (encoded): Result => {
      const statements: Array<Result> = []
      const places: Array<number> = []
      for (const group of groupsOf(encoded, onConflict !== undefined && onConflict.action !== "nothing")) {
        for (const place of group.places) places.push(place)
        // A row of defaults alone needs a column to say so for.
        const [first] = table.plan.keyFields.map((name) => table.plan.field(name)?.column ?? name)
        const columns = group.columns.length === 0 && first !== undefined ? [first] : group.columns
        const size = Math.min(maximalRows, Math.floor(maximalParameters / columns.length))
        for (let begin = 0; begin < group.rows.length; begin += size) {
          const { parameters, text } = valuesText(table, columns, group.rows.slice(begin, begin + size))
          const whole = `${text}${conflictText(database.client, table, { columns }, onConflict)}`
          statements.push(
            returning === true
              ? writing.rows(table, "insert into", `${whole}${table.plan.returning}`, parameters, "all", false)
              : writing.number(table, "insert into", whole, parameters)
          )
        }
      }
      const written = together(database, table, "insert into", statements, returning === true)
      return statements.length > 1 && returning === true ? Effect.map(written, (all) => inPlace(all, places)) : written
    }
  )
}

/** In one transaction, if it takes more than one statement. */
const together = (
  database: Database,
  table: TableImplementation,
  verb: Verb,
  statements: ReadonlyArray<Result>,
  returning: boolean
): Result => {
  const [only] = statements
  if (only === undefined) return Effect.succeed(returning ? [] : 0)
  if (statements.length === 1) return only
  const all = Effect.map(Effect.all(statements), (results): ReadonlyArray<object> | number =>
    returning
      ? results.flatMap((rows) => (typeof rows === "number" ? [] : rows))
      : results.reduce<number>((sum, count) => sum + (typeof count === "number" ? count : 0), 0)
  )
  return transactFor(database, all, (failure) => commitError(table, verb, failure))
}

const isEverything = (condition: unknown): condition is Everything => condition === everything

/** The rows that a bulk write is about; nothing when there can be none. */
const reached = (database: Database, table: TableImplementation, call: string, condition: unknown) => {
  const { plan } = table
  const where = (text: string) => {
    const tests = [...(text === "" ? [] : [text]), ...(plan.reachText === "" ? [] : [plan.reachText])]
    return tests.length === 0 ? "" : ` where ${tests.join(" and ")}`
  }
  if (isEverything(condition)) return Effect.succeed({ text: where(""), parameters: [] })
  const isEmpty =
    condition === undefined ||
    (typeof condition === "object" &&
      condition !== null &&
      !Statement.isFragment(condition) &&
      Object.keys(condition).length === 0)
  if (isEmpty)
    throw new Error(
      `${call} of ${table.name} got a condition without any field, which would be every row: say Repo.everything if that is meant`
    )
  return Effect.map(asked(database.client, table, condition), (found) =>
    found === undefined
      ? undefined
      : { text: where(`(${found.text.replace(/^ where /, "")})`), parameters: found.parameters }
  )
}

const bulk = (
  writing: Writing,
  table: TableImplementation,
  verb: Verb,
  text: string,
  parameters: ReadonlyArray<unknown>,
  returning: boolean
): Result =>
  returning
    ? writing.rows(table, verb, `${text}${table.plan.returning}`, parameters, "all", false)
    : writing.number(table, verb, text, parameters)

export const updateAll = (
  database: Database,
  writing: Writing,
  table: TableImplementation,
  condition: unknown,
  patch: unknown,
  { returning = false }: Bulk = {}
): Result => {
  const fields = fieldsGiven(table, "updateAll of", patch)
  const nothing: Result = Effect.succeed(returning ? [] : 0)
  return Effect.flatMap(table.plan.encodeUpdate(fields), (values) =>
    Effect.flatMap(reached(database, table, "updateAll", condition), (where): Result => {
      if (where === undefined || table.plan.isEmpty(fields)) return nothing
      const text = `update ${table.plan.sqlName} set ${table.plan.assignments(values.columns, where.parameters.length + 1)}${where.text}`
      return bulk(writing, table, "update", text, [...where.parameters, ...values.parameters], returning)
    })
  )
}

export const deleteAll = (
  database: Database,
  writing: Writing,
  table: TableImplementation,
  condition: unknown,
  { returning = false }: Bulk = {}
): Result =>
  Effect.flatMap(reached(database, table, "deleteAll", condition), (where): Result => {
    if (where === undefined) return Effect.succeed(returning ? [] : 0)
    const { plan } = table
    const text =
      plan.softDelete === undefined
        ? `delete from ${plan.sqlName}${where.text}`
        : `update ${plan.sqlName} set ${plan.marking}${where.text}`
    return bulk(writing, table, "delete from", text, where.parameters, returning)
  })
