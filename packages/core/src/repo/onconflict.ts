/** What an insert does when the row is there already: the text behind its values. */
import { quoted } from "./columnnames.js"
import type * as Table from "./Table.js"
import type { TableImplementation } from "./tableimplementation.js"
import type { Column, Values } from "./tableplan.js"

/**
 * What an insert does when a row is there already that it conflicts with.
 *
 * `target` are the fields of the unique index or constraint that is meant; without it every conflict is (only for `"nothing"`). `action` is what happens
 * then: `"nothing"`, and there is no row to give back; `"replace"`, which takes every value of the new row but those of the key and of the target;
 * or the fields whose values are taken, or are not; the key never is. What the new row was not given stays. The version goes one up, whatever was
 * given for it, and a row that was deleted softly is there again.
 *
 * @since 0.1.0
 * @category models
 */
export type OnConflict<T extends Table.Any> =
  | { readonly target?: ReadonlyArray<keyof Table.Row<T> & string>; readonly action: "nothing" }
  | {
      readonly target: readonly [keyof Table.Row<T> & string, ...ReadonlyArray<keyof Table.Row<T> & string>]
      readonly action:
        | "replace"
        | { readonly replace: readonly [keyof Table.Row<T> & string, ...ReadonlyArray<keyof Table.Row<T> & string>] }
        | { readonly replaceAllExcept: ReadonlyArray<keyof Table.Row<T> & string> }
    }

/** The same without its types. */
export interface Conflict {
  readonly target?: ReadonlyArray<string> | undefined
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

/** Which of the columns that are inserted replace those of the row that is there; version and mark of deletion are for the Repo. */
const replaced = (table: TableImplementation, values: Pick<Values, "columns">, conflict: Conflict) => {
  const { action, target = [] } = conflict
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

/** Goes between the values and `returning`. Throws what can only be a mistake. */
export const conflictText = (
  table: TableImplementation,
  values: Pick<Values, "columns">,
  conflict: Conflict | undefined
): string => {
  if (conflict === undefined) return ""
  const { action, target = [] } = conflict
  const known =
    action === "nothing" ||
    action === "replace" ||
    (typeof action === "object" && action !== null && ("replace" in action || "replaceAllExcept" in action))
  if (!known)
    throw new Error(
      `there is no such action for a conflict in ${table.name}: "nothing", "replace", { replace: fields } or { replaceAllExcept: fields }`
    )
  const on = target.length === 0 ? "" : ` (${target.map((field) => quoted(columnOf(table, field).column)).join(", ")})`
  if (action === "nothing") return ` on conflict${on} do nothing`
  if (on === "") throw new Error(`onConflict for ${table.name} needs the target whose row is to be replaced`)
  const { softDelete } = table.plan
  const assignments = [
    ...new Set(replaced(table, values, conflict).map((column) => `${quoted(column)} = excluded.${quoted(column)}`)),
    ...(softDelete === undefined ? [] : [`${quoted(softDelete.column)} = null`]),
    ...table.plan.increment
  ]
  // Something has to be set for the row to be given back.
  const [first] = table.plan.keyFields.map((field) => quoted(columnOf(table, field).column))
  const set = assignments.length === 0 ? [`${first} = ${table.plan.sqlName}.${first}`] : assignments
  return ` on conflict${on} do update set ${set.join(", ")}`
}
