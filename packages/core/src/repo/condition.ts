/**
 * What rows are asked for, as the text behind a select.
 *
 * A field with `undefined` would be no test at all, and match every row: that is refused, and so is whatever else can only be a mistake. Those are
 * defects, because no call that takes a condition can answer them.
 */
import { type SqlClient, Statement } from "@effect/sql"
import { Effect, Option } from "effect"
import { quoted } from "./columnnames.js"
import { type FieldPlan, Later, Mismatch } from "./fieldplan.js"
import { DbError, InvalidInput } from "./RepoError.js"
import { fault, setOperation } from "./sqltext.js"
import type { TableImplementation } from "./tableimplementation.js"

export interface Asked {
  /** Nothing, or ` where …`; that of a fragment ends in a new line, because its last one may be a comment. */
  readonly text: string
  readonly parameters: ReadonlyArray<unknown>
}

/** A value that no row can have in its field. */
const misfit = Symbol("misfit")

/** What is looked for in a field that is an Option may be what that holds. */
const encodeOrSome = (field: FieldPlan, value: unknown): unknown => {
  try {
    return field.encode(value)
  } catch (problem) {
    if (!(problem instanceof Mismatch) || Option.isOption(value)) throw problem
    return field.encode(Option.some(value))
  }
}

const encode = (field: FieldPlan, value: unknown): unknown => {
  if (value === null) return null
  try {
    // What is stored as nothing at all is NULL in its column.
    return encodeOrSome(field, value) ?? null
  } catch (problem) {
    if (problem instanceof Mismatch) return misfit
    throw problem
  }
}

/** Whether a row can have this value in the field, as far as that is known at once. */
export const fits = (field: FieldPlan, value: unknown): boolean => encode(field, value) !== misfit

const finished = (encoded: unknown): Effect.Effect<unknown> =>
  encoded instanceof Later
    ? Effect.match(encoded.value, { onFailure: () => misfit, onSuccess: (value) => value ?? null })
    : Effect.succeed(encoded)

/** One field: it has this value, or one of these. */
interface Equality {
  readonly column: string
  readonly isList: boolean
  readonly values: ReadonlyArray<unknown>
}

const equality = (table: TableImplementation, name: string, value: unknown): Equality => {
  const field = table.plan.field(name)
  if (field === undefined)
    throw new Error(`${table.name} has no field ${name} in its model, which a condition asks for`)
  const isList = Array.isArray(value) && !field.holdsArrays
  const values: ReadonlyArray<unknown> = isList ? value : [value]
  if (values.includes(undefined))
    throw new Error(
      `field ${name} of ${table.name} is undefined in a condition, which would match every row: leave the field out, or ask for null`
    )
  return { column: quoted(field.column), isList, values: values.map((one) => encode(field, one)) }
}

/** Lists are one parameter (`= any($1)`), so that the text is the same for any number of values. */
const assembled = (equalities: ReadonlyArray<Equality>): Asked | undefined => {
  const tests: Array<string> = []
  const parameters: Array<unknown> = []
  for (const { column, isList, values } of equalities) {
    const possible = values.filter((value) => value !== misfit)
    if (possible.length === 0) return undefined
    const stored = possible.filter((value) => value !== null)
    const nothing = stored.length < possible.length ? `${column} is null` : undefined
    if (stored.length === 0) tests.push(`${column} is null`)
    else {
      parameters.push(isList ? stored : stored[0])
      const place = `$${parameters.length}`
      const test = `${column} = ${isList ? `any(${place})` : place}`
      tests.push(nothing === undefined ? test : `(${test} or ${nothing})`)
    }
  }
  return { text: tests.length === 0 ? "" : ` where ${tests.join(" and ")}`, parameters }
}

/** An equality for each field; nothing when no row can match. */
export const equalities = (
  table: TableImplementation,
  where: Readonly<Record<string, unknown>>
): Effect.Effect<Asked | undefined> => {
  const all = Object.entries(where).map(([name, value]) => equality(table, name, value))
  return all.some(({ values }) => values.some((value) => value instanceof Later))
    ? Effect.map(
        Effect.forEach(all, (one) =>
          Effect.map(Effect.forEach(one.values, finished), (values): Equality => ({ ...one, values }))
        ),
        assembled
      )
    : Effect.succeed(assembled(all))
}

/** An object that shows no fields and is of a class (a Map, a Date) is a mistake, and would ask for every row. */
const isFields = (condition: unknown): condition is Readonly<Record<string, unknown>> => {
  if (typeof condition !== "object" || condition === null || Array.isArray(condition)) return false
  const prototype: unknown = Object.getPrototypeOf(condition)
  return prototype === Object.prototype || prototype === null || Object.keys(condition).length > 0
}

/** A text up to some place, without what is in quotes, which may be a secret; nothing where a backslash may hide the end of a quote. */
const shown = (text: string, place: number): string => {
  if (text.includes("\\")) return ""
  const begun = text.slice(0, place).replace(/'(?:[^']|'')*'?|\$(\w*)\$[\s\S]*?(?:\$\1\$|$)/g, "'…'")
  return ` (${begun.length > 80 ? `…${begun.slice(-80)}` : begun})`
}

/** The condition that a fragment is, and nothing more: it stands in statements that keep to certain rows by what is around it. */
const fragmentAsked = (
  client: SqlClient.SqlClient,
  table: TableImplementation,
  fragment: Statement.Fragment
): Effect.Effect<Asked, DbError> => {
  const [text, parameters] = client`${fragment}`.compile()
  if (text.trim() === "")
    throw new Error(
      `a condition on ${table.name} is a fragment without any text: leave the condition out to ask for all rows`
    )
  const wrong = fault(text)
  if (wrong !== undefined)
    throw new Error(
      `a condition on ${table.name} is a fragment that ${wrong.reason}, at character ${wrong.place}${shown(text, wrong.place)}: a fragment is one condition. Give values as parameters, \${value}, and never as text`
    )
  const word = table.plan.source.standing === undefined ? undefined : setOperation(text)
  return word === undefined
    ? Effect.succeed({ text: ` where ${text}\n`, parameters })
    : Effect.fail(
        new DbError({
          operation: `read or write ${table.name}`,
          kind: "refused",
          code: undefined,
          retryable: false,
          reason: `a middleware narrows it to some rows of the table, and its condition has ${word} in it, which brings in any others. Ask twice, or put it in parentheses: id in (select …)`,
          cause: undefined
        })
      )
}

/** What a condition asks for; nothing when no row can match. Throws what can only be a mistake. */
export const asked = (
  client: SqlClient.SqlClient,
  table: TableImplementation,
  condition: unknown
): Effect.Effect<Asked | undefined, DbError> => {
  if (condition === undefined) return Effect.succeed({ text: "", parameters: [] })
  if (Statement.isFragment(condition)) return fragmentAsked(client, table, condition)
  if (!isFields(condition))
    throw new Error(`a condition on ${table.name} has to be an object of fields or a fragment of @effect/sql`)
  return equalities(table, condition)
}

/** The first field of a condition that is given a value no row can have, for whoever wants to hear of it. */
export const misfitIn = (table: TableImplementation, condition: unknown): InvalidInput | undefined => {
  if (!isFields(condition) || Statement.isFragment(condition)) return undefined
  for (const [name, value] of Object.entries(condition)) {
    const field = table.plan.field(name)
    if (field === undefined) continue
    const values: ReadonlyArray<unknown> = Array.isArray(value) && !field.holdsArrays ? value : [value]
    for (const one of values)
      try {
        if (one !== null) encodeOrSome(field, one)
      } catch (problem) {
        if (problem instanceof Mismatch)
          return new InvalidInput({ table: table.name, field: name, expected: problem.expected })
        throw problem
      }
  }
  return undefined
}
