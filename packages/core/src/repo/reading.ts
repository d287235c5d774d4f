/** Reads of a Repo, by key and by condition: with their locks, their hooks and what belongs to their rows. */
import { type SqlError, Statement } from "@effect/sql"
import { Effect, Exit, Option } from "effect"
import { Batching } from "./batching.js"
import { quoted } from "./columnnames.js"
import { type Asked, asked, equalities, misfitIn } from "./condition.js"
import type { Answer } from "./connection.js"
import type { Database } from "./database.js"
import { frameOf } from "./frame.js"
import { choosing, hooksOf, throughAfter } from "./hookrun.js"
import { preload, type Reading } from "./preload.js"
import {
  type InvalidInput,
  type LockTimeout,
  MultipleResults,
  type StatementError,
  TransactionClosed
} from "./RepoError.js"
import type { Service } from "./repository.js"
import { bounded, type CountOptions, lockText, type ReadOptions } from "./rowlock.js"
import { statementError } from "./sqlstate.js"
import type { Any } from "./Table.js"
import { implementationOf, type TableImplementation } from "./tableimplementation.js"
import type { Reads } from "./tableplan.js"
import { decoded } from "./writing.js"

/** What a read can fail with. */
type ReadFailure = StatementError | LockTimeout | InvalidInput

/** Rows that are not deleted, or all of them. */
export const readsOf = (table: TableImplementation, options: CountOptions | undefined): Reads =>
  options?.withDeleted === true ? table.plan.withDeleted : table.plan

/** The fields that a condition is about, as errors name them. */
export const fieldsOf = (condition: unknown): ReadonlyArray<string> =>
  typeof condition === "object" && condition !== null && !Statement.isFragment(condition)
    ? Object.keys(condition)
    : ["condition"]

/** Runs a call inside of the middleware that stands around it. */
export type AroundCall = (
  name: string,
  table: Any,
  rest: ReadonlyArray<unknown>,
  call: (...all: ReadonlyArray<unknown>) => Effect.Effect<unknown>
) => Effect.Effect<unknown>

/** The reads of one Repo, which hooks are given. */
export const readingOf = (database: Database, service: () => Service, around: AroundCall) => {
  const batching = new Batching(database)

  const read = (
    table: TableImplementation,
    text: string,
    parameters: ReadonlyArray<unknown>,
    prepared: boolean
  ): Effect.Effect<ReadonlyArray<object>, StatementError> =>
    answered(table, database.query(text, parameters, table.plan.source, prepared, true))

  const answered = (
    table: TableImplementation,
    answer: Effect.Effect<Answer, SqlError.SqlError>
  ): Effect.Effect<ReadonlyArray<object>, StatementError> =>
    Effect.matchEffect(answer, {
      onFailure: (error) => Effect.fail(statementError(error, `read ${table.name}`)),
      onSuccess: (answer) => decoded(table, answer)
    })

  /** Rows, after their hooks. */
  const hooked = <E>(
    table: TableImplementation,
    rows: Effect.Effect<ReadonlyArray<object>, E>,
    call: string,
    source: unknown,
    about: { readonly options?: object | undefined; readonly record?: unknown }
  ): Effect.Effect<ReadonlyArray<object>, E> => {
    const hooks = hooksOf(table, "get")
    if (hooks === undefined) return rows
    return Effect.flatMap(rows, (read) => {
      if (read.length === 0) return Effect.succeed(read)
      const { options, record } = about
      const queryable = record === undefined ? source : undefined
      const told = { table, operation: "get" as const, call, source, queryable, options, record }
      return choosing(
        hooks,
        // Sound: afterGet gives rows.
        (chosen) =>
          Effect.withFiberRuntime(
            (fiber) =>
              throughAfter(fiber, service(), chosen, read, undefined, told) as Effect.Effect<ReadonlyArray<object>>
          ),
        Effect.succeed(read)
      )
    })
  }

  /** A read that may lock what it reads: then there has to be a transaction to hold the locks. */
  const locking = (
    table: TableImplementation,
    text: string,
    parameters: ReadonlyArray<unknown>,
    options: ReadOptions | undefined,
    prepared: boolean,
    /** What is to stand behind the lock. */
    behind = ""
  ): Effect.Effect<ReadonlyArray<object>, StatementError | LockTimeout> => {
    const lock = lockText(table.name, options)
    if (lock === undefined) return read(table, `${text}${behind}`, parameters, prepared)
    return Effect.withFiberRuntime((fiber) => {
      const frame = frameOf(fiber.currentContext, database.client)
      return frame?.isOpen === true
        ? bounded(
            database,
            options?.wait,
            `rows of ${table.name}`,
            read(table, `${text}${lock}${behind}`, parameters, prepared)
          )
        : Effect.fail(
            new TransactionClosed({
              operation: `lock rows of ${table.name}`,
              reason: frame === undefined ? "none" : "ended"
            })
          )
    })
  }

  /** No row can match, whatever there is; an option that does not exist is refused all the same. */
  const nothing = (table: TableImplementation, options: ReadOptions | undefined) => {
    lockText(table.name, options)
    return Effect.succeed<ReadonlyArray<object>>([])
  }

  const byKey = (table: TableImplementation, key: unknown, call: string, options?: ReadOptions) => {
    const onSuccess = (encoded: ReadonlyArray<unknown>) =>
      associated(table, hooked(table, atKey(table, encoded, options), call, key, { options }), options)
    const encoded = table.plan.encodeKey(key)
    // Nearly all are encoded at once. Sound: what an effect that is over gave is what it was to give.
    if (Exit.isExit(encoded) && Exit.isSuccess(encoded)) return onSuccess(encoded.value as ReadonlyArray<unknown>)
    return Effect.matchEffect(encoded, {
      onFailure: (invalid): Effect.Effect<ReadonlyArray<object>, InvalidInput> =>
        options?.strict === true ? Effect.fail(invalid) : nothing(table, options),
      onSuccess
    })
  }

  /** The row of a key: alone, or with those of others who ask at the same time. */
  const atKey = (
    table: TableImplementation,
    key: ReadonlyArray<unknown>,
    options: ReadOptions | undefined
  ): Effect.Effect<ReadonlyArray<object>, StatementError | LockTimeout> =>
    Effect.withFiberRuntime((fiber) => {
      const reads = readsOf(table, options)
      return batching.takes(fiber, table, key) && lockText(table.name, options) === undefined
        ? batching.get(fiber, table, reads, key[0], () => read(table, reads.getText, key, true))
        : locking(table, reads.getText, key, options, true)
    })

  /** Rows with what is to be loaded with them. Their own hooks have run already. */
  const associated = <E>(
    table: TableImplementation,
    rows: Effect.Effect<ReadonlyArray<object>, E>,
    options: ReadOptions | undefined
  ): Effect.Effect<ReadonlyArray<object>, E | StatementError> => {
    const wanted = options?.preload
    return wanted === undefined
      ? rows
      : Effect.flatMap(rows, (found) =>
          preload(
            {
              find: forPreload.find,
              hook: (target, some) => (some === found ? Effect.succeed(some) : forPreload.hook(target, some))
            },
            table,
            found,
            wanted
          )
        )
  }

  const byCondition = (
    table: TableImplementation,
    condition: unknown,
    call: string,
    options: ReadOptions | undefined,
    limit: string
  ): Effect.Effect<ReadonlyArray<object>, ReadFailure> =>
    Effect.flatMap(
      asked(database.client, table, condition),
      (where): Effect.Effect<ReadonlyArray<object>, ReadFailure> => {
        if (where === undefined) {
          const misfit = options?.strict === true ? misfitIn(table, condition) : undefined
          return misfit === undefined ? nothing(table, options) : Effect.fail(misfit)
        }
        const isFragment = Statement.isFragment(condition)
        const text = `${readsOf(table, options).selectText}${where.text}`
        // A fragment may end in an order and a limit of its own.
        const isInner = isFragment && limit !== ""
        const rows = isInner
          ? locking(
              table,
              `select * from (${text}`,
              where.parameters,
              options,
              false,
              `) as ${quoted(table.name)}${limit}`
            )
          : locking(table, text, where.parameters, options, !isFragment, limit)
        return associated(table, hooked(table, rows, call, condition ?? table, { options }), options)
      }
    )

  /** At most one row. */
  const single = (table: TableImplementation, condition: unknown, call: string, options: ReadOptions | undefined) =>
    Effect.flatMap(byCondition(table, condition, call, options, " limit 2"), (rows) =>
      rows.length > 1
        ? Effect.fail(new MultipleResults({ table: table.name, fields: fieldsOf(condition) }))
        : Effect.succeed(Option.fromNullable(rows[0]))
    )

  const forPreload: Reading = {
    find: (table, field, values) => {
      const given = { [field]: values }
      return Effect.flatMap(
        equalities(table, given),
        (where) =>
          where === undefined
            ? Effect.succeed([])
            : around("preload", table, [given], (narrowed, condition) => {
                // Sound: the table, or the same one narrowed.
                const self = implementationOf(narrowed as Any)
                const from = (chosen: Asked | undefined) =>
                  chosen === undefined
                    ? Effect.succeed([])
                    : read(
                        self,
                        `${self.plan.selectText}${chosen.text}`,
                        chosen.parameters,
                        !Statement.isFragment(condition)
                      )
                // Unless a middleware gave another one.
                const found =
                  condition === given ? from(where) : Effect.flatMap(asked(database.client, self, condition), from)
                // Sound: what fails here is in the type of the preload.
                return found as Effect.Effect<unknown>
              })
        // Sound: rows, whatever middleware stands around.
      ) as Effect.Effect<ReadonlyArray<object>>
    },
    hook: (table, rows) => hooked(table, Effect.succeed(rows), "preload", rows, { record: rows })
  }

  return { byCondition, byKey, forPreload, hooked, read, single }
}
