/** Pages of rows that stay where they are while others insert and delete: by the values of the last row, not by their number. */
import { Statement } from "@effect/sql"
import { Effect, Option } from "effect"
import { quoted } from "./columnnames.js"
import { type Asked, asked } from "./condition.js"
import type { Database } from "./database.js"
import { Mismatch } from "./fieldplan.js"
import { frameOf } from "./frame.js"
import { DbError, InvalidInput, type StatementError } from "./RepoError.js"
import type { Condition } from "./repository.js"
import type { CountOptions } from "./rowlock.js"
import { statementError } from "./sqlstate.js"
import type * as Table from "./Table.js"
import type { TableImplementation } from "./tableimplementation.js"
import type { Column, Reads } from "./tableplan.js"
import { transactFor } from "./transact.js"
import { onlyKnown } from "./word.js"

/**
 * A field to order by, and which way: ascending when nothing is said.
 *
 * @since 0.1.0
 * @category models
 */
export type OrderBy<T extends Table.Any> =
  | (keyof Table.Row<T> & string)
  | readonly [field: keyof Table.Row<T> & string, direction: "asc" | "desc"]

/**
 * Which page: the `first` so many rows, behind the one that the cursor `after` stands for, in an order that the key makes complete. `total` asks for the
 * number of all rows as well, with a statement of its own.
 *
 * @since 0.1.0
 * @category models
 */
export interface PageOptions<T extends Table.Any> extends CountOptions {
  readonly first: number
  /** The `next` of the page before, with the same `where` and `orderBy`. */
  readonly after?: string | undefined
  readonly where?: Condition<T> | undefined
  readonly orderBy?: ReadonlyArray<OrderBy<T>> | undefined
  readonly total?: boolean | undefined
}

/**
 * Some rows, where the next ones begin, and how many there are in all, if that was asked for.
 *
 * @since 0.1.0
 * @category models
 */
export interface Page<Row> {
  readonly rows: ReadonlyArray<Row>
  /** The cursor to go on with; none when there are no more rows. It holds values of the last row in the open: do not give it to whom may not see them. */
  readonly next: Option.Option<string>
  readonly total: Option.Option<number>
}

/** The same options without their types. */
export interface Asking extends CountOptions {
  readonly first: number
  readonly after?: string | undefined
  readonly where?: unknown
  readonly orderBy?: ReadonlyArray<string | readonly [string, string]> | undefined
  readonly total?: boolean | undefined
}

interface Order {
  readonly column: Column
  readonly descends: boolean
  readonly mayBeNull: boolean
}

const acceptsNull = (column: Column): boolean => {
  if (column.isOptional) return true
  try {
    column.decode(null)
    return true
  } catch (problem) {
    if (problem instanceof Mismatch) return false
    throw problem
  }
}

/** The order, made complete by the key: no two rows stand at one place. */
const ordered = (table: TableImplementation, orderBy: Asking["orderBy"] = []): ReadonlyArray<Order> => {
  const found = new Map<string, Order>()
  for (const one of [...orderBy, ...table.plan.keyFields]) {
    const [name, direction] = typeof one === "string" ? [one, "asc"] : one
    const column = table.plan.field(name)
    if (column === undefined)
      throw new Error(`${table.name} has no field ${name} in its model, which a page is ordered by`)
    if (direction !== "asc" && direction !== "desc")
      throw new Error(`a page of ${table.name} is ordered "asc" or "desc" by ${name}, not ${JSON.stringify(direction)}`)
    if (!found.has(name)) found.set(name, { column, descends: direction === "desc", mayBeNull: acceptsNull(column) })
  }
  return [...found.values()]
}

/** What a cursor was made for: another order has other places. */
const signature = (order: ReadonlyArray<Order>): string =>
  order.map(({ column, descends }) => `${JSON.stringify(column.name)}${descends ? " desc" : ""}`).join()

type Place = ReadonlyArray<string | null>

const cursorOf = (order: ReadonlyArray<Order>, place: unknown): string =>
  Buffer.from(JSON.stringify([signature(order), place])).toString("base64url")

const placeOf = (order: ReadonlyArray<Order>, cursor: unknown): Place | undefined => {
  if (typeof cursor !== "string") return undefined
  try {
    const read: unknown = JSON.parse(Buffer.from(cursor, "base64url").toString())
    if (!Array.isArray(read) || read[0] !== signature(order)) return undefined
    const place: unknown = read[1]
    return Array.isArray(place) &&
      place.length === order.length &&
      place.every((value) => value === null || typeof value === "string")
      ? place
      : undefined
  } catch {
    return undefined
  }
}

/** What stands behind this place in the order. PostgreSQL puts nulls last when it ascends, and first when it descends. */
const behind = (order: ReadonlyArray<Order>, place: Place, parameters: Array<unknown>): string => {
  const at = (value: string | null): string => {
    parameters.push(value)
    return `$${parameters.length}`
  }
  const [first] = order
  if (
    first !== undefined &&
    order.every(({ descends, mayBeNull }) => !mayBeNull && descends === first.descends) &&
    !place.includes(null)
  ) {
    const columns = order.map(({ column }) => quoted(column.column)).join(", ")
    return `(${columns}) ${first.descends ? "<" : ">"} (${place.map(at).join(", ")})`
  }
  const alternatives: Array<string> = []
  const before: Array<string> = []
  for (const [index, { column, descends, mayBeNull }] of order.entries()) {
    const name = quoted(column.column)
    const value = place[index] ?? null
    const nothing = value === null
    const isLast = index === order.length - 1
    // A parameter that is not used has no type.
    const mine = nothing ? "" : at(value)
    const further = nothing
      ? descends
        ? `${name} is not null`
        : undefined
      : descends
        ? `${name} < ${mine}`
        : `(${name} > ${mine}${mayBeNull ? ` or ${name} is null` : ""})`
    if (further !== undefined) alternatives.push([...before, further].join(" and "))
    if (!isLast) before.push(nothing ? `${name} is null` : `${name} = ${mine}`)
  }
  return alternatives.length === 0 ? "false" : `(${alternatives.map((one) => `(${one})`).join(" or ")})`
}

/** What PostgreSQL says to a text that is no value of its column. */
const isNoValue = ({ code }: DbError) => code === "22P02" || code === "22003" || code === "22007" || code === "22008"

/** A cursor is somebody else's text: one that is refused must not spoil the transaction of whoever asks. */
const apart = <A>(database: Database, operation: string, self: Effect.Effect<A, StatementError>) =>
  Effect.withFiberRuntime<A, StatementError>(({ currentContext }) =>
    frameOf(currentContext, database.client) === undefined
      ? self
      : transactFor(
          database,
          self,
          ({ cause, code, reason }) =>
            new DbError({ operation, kind: "aborted", code, retryable: false, reason, cause })
        )
  )

const names: ReadonlySet<string> = new Set<keyof Asking>(["first", "after", "where", "orderBy", "total", "withDeleted"])

/** One row more than was asked for says whether there are any behind. */
const place = "effecto_place"

export const page = (
  database: Database,
  table: TableImplementation,
  reads: Reads,
  options: Asking,
  count: Effect.Effect<number, StatementError>,
  hooked: (rows: ReadonlyArray<object>) => Effect.Effect<ReadonlyArray<object>>
): Effect.Effect<Page<object>, StatementError | InvalidInput> => {
  onlyKnown(`a page of ${table.name}`, options, names)
  const { after, first, where } = options
  const invalid = (field: string, expected: string) => new InvalidInput({ table: table.name, field, expected })
  if (!Number.isSafeInteger(first) || first < 1) return Effect.fail(invalid("first", "a number of rows, one at least"))
  const order = ordered(table, options.orderBy)
  const from = after === undefined ? undefined : placeOf(order, after)
  const noCursor = invalid("after", "the next of a page in the same order")
  if (after !== undefined && from === undefined) return Effect.fail(noCursor)
  const operation = `read a page of ${table.name}`
  const rowsOf = ({ parameters: given, text }: Asked) => {
    const parameters = [...given]
    const list = table.plan.columns.map(({ column }) => quoted(column)).join(", ")
    // As text, because a date of JavaScript has lost what comes behind the milliseconds.
    const here = `json_build_array(${order.map(({ column }) => `${quoted(column.column)}::text`).join(", ")}) as ${place}`
    const source = Statement.isFragment(where)
      ? `(select * from ${reads.fromText}${text}) as ${quoted(table.name)}`
      : reads.fromText
    const tests = [
      ...(Statement.isFragment(where) || text === "" ? [] : [text.replace(/^ where /, "")]),
      ...(from === undefined ? [] : [behind(order, from, parameters)])
    ]
    const by = order.map(({ column, descends }) => `${quoted(column.column)}${descends ? " desc" : ""}`).join(", ")
    parameters.push(first + 1)
    const answer = database.query(
      `select ${list}, ${here} from ${source}${tests.length === 0 ? "" : ` where ${tests.join(" and ")}`} order by ${by} limit $${parameters.length}`,
      parameters,
      table.plan.source,
      !Statement.isFragment(where)
    )
    return Effect.mapBoth(answer, {
      onFailure: (error) => statementError(error, operation),
      onSuccess: ({ rows }) => rows
    })
  }
  return Effect.flatMap(asked(database.client, table, where), (condition) => {
    const answered =
      condition === undefined
        ? Effect.succeed<ReadonlyArray<Record<string, unknown>>>([])
        : from === undefined
          ? rowsOf(condition)
          : // The only parameters that did not go through the model are those of the cursor.
            Effect.mapError(apart(database, operation, rowsOf(condition)), (failure) =>
              failure._tag === "DbError" && isNoValue(failure) ? noCursor : failure
            )
    return Effect.flatMap(answered, (all) => {
      const shown = all.slice(0, first)
      const decoded = table.plan.decode(shown)
      if (decoded instanceof DbError) return Effect.fail(decoded)
      const next = all.length > first ? Option.some(cursorOf(order, shown.at(-1)?.[place])) : Option.none<string>()
      return Effect.zipWith(
        hooked(decoded),
        options.total === true ? Effect.map(count, Option.some) : Effect.succeed(Option.none<number>()),
        (rows, total) => ({ rows, next, total })
      )
    })
  })
}
