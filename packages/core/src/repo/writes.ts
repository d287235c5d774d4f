/** Writes of rows that are there, and of many rows: functions of `Repo`. */
import type { Effect } from "effect"
import type { ConflictTarget, OnConflict } from "./onconflict.js"
import type { QueryRows } from "./queryrows.js"
import type { InvalidInput, NotFound, StatementError } from "./RepoError.js"
import {
  type BulkOptions,
  type ChangedRow,
  type ChangeOptions,
  type InsertAllOptions,
  type ModifyContext,
  type ModifyError,
  type ModifyOptions,
  type NoOptions,
  type Only,
  type Predicate,
  type Repo,
  type StaleError,
  useRepo,
  type WriteError,
  type Written
} from "./repository.js"
import type * as Table from "./Table.js"

/**
 * Changes the given fields of one row, named by its key or by the row itself, and returns the row as the database holds it then. Fails with
 * `NotFound` when it is gone. A patch without fields changes nothing and runs no hooks, `afterGet` neither: a row is returned as it was given, without any
 * statement; for a key the row is read. With `{ allowStale: true }` a row that is gone, or was changed by somebody else, is none instead of a failure.
 *
 * @since 0.1.0
 * @category writing
 */
export const update = <T extends Table.Any, const O extends Only<O, ChangeOptions> = NoOptions>(
  table: T,
  target: Table.Key<T> | Table.Row<T>,
  patch: Table.Update<T>,
  options?: O
): Effect.Effect<
  ChangedRow<T, O>,
  StaleError<T, O> | InvalidInput<T["name"]> | WriteError<T, "update">,
  Repo | Table.HookContext<T, "update">
> => useRepo((repo) => repo.update(table, target, patch, options))

const remove = <T extends Table.Any, const O extends Only<O, ChangeOptions> = NoOptions>(
  table: T,
  target: Table.Key<T> | Table.Row<T>,
  options?: O
): Effect.Effect<ChangedRow<T, O>, StaleError<T, O> | WriteError<T, "delete">, Repo | Table.HookContext<T, "delete">> =>
  useRepo((repo) => repo.delete(table, target, options))

export {
  /**
   * Deletes one row, named by its key or by the row itself, and returns what it held. Fails with `NotFound` when there is none, and with `StaleRow` when
   * it is given a row of a table with a version and somebody else has changed that row since. In a table with `softDelete` the row is only marked. With
   * `{ allowStale: true }` a row that is gone, or was changed by somebody else, is none instead of a failure.
   *
   * @since 0.1.0
   * @category writing
   */
  remove as delete
}

/**
 * Brings back a row that was deleted softly, as `Table.make`'s `softDelete` has it. Fails with `NotFound` when there is none, or it is not deleted. Runs no
 * hooks.
 *
 * @since 0.1.0
 * @category writing
 */
export const restore = <T extends Table.SoftlyDeleted>(
  table: T,
  target: Table.Key<T> | Table.Row<T>
): Effect.Effect<Table.Row<T>, NotFound<T["name"]> | Table.ConstraintError<T> | StatementError, Repo> =>
  useRepo((repo) => repo.restore(table, target))

/**
 * Changes a row by what it holds: reads it under a lock (`for no key update`), hands it to a function and writes the fields that gives, all in one transaction
 * (a savepoint, if one is open). Nobody else's change gets lost. A patch without fields changes nothing, and a failure rolls back. The function runs in
 * the transaction, while others wait for the row. The hooks of a read and of an update run.
 *
 * `wait` says for how long to wait for the row; then it fails with `LockTimeout`.
 *
 * @since 0.1.0
 * @category writing
 * @example
 * ```ts
 * import { Model, SqlClient } from "@effect/sql"
 * import { Repo, Table } from "@effecto/core"
 * import { EmbeddedPostgres } from "@effecto/core/testing"
 * import { Effect, Layer, Schema } from "effect"
 *
 * class Account extends Model.Class<Account>("Account")({ id: Schema.Number, balance: Schema.Number }) {}
 *
 * const Accounts = Table.make(Account, { name: "accounts", key: "id" })
 *
 * const withdraw = (id: number, amount: number) =>
 *   Repo.modify(Accounts, id, ({ balance }) =>
 *     balance < amount ? Effect.fail("not enough" as const) : Effect.succeed({ balance: balance - amount })
 *   )
 *
 * const program = Effect.gen(function* () {
 *   const sql = yield* SqlClient.SqlClient
 *   yield* sql`create table accounts (id int primary key, balance int not null)`
 *   yield* Repo.insert(Accounts, { id: 1, balance: 10 })
 *   const all = yield* Effect.all([withdraw(1, 4), withdraw(1, 4), withdraw(1, 4)].map(Effect.either), { concurrency: 3 })
 *   console.log(all.map(({ _tag }) => _tag).sort().join()) // Left,Right,Right
 *   console.log((yield* Repo.fetch(Accounts, 1)).balance) // 2
 * })
 *
 * Effect.runPromise(program.pipe(Effect.provide(Repo.layer().pipe(Layer.provide(EmbeddedPostgres)))))
 * ```
 */
export const modify = <T extends Table.Any, E, R, const O extends Only<O, ModifyOptions> = NoOptions>(
  table: T,
  key: Table.Key<T>,
  change: (row: Table.Row<T>) => Effect.Effect<Table.Update<T>, E, R>,
  options?: O
): Effect.Effect<Table.Row<T>, E | ModifyError<T, O>, Repo | ModifyContext<T, R>> =>
  useRepo((repo) => repo.modify(table, key, change, options))

/**
 * Inserts a row, or changes the one that is there already: `Repo.insert` with an `onConflict` that replaces. `target` are the fields of the unique index
 * or constraint that tells whether it is there, or another {@link ConflictTarget}; `action` is `"replace"` unless it names the fields to take over, or to keep. The hooks of an insert run.
 *
 * @since 0.1.0
 * @category writing
 */
export const upsert = <T extends Table.Any>(
  table: T,
  row: Table.Insert<T>,
  conflict: Replacing<T>
): Effect.Effect<
  Table.Row<T>,
  InvalidInput<T["name"]> | WriteError<T, "insert">,
  Repo | Table.HookContext<T, "insert">
> =>
  useRepo((repo) => {
    // Sound: with an action that replaces, the result is the row.
    const onConflict = { action: "replace", ...conflict } as unknown as OnConflict<T>
    return repo.insert(table, row, { onConflict }) as Effect.Effect<
      Table.Row<T>,
      InvalidInput<T["name"]> | WriteError<T, "insert">,
      Table.HookContext<T, "insert">
    >
  })

/** A conflict that is answered by replacing. */
type Replacing<T extends Table.Any> = {
  readonly target: ConflictTarget<T>
  readonly action?: Exclude<OnConflict<T>["action"], "nothing">
}

/**
 * Inserts many rows, with as few statements as there may be (2,000 rows and 65,535 values in each) and in one transaction: all of them or none. Says how
 * many, or with `returning` gives them back as the database holds them, in their order. A row may lack fields that have a default, whatever the others have.
 *
 * A value that does not fit its field is `InvalidInput`, and then nothing is sent. `onConflict` is that of {@link insert}; rows that met one with
 * `"nothing"` are neither counted nor given back. Where it replaces, rows with the same fields share statements, so that what a row was not given stays;
 * two rows for one that is there are written in no order, or refused by PostgreSQL.
 *
 * Instead of rows it takes a query ({@link QueryRows}), whose rows are inserted by one statement (`insert … select`) and never come here: so nothing of them is
 * checked against the model, and with a hook `beforeInsertAll` it is refused (`DbError`).
 *
 * Hooks of single rows do not run; those of the many (`beforeInsertAll` and its like) do, and it is announced in any case.
 *
 * @since 0.1.0
 * @category writing many
 * @example
 * ```ts
 * import { Model, SqlClient } from "@effect/sql"
 * import { Repo, Table } from "@effecto/core"
 * import { EmbeddedPostgres } from "@effecto/core/testing"
 * import { Effect, Layer, Schema } from "effect"
 *
 * class Person extends Model.Class<Person>("Person")({ id: Schema.Number, city: Schema.String }) {}
 *
 * const People = Table.make(Person, { name: "people", key: "id" })
 *
 * const program = Effect.gen(function* () {
 *   const sql = yield* SqlClient.SqlClient
 *   yield* sql`create table people (id int primary key, city text not null)`
 *   const rows = Array.from({ length: 5000 }, (_, id) => ({ id, city: id % 2 === 0 ? "Berlin" : "Paris" }))
 *   console.log(yield* Repo.insertAll(People, rows)) // 5000
 *   console.log(yield* Repo.updateAll(People, { city: "Paris" }, { city: "Lyon" })) // 2500
 *   console.log(yield* Repo.deleteAll(People, sql`id < ${4000}`)) // 4000
 *   const left = yield* Repo.deleteAll(People, Repo.everything, { returning: true })
 *   console.log(left.length) // 1000
 * })
 *
 * Effect.runPromise(program.pipe(Effect.provide(Repo.layer().pipe(Layer.provide(EmbeddedPostgres)))))
 * ```
 */
export const insertAll = <T extends Table.Any, const O extends Only<O, InsertAllOptions<T>> = NoOptions>(
  table: T,
  rows: ReadonlyArray<Table.Insert<T>> | QueryRows<T>,
  options?: O
): Effect.Effect<
  Written<T, O>,
  InvalidInput<T["name"]> | Table.ConstraintError<T> | StatementError | Table.HookError<T, "insertAll">,
  Repo | Table.HookContext<T, "insertAll">
> => useRepo((repo) => repo.insertAll(table, rows, options))

/**
 * Changes the given fields of all rows that a condition holds for, in one statement: equalities of one field at least, a fragment, or `Repo.everything`.
 * Says how many, or with `returning` gives them back. Fields that the model makes on every update are written, and versions go up; rows that are deleted
 * softly stay as they are. Hooks of single rows do not run; those of the many (`beforeInsertAll` and its like) do, and it is announced in any case.
 *
 * @since 0.1.0
 * @category writing many
 */
export const updateAll = <T extends Table.Any, const O extends Only<O, BulkOptions> = NoOptions>(
  table: T,
  condition: Predicate<T>,
  patch: Table.Update<T>,
  options?: O
): Effect.Effect<
  Written<T, O>,
  InvalidInput<T["name"]> | Table.ConstraintError<T> | StatementError | Table.HookError<T, "updateAll">,
  Repo | Table.HookContext<T, "updateAll">
> => useRepo((repo) => repo.updateAll(table, condition, patch, options))

/**
 * Deletes all rows that a condition holds for, in one statement, or marks them in a table with `softDelete`. Takes and gives what {@link updateAll}
 * does. Hooks of single rows do not run; those of the many (`beforeInsertAll` and its like) do, and it is announced in any case.
 *
 * @since 0.1.0
 * @category writing many
 */
export const deleteAll = <T extends Table.Any, const O extends Only<O, BulkOptions> = NoOptions>(
  table: T,
  condition: Predicate<T>,
  options?: O
): Effect.Effect<
  Written<T, O>,
  Table.ConstraintError<T> | StatementError | Table.HookError<T, "deleteAll">,
  Repo | Table.HookContext<T, "deleteAll">
> => useRepo((repo) => repo.deleteAll(table, condition, options))
