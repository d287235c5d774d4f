/** The Repo's service: its tag, and what it promises. */
import type { Statement } from "@effect/sql"
import { Context, type Effect, type Option } from "effect"
import type { Transaction } from "./frame.js"
import type { InvalidInput, NotFound, StatementError } from "./RepoError.js"
import type * as Table from "./Table.js"
import type { TransactError, TransactOptions } from "./transact.js"

/**
 * Equalities that all have to hold: a field with its value, with `null`, or with a list of values of which one has to match.
 *
 * @since 0.1.0
 * @category models
 */
export type Where<T extends Table.Any> = {
  readonly [Field in keyof Table.Row<T>]?: Table.Row<T>[Field] | ReadonlyArray<Table.Row<T>[Field]> | null
}

/**
 * What rows are asked for: equalities, or the text behind `where` as a fragment of @effect/sql.
 *
 * @since 0.1.0
 * @category models
 */
export type Condition<T extends Table.Any> = Where<T> | Statement.Fragment

/** What reading a table can fail with. */
export type ReadError<T extends Table.Any> = StatementError | Table.HookError<T, "get">

/** What writing to a table can fail with. */
export type WriteError<T extends Table.Any, O extends Table.Operation> =
  | Table.ConstraintError<T>
  | StatementError
  | Table.HookError<T, O>

/**
 * The Repo's functions, for one database.
 *
 * @since 0.1.0
 * @category models
 */
export interface Service {
  readonly get: <T extends Table.Any>(
    table: T,
    key: Table.Key<T>
  ) => Effect.Effect<Option.Option<Table.Row<T>>, ReadError<T>, Table.HookContext<T, "get">>

  readonly fetch: <T extends Table.Any>(
    table: T,
    key: Table.Key<T>
  ) => Effect.Effect<Table.Row<T>, NotFound<T["name"]> | ReadError<T>, Table.HookContext<T, "get">>

  readonly all: <T extends Table.Any>(
    table: T,
    condition?: Condition<T>
  ) => Effect.Effect<ReadonlyArray<Table.Row<T>>, ReadError<T>, Table.HookContext<T, "get">>

  readonly count: <T extends Table.Any>(table: T, condition?: Condition<T>) => Effect.Effect<number, StatementError>

  readonly insert: <T extends Table.Any>(
    table: T,
    row: Table.Insert<T>
  ) => Effect.Effect<Table.Row<T>, InvalidInput<T["name"]> | WriteError<T, "insert">, Table.HookContext<T, "insert">>

  readonly update: <T extends Table.Any>(
    table: T,
    target: Table.Key<T> | Table.Row<T>,
    patch: Table.Update<T>
  ) => Effect.Effect<
    Table.Row<T>,
    NotFound<T["name"]> | InvalidInput<T["name"]> | WriteError<T, "update">,
    Table.HookContext<T, "update">
  >

  readonly delete: <T extends Table.Any>(
    table: T,
    target: Table.Key<T> | Table.Row<T>
  ) => Effect.Effect<Table.Row<T>, NotFound<T["name"]> | WriteError<T, "delete">, Table.HookContext<T, "delete">>

  readonly transact: <A, E, R>(
    self: Effect.Effect<A, E, R>,
    options?: TransactOptions
  ) => Effect.Effect<A, E | TransactError, Exclude<R, Transaction>>
}

/**
 * The Repo of one database, in an effect's context. `Repo.layer` provides it.
 *
 * @since 0.1.0
 * @category tags
 */
export class Repo extends Context.Tag("@effecto/core/Repo")<Repo, Service>() {}
