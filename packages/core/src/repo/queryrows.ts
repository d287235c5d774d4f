/** Rows that a query gives, to be inserted without coming here. */
import { type SqlClient, Statement } from "@effect/sql"
import { Effect } from "effect"
import { quoted } from "./columnnames.js"
import type { DbError, InvalidInput } from "./RepoError.js"
import { fault } from "./sqltext.js"
import type * as Table from "./Table.js"
import type { TableImplementation } from "./tableimplementation.js"

/**
 * What `Repo.insertAll` takes instead of rows: a query whose columns have the names of these fields' columns, whatever other columns it has. `values` are
 * the same for all rows, and so are fields that the model makes, such as the time of the insert.
 *
 * @since 0.1.0
 * @category models
 */
export interface QueryRows<T extends Table.Any> {
  readonly fields: readonly [keyof Table.Insert<T> & string, ...ReadonlyArray<keyof Table.Insert<T> & string>]
  readonly query: Statement.Fragment
  readonly values?: Partial<Table.Insert<T>> | undefined
}

/** The same without its types. */
export interface Queried {
  readonly fields: ReadonlyArray<string>
  readonly query: Statement.Fragment
  readonly values: Readonly<Record<string, unknown>>
}

const parts: ReadonlySet<string> = new Set<keyof QueryRows<Table.Any>>(["fields", "query", "values"])

/** What `insertAll` was given, if it is no list of rows. Throws what can only be a mistake. */
export const queried = (table: TableImplementation, given: unknown): Queried => {
  // Sound: whatever it is, it is looked at by names.
  const { fields, query, values = {} } = Object(given) as Readonly<Record<string, unknown>>
  if (
    !Array.isArray(fields) ||
    fields.length === 0 ||
    !Statement.isFragment(query) ||
    typeof values !== "object" ||
    values === null ||
    Object.keys(Object(given)).some((name) => !parts.has(name))
  )
    throw new Error(
      `insertAll of ${table.name} takes a list of rows, or { fields, query, values }: some fields, a fragment, and values for the others if there are any`
    )
  // Sound: an object, looked at by the names of its fields.
  return { fields, query, values: values as Queried["values"] }
}

/** The columns and the query of an insert, and its parameters. */
export interface QueryText {
  readonly columns: ReadonlyArray<string>
  readonly text: string
  readonly parameters: ReadonlyArray<unknown>
}

const alias = quoted("effecto_rows")

export const queryText = (
  client: SqlClient.SqlClient,
  table: TableImplementation,
  { fields, query, values }: Queried
): Effect.Effect<QueryText, InvalidInput | DbError> => {
  const [text, parameters] = client`${query}`.compile()
  const wrong = fault(text)
  if (wrong !== undefined)
    throw new Error(`the query of an insertAll of ${table.name} ${wrong.reason}, at character ${wrong.place}`)
  return Effect.map(table.plan.encodeQueried(fields, values), ({ constants, given }) => {
    const columns = [...given, ...constants.columns]
    const list = [
      ...given.map((column) => `${alias}.${quoted(column)}`),
      ...constants.columns.map((_, at) => `$${parameters.length + at + 1}`)
    ]
    return {
      columns,
      // A fragment's last line may be a comment.
      text: `insert into ${table.plan.sqlName} (${columns.map(quoted).join(", ")}) select ${list.join(", ")} from (${text}\n) as ${alias}`,
      parameters: [...parameters, ...constants.parameters]
    }
  })
}
