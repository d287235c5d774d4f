/** Writes of a Repo between their hooks, in one transaction. */
import { Effect } from "effect"
import type { Bulk } from "./bulk.js"
import { operationOf } from "./chain.js"
import type { Database } from "./database.js"
import type { Call } from "./delta.js"
import { choosing, type Hooks, hooksOf, noteChange, throughAfter, throughBefore, together } from "./hookrun.js"
import { DbError, type StatementError } from "./RepoError.js"
import type { Service } from "./repository.js"
import { isRow, keyOf } from "./rowkey.js"
import type { Operation } from "./Table.js"
import type { TableImplementation } from "./tableimplementation.js"
import { commitError, type writeError } from "./violation.js"

const unseen = (table: TableImplementation) =>
  new DbError({
    operation: `insert into ${table.name}`,
    kind: "refused",
    code: undefined,
    retryable: false,
    reason:
      "the table has a hook beforeInsertAll, and the rows of a query cannot be shown to it before they are inserted. Read them and insert them, or use Repo.disableHooks",
    cause: undefined
  })

type Read = (
  table: TableImplementation,
  text: string,
  parameters: ReadonlyArray<unknown>,
  prepared: boolean
) => Effect.Effect<ReadonlyArray<object>, StatementError>

/** The writes of one Repo, which hooks are given. */
export const hookedWrites = (database: Database, service: () => Service, read: Read) => {
  /** The row as it is before it is changed, locked so that it stays so. */
  const oldOf = (table: TableImplementation, target: unknown): Effect.Effect<object | undefined, StatementError> =>
    Effect.matchEffect(table.plan.encodeKey(keyOf(table, target)), {
      onFailure: () => Effect.succeed(undefined),
      onSuccess: (encoded) =>
        Effect.map(read(table, `${table.plan.getText} for no key update`, encoded, true), (rows) => rows[0])
    })

  /** A write between its hooks, in one transaction; without hooks it is only the write. */
  const withHooks = <E>(
    table: TableImplementation,
    operation: Exclude<Operation, "get">,
    verb: string,
    input: unknown,
    source: unknown,
    statement: (input: unknown) => Effect.Effect<object, E>,
    /** Whether it may come to nothing, and the hooks with it, without having failed. */
    mayBeSkipped = false
  ): Effect.Effect<object, E | ReturnType<typeof writeError>> => {
    const hooks = hooksOf(table, operation)
    if (hooks === undefined) return statement(input)
    const given = operation !== "insert" && isRow(table, source) ? source : undefined
    const hooked = (chosen: Hooks) => {
      let about: Call = { table, operation, call: operation, source, record: given, old: given }
      // Sound: what is written is an object of fields.
      const changesetOf = (prepared: unknown) => (operation === "delete" ? undefined : (prepared as object))
      return together<object, E | StatementError, ReturnType<typeof writeError>>(
        database,
        mayBeSkipped ? { ...chosen, savepoint: true } : chosen,
        {
          before: (fiber, guarded) =>
            chosen.loadsOld
              ? Effect.flatMap(oldOf(table, source), (old) => {
                  about = { ...about, old }
                  return throughBefore(fiber, service(), chosen, input, about, guarded)
                })
              : throughBefore(fiber, service(), chosen, input, about, guarded),
          statement,
          isOneStatement: true,
          after: (fiber, row, prepared, guarded) => {
            const changeset = changesetOf(prepared)
            if (chosen.commit.length > 0) noteChange(fiber, database, service(), chosen, row, changeset, about)
            // Sound: hooks after a write give a row.
            return throughAfter(fiber, service(), chosen, row, changeset, about, guarded) as Effect.Effect<object>
          }
        },
        (failure) => commitError(table, verb, failure)
      )
    }
    return choosing(
      hooks,
      hooked,
      Effect.suspend(() => statement(input))
    )
  }

  /** A write of many rows between the hooks that are about such, in one transaction. */
  const manyWithHooks = <E>(
    table: TableImplementation,
    call: "insertAll" | "updateAll" | "deleteAll",
    input: unknown,
    about: { readonly source: unknown; readonly queryable?: unknown; readonly record?: unknown },
    options: Bulk | undefined,
    statement: (input: unknown, options: Bulk | undefined) => Effect.Effect<ReadonlyArray<object> | number, E>
  ): Effect.Effect<ReadonlyArray<object> | number, E | ReturnType<typeof writeError>> => {
    const hooks = hooksOf(table, call)
    if (hooks === undefined) return statement(input, options)
    const operation = operationOf(call)
    const told = { ...about, table, operation, call, options }
    const verb = operation === "insert" ? "insert into" : operation === "update" ? "update" : "delete from"
    const hooked = (chosen: Hooks) => {
      const needsRows = chosen.after.length + chosen.commit.length > 0
      return together<ReadonlyArray<object> | number, E, ReturnType<typeof writeError>>(
        database,
        chosen,
        {
          before: (fiber, guarded) =>
            call === "insertAll" && chosen.before.length > 0 && !Array.isArray(input)
              ? // Sound: every call of the Repo has DbError in its type.
                (Effect.fail(unseen(table)) as Effect.Effect<never, never>)
              : throughBefore(fiber, service(), chosen, input, told, guarded),
          statement: (prepared) => statement(prepared, needsRows ? { ...options, returning: true } : options),
          isOneStatement: false,
          after: (fiber, rows, prepared, guarded) => {
            // It was asked to give them.
            if (typeof rows === "number") return Effect.succeed(rows)
            // Sound: what is changed is an object of fields.
            const changeset = call === "updateAll" ? (prepared as object) : undefined
            if (chosen.commit.length > 0)
              for (const row of rows) noteChange(fiber, database, service(), chosen, row, changeset, told)
            // Sound: hooks after a write of many rows give rows.
            const after = throughAfter(fiber, service(), chosen, rows, changeset, told, guarded) as Effect.Effect<
              ReadonlyArray<object>
            >
            return Effect.map(after, (all) => (options?.returning === true ? all : rows.length))
          }
        },
        (failure) => commitError(table, verb, failure)
      )
    }
    return choosing(
      hooks,
      hooked,
      Effect.suspend(() => statement(input, options))
    )
  }

  return { manyWithHooks, withHooks }
}
