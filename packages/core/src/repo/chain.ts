/** Middleware: what stands around every call of a Repo, outermost first. */
import { Effect } from "effect"
import { hookState } from "./hookstate.js"
import type { Queried } from "./queryrows.js"
import { DbError } from "./RepoError.js"
import type { Any, Operation } from "./Table.js"
import { implementationOf } from "./tableimplementation.js"

/**
 * A call of the Repo, as its middleware sees it.
 *
 * @since 0.1.0
 * @category middleware
 */
export interface Call {
  readonly table: Any
  /** The function that was called: `"fetch"`, for example. A preload is one for its rows and one for each table it reads. */
  readonly call: string
  /** What it does: counting is a `"get"` too, an upsert an `"insert"`. */
  readonly operation: Operation
  /** What it was given behind the table. */
  readonly arguments: ReadonlyArray<unknown>
  /** What `Repo.annotate` around the call says: the tenant, for example. */
  readonly annotations: Readonly<Record<string, unknown>>
  /** Whether it was made by a hook. */
  readonly inHook: boolean
  /** Fails the call with a `DbError` of kind `"refused"`: nothing is sent to the database. */
  readonly refuse: (reason: string) => Effect.Effect<never, DbError>
}

/**
 * What a middleware may change of a call on its way.
 *
 * @since 0.1.0
 * @category middleware
 */
export interface Changed {
  /** What the call is given instead, behind the table. */
  readonly arguments?: ReadonlyArray<unknown>
  /**
   * The call sees, changes and deletes only rows whose fields have these values, and what it inserts gets them. A call that cannot be narrowed that way
   * fails, and sends nothing.
   */
  readonly where?: Readonly<Record<string, unknown>>
}

/**
 * Runs around calls: `next` does the rest, which is the middleware inside of this one and then the call itself, with its transaction and its hooks. It
 * may leave `next` out, run it again, or change what it gives.
 *
 * @since 0.1.0
 * @category middleware
 */
export type Around<R> = <A, E>(
  call: Call,
  next: (changed?: Changed) => Effect.Effect<A, E>
) => Effect.Effect<A, E | DbError, R>

/** A middleware that has all it needs, and which calls it is about. */
export interface Middleware {
  readonly around: Around<never>
  readonly concerns: (call: Call) => boolean
}

const operations: Readonly<Record<string, Operation>> = {
  insert: "insert",
  insertAll: "insert",
  upsert: "insert",
  upsertAll: "insert",
  update: "update",
  updateAll: "update",
  modify: "update",
  restore: "update",
  touch: "update",
  delete: "delete",
  deleteAll: "delete"
}

/** Of a function of the Repo. */
export const operationOf = (name: string): Operation => operations[name] ?? "get"

/** Why a call cannot be narrowed further; nothing if it can. Two values are told from one by identity: no row has both. */
const contradiction = (earlier: Changed["where"], later: Changed["where"]): string | undefined => {
  if (later === undefined) return undefined
  const names = Object.keys(later)
  // What was meant to narrow it would not.
  if (names.length === 0) return "a middleware narrows it by no field at all"
  const name = names.find((one) => earlier !== undefined && Object.hasOwn(earlier, one) && earlier[one] !== later[one])
  return name === undefined ? undefined : `two middlewares narrow it to different values of ${name}`
}

/** Whether fields are given that have other values than the call is narrowed to: they would belong to somebody else. */
const strays = (given: unknown, where: Readonly<Record<string, unknown>>): boolean =>
  Array.isArray(given)
    ? given.some((one) => strays(one, where))
    : typeof given === "object" &&
      given !== null &&
      // Sound: an object, looked at by the names of its fields.
      Object.entries(where).some(([name, value]) => {
        const own = (given as Readonly<Record<string, unknown>>)[name]
        return own !== undefined && own !== value
      })

/** What is written: of an insert the rows, of an update what stands behind its target. */
const written = (name: string, operation: Operation, args: ReadonlyArray<unknown>): ReadonlyArray<unknown> => {
  const [rows] = args
  // What the query gives for a field is not known here: any value may be another one.
  if (isQuery(name, rows)) return [rows.values, Object.fromEntries((rows.fields ?? []).map((field) => [field, unseen]))]
  return operation === "insert" ? args.slice(0, 1) : operation === "update" ? args.slice(1) : []
}

const unseen = Symbol("given by a query")

/** Whether an insert takes its rows from a query; what is the same for all of them stands in its `values` then. */
const isQuery = (name: string, given: unknown): given is Partial<Queried> =>
  name === "insertAll" && typeof given === "object" && given !== null && !Array.isArray(given)

/** Inserted rows get the values that the call is narrowed to. */
const filled = (
  name: string,
  operation: Operation,
  args: ReadonlyArray<unknown>,
  where: Readonly<Record<string, unknown>>
): ReadonlyArray<unknown> => {
  if (operation !== "insert") return args
  const [rows, ...rest] = args
  if (isQuery(name, rows)) return [{ ...rows, values: { ...rows.values, ...where } }, ...rest]
  const fill = (row: unknown) => (typeof row === "object" && row !== null ? { ...row, ...where } : row)
  return [Array.isArray(rows) ? rows.map(fill) : fill(rows), ...rest]
}

const refused = (name: string, table: Any, reason: string): DbError =>
  new DbError({
    operation: `${name} ${table.name}`,
    kind: "refused",
    code: undefined,
    retryable: false,
    reason,
    cause: undefined
  })

/** Runs a call inside of its middleware. */
export const chained = (
  middlewares: ReadonlyArray<Middleware>,
  table: Any,
  name: string,
  args: ReadonlyArray<unknown>,
  call: (table: Any, args: ReadonlyArray<unknown>) => Effect.Effect<unknown, never, never>
): Effect.Effect<unknown> =>
  Effect.withFiberRuntime((fiber) => {
    const { annotations, inHook } = fiber.getFiberRef(hookState)
    const operation = operationOf(name)
    const from = (
      at: number,
      given: ReadonlyArray<unknown>,
      where: Changed["where"]
    ): Effect.Effect<unknown, never, never> => {
      const middleware = middlewares[at]
      if (middleware === undefined)
        return Effect.suspend(() => {
          if (where === undefined) return call(table, given)
          if (strays(written(name, operation, given), where))
            // Sound: every call of the Repo has DbError in its type.
            return Effect.fail(
              refused(
                name,
                table,
                `it is narrowed to rows with a certain ${Object.keys(where).join(", ")}, and writes another`
              )
            ) as Effect.Effect<never, never>
          return call(implementationOf(table).narrowed(where), filled(name, operation, given, where))
        })
      const about: Call = {
        table,
        call: name,
        operation,
        arguments: given,
        annotations,
        inHook,
        refuse: (reason) => Effect.fail(refused(name, table, reason))
      }
      const next = (changed?: Changed): Effect.Effect<unknown, never, never> =>
        Effect.suspend(() => {
          const wrong = contradiction(where, changed?.where)
          if (wrong !== undefined)
            // Sound: every call of the Repo has DbError in its type.
            return Effect.fail(refused(name, table, wrong)) as Effect.Effect<never, never>
          const narrower = changed?.where === undefined ? where : { ...where, ...changed.where }
          return from(at + 1, changed?.arguments ?? given, narrower)
        })
      return middleware.concerns(about)
        ? // Sound: every call of the Repo has DbError in its type.
          (Effect.suspend(() => middleware.around(about, next)) as Effect.Effect<unknown, never, never>)
        : next()
    }
    return from(0, args, undefined)
  })
