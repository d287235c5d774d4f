/** Reads of many rows, of rows that were read already, and of what is worked out from rows: functions of `Repo`. */
import type { SqlError } from "@effect/sql"
import { Effect, Stream } from "effect"
import type { Aggregate, Aggregated, AggregateField } from "./aggregate.js"
import type { Page, PageOptions } from "./paging.js"
import type { InvalidInput, StatementError } from "./RepoError.js"
import {
  type Condition,
  type NoOptions,
  type ReadContext,
  type ReadError,
  type Reloaded,
  Repo,
  useRepo
} from "./repository.js"
import type { CountOptions, StreamOptions } from "./rowlock.js"
import type * as Table from "./Table.js"

/**
 * Rows as the database holds them now, in the order of those that are given: none for one that is gone. One query for all of them, whatever their number
 * and however often one is among them. What was preloaded on them is not there any more. A key that has another spelling by now (citext) is gone.
 *
 * @since 0.1.0
 * @category reading
 */
export const reload = <T extends Table.Any, Rows extends Table.Row<T> | ReadonlyArray<Table.Row<T>>>(
  table: T,
  rows: Rows
): Effect.Effect<Reloaded<T, Rows>, ReadError<T>, Repo | ReadContext<T, NoOptions>> =>
  useRepo((repo) => repo.reload(table, rows))

/**
 * Rows that something else has read, as instances of the table's model: those of a statement of @effect/sql, of a query of `@effect/sql-kysely`, or of any
 * effect that gives rows. Their columns may have the names of the database or of the fields; columns that are no field's are left out. Runs no hooks.
 *
 * @since 0.1.0
 * @category reading
 * @example
 * ```ts
 * import { Model, SqlClient } from "@effect/sql"
 * import { Repo, Table } from "@effecto/core"
 * import { EmbeddedPostgres } from "@effecto/core/testing"
 * import { Effect, Layer, Schema } from "effect"
 *
 * class Person extends Model.Class<Person>("Person")({ id: Schema.Number, firstName: Schema.String }) {
 *   get greeting() {
 *     return `Hello ${this.firstName}`
 *   }
 * }
 *
 * const People = Table.make(Person, { name: "people", key: "id" })
 *
 * const program = Effect.gen(function* () {
 *   const sql = yield* SqlClient.SqlClient
 *   yield* sql`create table people (id int primary key, first_name text not null)`
 *   yield* Repo.insert(People, { id: 1, firstName: "Ada" })
 *   const rows = yield* Repo.decode(People, sql`select *, random() as draw from people order by draw limit 1`)
 *   console.log(rows[0]?.greeting) // Hello Ada
 * })
 *
 * Effect.runPromise(program.pipe(Effect.provide(Repo.layer().pipe(Layer.provide(EmbeddedPostgres)))))
 * ```
 */
export const decode: {
  <T extends Table.Any, E, R>(
    table: T,
    rows: Effect.Effect<ReadonlyArray<object>, E, R>
  ): Effect.Effect<ReadonlyArray<Table.Row<T>>, Exclude<E, SqlError.SqlError> | StatementError, R | Repo>
  <T extends Table.Any>(
    table: T,
    rows: ReadonlyArray<object>
  ): Effect.Effect<ReadonlyArray<Table.Row<T>>, StatementError, Repo>
} = ((table: Table.Any, rows: never) =>
  // Sound: the two signatures are those of the service.
  useRepo((repo) => repo.decode(table, rows))) as never

/**
 * A page of rows, and the cursor for the next one. Where it begins is said by the values of the row before, so rows that others insert or delete do not
 * move it, and the last page costs what the first does; an index on the fields of the order is what makes that cheap. The key completes the order.
 *
 * A cursor that is none, or was made for another order, is `InvalidInput` for the field `after`; it is not signed, and reaches only what `where` lets
 * it. Of a field that holds nulls those come last, and first where it descends.
 *
 * @since 0.1.0
 * @category reading
 * @example
 * ```ts
 * import { Model, SqlClient } from "@effect/sql"
 * import { Repo, Table } from "@effecto/core"
 * import { EmbeddedPostgres } from "@effecto/core/testing"
 * import { Effect, Layer, Option, Schema } from "effect"
 *
 * class Person extends Model.Class<Person>("Person")({ id: Schema.Number, name: Schema.String }) {}
 *
 * const People = Table.make(Person, { name: "people", key: "id" })
 *
 * const program = Effect.gen(function* () {
 *   const sql = yield* SqlClient.SqlClient
 *   yield* sql`create table people (id int primary key, name text not null)`
 *   yield* Repo.insertAll(People, [{ id: 1, name: "Ada" }, { id: 2, name: "Grace" }, { id: 3, name: "Barbara" }])
 *   const first = yield* Repo.page(People, { first: 2, orderBy: [["name", "desc"]], total: true })
 *   console.log(first.rows.map(({ name }) => name), Option.getOrNull(first.total)) // [ 'Grace', 'Barbara' ] 3
 *   const after = Option.getOrUndefined(first.next)
 *   const second = yield* Repo.page(People, { first: 2, orderBy: [["name", "desc"]], after })
 *   console.log(second.rows.map(({ name }) => name), second.next._tag) // [ 'Ada' ] None
 * })
 *
 * Effect.runPromise(program.pipe(Effect.provide(Repo.layer().pipe(Layer.provide(EmbeddedPostgres)))))
 * ```
 */
export const page = <T extends Table.Any>(
  table: T,
  options: PageOptions<T>
): Effect.Effect<Page<Table.Row<T>>, InvalidInput<T["name"]> | ReadError<T>, Repo | ReadContext<T, NoOptions>> =>
  useRepo((repo) => repo.page(table, options))

/**
 * One value over all rows, or those that a condition holds for; nulls do not count. `"count"` is a number; the others are none where there is no value, as of
 * no rows. `"min"` and `"max"` are what the field holds. A `"sum"` is exact: of numbers it is a number, and fails with `DbError` where that cannot hold it;
 * of bigints and decimals it is one of those. An `"avg"` is the nearest number, and of decimals a decimal. Runs no hooks.
 *
 * @since 0.1.0
 * @category reading
 */
export const aggregate = <T extends Table.Any, A extends Aggregate, Field extends AggregateField<T, A>>(
  table: T,
  aggregate: A,
  field: Field,
  condition?: Condition<T>,
  options?: CountOptions
): Effect.Effect<Aggregated<T, A, Field & keyof Table.Row<T>>, StatementError, Repo> =>
  useRepo((repo) => repo.aggregate(table, aggregate, field, condition, options))

/**
 * All rows, or those that a condition holds for, some at a time: a table of any size takes the same memory. Inside of a transaction they come from a
 * cursor, 500 at a time (`chunkSize` says otherwise), and other statements of the transaction fit in between. Outside the stream has a transaction of its own, on a connection that goes
 * back to the pool when it ends, fails or is interrupted; while it waits for who reads it, that one is idle in PostgreSQL's eyes.
 *
 * `afterGet` runs once for each chunk that is read.
 *
 * @since 0.1.0
 * @category reading
 * @example
 * ```ts
 * import { Model, SqlClient } from "@effect/sql"
 * import { Repo, Table } from "@effecto/core"
 * import { EmbeddedPostgres } from "@effecto/core/testing"
 * import { Effect, Layer, Schema, Stream } from "effect"
 *
 * class Person extends Model.Class<Person>("Person")({ id: Schema.Number, seen: Schema.Boolean }) {}
 *
 * const People = Table.make(Person, { name: "people", key: "id" })
 *
 * const program = Effect.gen(function* () {
 *   const sql = yield* SqlClient.SqlClient
 *   yield* sql`create table people as select id, false as seen from generate_series(1, 3) as id`
 *   yield* Repo.stream(People, { seen: false }).pipe(
 *     Stream.runForEach((person) => Repo.update(People, person, { seen: true })),
 *     Repo.transact()
 *   )
 *   console.log(yield* Repo.count(People, { seen: true })) // 3
 * })
 *
 * Effect.runPromise(program.pipe(Effect.provide(Repo.layer().pipe(Layer.provide(EmbeddedPostgres)))))
 * ```
 */
export const stream = <T extends Table.Any>(
  table: T,
  condition?: Condition<T>,
  options?: StreamOptions
): Stream.Stream<Table.Row<T>, ReadError<T>, Repo | ReadContext<T, NoOptions>> =>
  Stream.unwrap(Effect.map(Repo, (repo) => repo.stream(table, condition, options)))
