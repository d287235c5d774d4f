/** Loads what belongs to rows: one query for each association, whatever the number of rows. */
import { Effect, Option } from "effect"
import type { Association, Associations } from "./association.js"
import { fits } from "./condition.js"
import { currentFrame } from "./frame.js"
import type { StatementError } from "./RepoError.js"
import type { Any } from "./Table.js"
import { implementationOf, type TableImplementation } from "./tableimplementation.js"

type Record_ = Readonly<Record<string, unknown>>

/** What the Repo does for a preload: rows whose field has one of these values, and the hooks of rows that were read. */
export interface Reading {
  readonly find: (
    table: TableImplementation,
    field: string,
    values: ReadonlyArray<unknown>
  ) => Effect.Effect<ReadonlyArray<object>, StatementError>
  readonly hook: (table: TableImplementation, rows: ReadonlyArray<object>) => Effect.Effect<ReadonlyArray<object>>
}

/** An integer that one model has as a number is a bigint in another: the same one in the database. */
const counterpart = (value: unknown): unknown => {
  if (typeof value === "number") return Number.isSafeInteger(value) ? BigInt(value) : value
  return typeof value === "bigint" && Number.isSafeInteger(Number(value)) ? Number(value) : value
}

/** Two values of a key's field are one when they are stored alike: dates are different objects each time. */
const sameKey = (value: unknown): unknown =>
  typeof value === "bigint"
    ? counterpart(value)
    : typeof value === "object" && value !== null
      ? JSON.stringify(value)
      : value

/** Values as the field has them that they are looked for in: their model may have another type of integer than ours. */
const asTheirs = (table: TableImplementation, name: string, values: ReadonlyArray<unknown>): ReadonlyArray<unknown> => {
  const column = table.plan.field(name)
  if (column === undefined || values.some((value) => fits(column, value))) return values
  const others = values.map(counterpart)
  return others.some((value) => fits(column, value)) ? others : values
}

/** A field's value; an Option's is what it holds, or null. */
const field = (row: object, name: string): unknown => {
  // Sound: rows are objects, looked at by the names of their fields.
  const value = (row as Record_)[name]
  return Option.isOption(value) ? Option.getOrNull(value) : value
}

const distinct = (rows: ReadonlyArray<object>, name: string): ReadonlyArray<unknown> => {
  const found = new Map<unknown, unknown>()
  for (const row of rows) {
    const value = field(row, name)
    if (value !== null && value !== undefined) found.set(sameKey(value), value)
  }
  return [...found.values()]
}

/** A row with more on it: another object of the same class, because rows are not changed. */
const extended = (row: object, loaded: Record_): object =>
  Object.assign(Object.create(Object.getPrototypeOf(row)), row, loaded)

/** What rows of another table refer to: one field. */
const singleKey = (table: TableImplementation, association: string): string => {
  if (typeof table.key === "string") return table.key
  throw new Error(
    `association ${association} refers to rows of ${table.name} by one field, but their key has several (${table.key.join(", ")}): ask for them with Repo.all`
  )
}

/** Throws for an association that no row of the table can have: it would be found null for each, or hide what the row holds. */
const onlyPossible = (
  table: TableImplementation,
  name: string,
  { field, kind }: Association<"many" | "one" | "parent", Any, Associations>
) => {
  if (kind === "parent" && table.plan.field(field) === undefined)
    throw new Error(`${table.name} has no field ${field} in its model, by which association ${name} refers to a row`)
  if (table.plan.field(name) !== undefined)
    throw new Error(`association ${name} would hide the field ${name} of ${table.name}: preload it under another name`)
}

const load = (
  reading: Reading,
  table: TableImplementation,
  rows: ReadonlyArray<object>,
  name: string,
  association: Association<"many" | "one" | "parent", Any, Associations>
): Effect.Effect<(row: object) => unknown, StatementError> => {
  const target = implementationOf(association.table)
  const isParent = association.kind === "parent"
  const [mine, theirs] = isParent
    ? [association.field, singleKey(target, name)]
    : [singleKey(table, name), association.field]
  const values = distinct(rows, mine)
  const found =
    values.length === 0
      ? Effect.succeed<ReadonlyArray<object>>([])
      : reading.find(target, theirs, asTheirs(target, theirs, values))
  return Effect.map(
    Effect.flatMap(found, (children) => preload(reading, target, children, association.nested)),
    (children) => {
      const groups = new Map<unknown, Array<object>>()
      for (const child of children) {
        const key = sameKey(field(child, theirs))
        const group = groups.get(key)
        if (group === undefined) groups.set(key, [child])
        else group.push(child)
      }
      return (row) => {
        const group = groups.get(sameKey(field(row, mine))) ?? []
        return association.kind === "many" ? group : (group[0] ?? null)
      }
    }
  )
}

/** Children first, with their hooks; then the hooks of the rows themselves; then the rows with their children on them. */
export const preload = (
  reading: Reading,
  table: TableImplementation,
  rows: ReadonlyArray<object>,
  associations: Associations
): Effect.Effect<ReadonlyArray<object>, StatementError> => {
  const wanted = Object.entries(associations)
  for (const [name, association] of wanted) onlyPossible(table, name, association)
  if (wanted.length === 0 || rows.length === 0) return reading.hook(table, rows)
  return Effect.withFiberRuntime((fiber) =>
    Effect.forEach(
      wanted,
      ([name, association]) =>
        Effect.map(load(reading, table, rows, name, association), (find) => [name, find] as const),
      // A transaction has one connection only.
      { concurrency: wanted.length > 1 && currentFrame(fiber.currentContext) === undefined ? "unbounded" : 1 }
    ).pipe(
      Effect.flatMap((finders) =>
        Effect.map(reading.hook(table, rows), (hooked) =>
          hooked.map((row) => extended(row, Object.fromEntries(finders.map(([name, find]) => [name, find(row)]))))
        )
      )
    )
  )
}
