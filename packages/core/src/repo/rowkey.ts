/** Which row a call is about: by its key, or by itself. */
import { NotFound } from "./RepoError.js"
import type { TableImplementation } from "./tableimplementation.js"

const has = (target: unknown, field: string): target is Readonly<Record<string, unknown>> =>
  typeof target === "object" && target !== null && field in target

/** Whether this is a row, and not the key of one. A composite key is an object too: but of its fields alone. */
export const isRow = (table: TableImplementation, target: unknown): target is object => {
  const { plan } = table
  if (!plan.keyFields.every((field) => has(target, field))) return false
  return (
    typeof table.key === "string" ||
    // Sound: a Model.Class is a class.
    target instanceof (table.model as unknown as new () => object) ||
    plan.columns.some(({ name }) => !plan.keyFields.includes(name) && has(target, name))
  )
}

/** The key of a row, or the key itself. */
export const keyOf = (table: TableImplementation, target: unknown): unknown => {
  const { key } = table
  if (typeof key === "string") return has(target, key) ? target[key] : target
  return key.every((field) => has(target, field))
    ? // Sound: looked at to be an object with these fields.
      Object.fromEntries(key.map((field) => [field, (target as Record<string, unknown>)[field]]))
    : target
}

/** The version that a row was read with; nothing for a key, and for a table without versions. */
export const versionOf = (table: TableImplementation, target: unknown): unknown => {
  const name = table.plan.version?.name
  return name !== undefined && has(target, name) ? target[name] : undefined
}

export const notFound = (table: TableImplementation, key: unknown) =>
  new NotFound({ table: table.name, fields: table.plan.keyFields, by: key })

/**
 * Says whether a row can be asked for by this key only. A text may be another one in the database (a uuid in upper case, a citext, a number that is read as a
 * text), and whoever remembers rows does so by the keys that these have.
 *
 * Only such keys are announced before the database has answered; of others it is said that any row may have changed.
 *
 * @since 0.1.0
 * @category guards
 */
export const hasOneSpelling = (key: unknown): boolean =>
  typeof key === "object" && key !== null
    ? Object.getPrototypeOf(key) === Object.prototype && Object.values(key).every(hasOneSpelling)
    : typeof key === "number" || typeof key === "bigint" || typeof key === "boolean"
