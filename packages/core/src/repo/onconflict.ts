/** What an insert does when the row is there already: the text behind its values. */
import { type SqlClient, Statement } from "@effect/sql"
import { quoted } from "./columnnames.js"
import { fault } from "./sqltext.js"
import type * as Table from "./Table.js"
import type { TableImplementation } from "./tableimplementation.js"
import type { Column, Values } from "./tableplan.js"
import { onlyKnown } from "./word.js"

type Field<T extends Table.Any> = keyof Table.Row<T> & string

type Fields<T extends Table.Any> = readonly [Field<T>, ...ReadonlyArray<Field<T>>]

/** The names of constraints of these kinds that a table declares. */
type Named<C extends Table.Constraints, Kind extends Table.ConstraintKind> = {
  [Name in keyof C & string]: C[Name]["kind"] extends Kind ? Name : never
}[keyof C & string]

/**
 * Which conflict is meant: with the fields of a unique index or constraint; with a constraint by its name, one that the table declares; with a partial
 * index, by its fields and its condition; or with an index on expressions, by what stands in its parentheses: `lower(email), tenant_id`, for example. Fragments
 * are compared with what the index was made with, so they take no parameters.
 *
 * @since 0.1.0
 * @category models
 */
export type ConflictTarget<T extends Table.Any, Kind extends Table.ConstraintKind = "unique"> =
  | Fields<T>
  | { readonly constraint: Named<T["constraints"], Kind> }
  | { readonly fields: Fields<T>; readonly where: Statement.Fragment }
  | { readonly expression: Statement.Fragment; readonly where?: Statement.Fragment | undefined }

/**
 * What an insert does when a row is there already that it conflicts with.
 *
 * `target` says which conflict is meant; without it every conflict is (only for `"nothing"`). `action` is what happens
 * then: `"nothing"`, and there is no row to give back; `"replace"`, which takes every value of the new row but those of the key and of the target's fields;
 * or the fields whose values are taken, or are not; the key never is. What the new row was not given stays. The version goes one up, whatever was
 * given for it, and a row that was deleted softly is there again.
 *
 * @since 0.1.0
 * @category models
 */
export type OnConflict<T extends Table.Any> =
  | {
      readonly target?: ReadonlyArray<Field<T>> | ConflictTarget<T, "unique" | "exclusion">
      readonly action: "nothing"
    }
  | {
      readonly target: ConflictTarget<T>
      readonly action:
        | "replace"
        | { readonly replace: Fields<T> }
        | { readonly replaceAllExcept: ReadonlyArray<Field<T>> }
    }

/** The same without its types. */
export interface Conflict {
  readonly target?: unknown
  readonly action:
    | "nothing"
    | "replace"
    | { readonly replace: ReadonlyArray<string> }
    | { readonly replaceAllExcept: ReadonlyArray<string> }
}

const columnOf = (table: TableImplementation, field: string): Column => {
  const column = table.plan.field(field)
  if (column === undefined) throw new Error(`${table.name} has no field ${field} in its model, which onConflict names`)
  return column
}

/** A target as it stands behind `on conflict`, and the fields that it is known to be about. */
interface Target {
  readonly text: string
  readonly fields: ReadonlyArray<string>
}

const fragmentText = (
  client: SqlClient.SqlClient,
  table: TableImplementation,
  fragment: Statement.Fragment
): string => {
  const [text, parameters] = client`${fragment}`.compile()
  const what = `a fragment in a conflict's target in ${table.name}`
  if (text.trim() === "") throw new Error(`${what} is without any text`)
  if (parameters.length > 0)
    throw new Error(
      `${what} takes no parameters: PostgreSQL finds the index by what it was made with. Write constants into its text`
    )
  const wrong = fault(text)
  if (wrong !== undefined) throw new Error(`${what} ${wrong.reason}, at character ${wrong.place}`)
  return text
}

/** Throws what can only be a mistake. */
const targetOf = (client: SqlClient.SqlClient, table: TableImplementation, given: unknown): Target => {
  if (given === undefined) return { text: "", fields: [] }
  const ofFields = (fields: ReadonlyArray<string>): Target => ({
    text: fields.length === 0 ? "" : ` (${fields.map((field) => quoted(columnOf(table, field).column)).join(", ")})`,
    fields
  })
  if (Array.isArray(given)) return ofFields(given)
  const { constraint, expression, fields, where }: { readonly [_ in (typeof parts)[number]]?: unknown } = Object(given)
  const isNamed = typeof constraint === "string"
  const isExpression = Statement.isFragment(expression)
  if (
    [isNamed, isExpression, Array.isArray(fields)].filter((one) => one).length !== 1 ||
    (where !== undefined && !Statement.isFragment(where)) ||
    Object.keys(Object(given)).some((name) => !parts.some((part) => part === name))
  )
    throw new Error(
      `a conflict's target in ${table.name} is a list of fields, { constraint }, { fields, where } or { expression, where }, with fragments for where and expression`
    )
  if (isNamed) {
    const declared = Object.hasOwn(table.constraints, constraint) ? table.constraints[constraint] : undefined
    if (declared === undefined)
      throw new Error(`${table.name} declares no constraint ${constraint}, which onConflict names`)
    return { text: ` on constraint ${quoted(constraint)}`, fields: declared.fields }
  }
  // In parentheses nothing of it can be an action of its own. A fragment's last line may be a comment.
  const condition = where === undefined ? "" : ` where (${fragmentText(client, table, where)}\n)`
  if (isExpression) return { text: ` (${fragmentText(client, table, expression)}\n)${condition}`, fields: [] }
  const known = ofFields(fields as ReadonlyArray<string>)
  return { ...known, text: `${known.text}${condition}` }
}

const parts = ["constraint", "expression", "fields", "where"] as const

/** Which of the columns that are inserted replace those of the row that is there; version and mark of deletion are for the Repo. */
const replaced = (
  table: TableImplementation,
  values: Pick<Values, "columns">,
  { action }: Conflict,
  target: ReadonlyArray<string>
) => {
  const { keyFields, softDelete, version } = table.plan
  if (action === "nothing") return []
  if (typeof action === "object" && "replace" in action) {
    const key = action.replace.find((field) => keyFields.includes(field))
    if (key !== undefined)
      throw new Error(
        `onConflict for ${table.name} replaces its key ${key}: whoever knows the row by its key would not hear of it. Delete the row and insert another`
      )
    return action.replace
      .map((field) => columnOf(table, field).column)
      .filter((column) => column !== version?.column && column !== softDelete?.column)
  }
  const kept = new Set([
    version?.column,
    softDelete?.column,
    ...[...target, ...keyFields, ...(action === "replace" ? [] : action.replaceAllExcept)].map(
      (field) => columnOf(table, field).column
    )
  ])
  return values.columns.filter((column) => !kept.has(column))
}

const names: ReadonlySet<string> = new Set<keyof Conflict>(["target", "action"])

/** Goes between the values and `returning`. Throws what can only be a mistake. */
export const conflictText = (
  client: SqlClient.SqlClient,
  table: TableImplementation,
  values: Pick<Values, "columns">,
  conflict: Conflict | undefined
): string => {
  if (conflict === undefined) return ""
  onlyKnown(`a conflict in ${table.name}`, conflict, names)
  const { action } = conflict
  const known =
    action === "nothing" ||
    action === "replace" ||
    (typeof action === "object" && action !== null && ("replace" in action || "replaceAllExcept" in action))
  if (!known)
    throw new Error(
      `there is no such action for a conflict in ${table.name}: "nothing", "replace", { replace: fields } or { replaceAllExcept: fields }`
    )
  const { fields, text: on } = targetOf(client, table, conflict.target)
  if (action === "nothing") return ` on conflict${on} do nothing`
  if (on === "") throw new Error(`onConflict for ${table.name} needs the target whose row is to be replaced`)
  const { softDelete } = table.plan
  const assignments = [
    ...new Set(
      replaced(table, values, conflict, fields).map((column) => `${quoted(column)} = excluded.${quoted(column)}`)
    ),
    ...(softDelete === undefined ? [] : [`${quoted(softDelete.column)} = null`]),
    ...table.plan.increment
  ]
  // Something has to be set for the row to be given back.
  const [first] = table.plan.keyFields.map((field) => quoted(columnOf(table, field).column))
  const set = assignments.length === 0 ? [`${first} = ${table.plan.sqlName}.${first}`] : assignments
  return ` on conflict${on} do update set ${set.join(", ")}`
}
