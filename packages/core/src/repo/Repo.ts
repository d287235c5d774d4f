/**
 * Reads and writes the rows of tables, as instances of their models.
 *
 * Every function takes the table first. `get` answers with an Option, `fetch` fails with `NotFound`. Whatever a caller can act on is a typed error. A
 * statement runs in the transaction its fiber is in, or else on its own.
 *
 * `layer` also provides a `SqlClient`: the one it is given, with `withTransaction` replaced by {@link transact}, so statements written by hand belong
 * to the same transactions. When that client is a `PgClient`, it is provided under that tag too.
 *
 * It is *not* a unit of work and has no identity map: two reads of one row are two statements and two instances.
 *
 * @since 0.1.0
 */
import { SqlClient } from "@effect/sql"
import { Effect, Layer, type Option } from "effect"
import { CurrentInstance } from "../supervision/currentinstance.js"
import type { Associations } from "./association.js"
import type { Transaction } from "./frame.js"
import { provided } from "./provided.js"
import type { InvalidInput, MultipleResults, NotFound, StatementError } from "./RepoError.js"
import {
  type Condition,
  type Found,
  type Inserted,
  type InsertOptions,
  type NoOptions,
  type Only,
  type PreloadContext,
  type PreloadError,
  type Preloaded,
  type ReadContext,
  type ReadFailure,
  type Repo,
  useRepo,
  type Where,
  type WriteError
} from "./repository.js"
import type { CountOptions, ReadOptions } from "./rowlock.js"
import type * as Table from "./Table.js"
import type { TimeoutError, TransactError, TransactionDefaults, TransactOptions } from "./transact.js"

export type { Aggregate, Aggregated, AggregateField } from "./aggregate.js"
export { withBatching } from "./batching.js"
export { type Everything, everything } from "./bulk.js"
export type { Around, Call, Changed } from "./chain.js"
export { annotate, disableHooks, enableHooks, hooksEnabled, inHook } from "./hookstate.js"
export { middleware } from "./middleware.js"
export type { ConflictTarget, OnConflict } from "./onconflict.js"
export type { OrderBy, Page, PageOptions } from "./paging.js"
export type { QueryRows } from "./queryrows.js"
export { aggregate, decode, page, reload, stream } from "./reads.js"
export type {
  BulkOptions,
  ChangedRow,
  ChangeOptions,
  Condition,
  Found,
  InsertAllOptions,
  Inserted,
  InsertOptions,
  ModifyContext,
  ModifyError,
  ModifyOptions,
  NoOptions,
  Only,
  Predicate,
  PreloadContext,
  PreloadError,
  Preloaded,
  Reached,
  ReadContext,
  ReadError,
  ReadFailure,
  Reloaded,
  Service,
  StaleError,
  Where,
  WriteError,
  Written
} from "./repository.js"
export {
  /**
   * The Repo of one database, in an effect's context.
   *
   * @since 0.1.0
   * @category tags
   */
  Repo
} from "./repository.js"
export type {
  CountOptions,
  LockContext,
  LockError,
  ReadOptions,
  RowLock,
  StreamOptions,
  StrictError,
  Wait
} from "./rowlock.js"
export { sandbox } from "./sandbox.js"
export {
  /**
   * The number of statements sent to PostgreSQL since the process began, `begin` and `commit` included: `Metric.value(Repo.queries)`.
   *
   * @since 0.1.0
   * @category metrics
   */
  queries,
  /**
   * The number of statements about one table; `"transaction"`, `"lock"` and `"sql"` (written by hand) are sources too.
   *
   * @since 0.1.0
   * @category metrics
   */
  queriesOf
} from "./statementlog.js"
export {
  /**
   * How long it took to make rows of what PostgreSQL answered, in milliseconds. The span of a call has it as `effecto.repo.decode_ms`.
   *
   * @since 0.1.0
   * @category metrics
   */
  decodeTime,
  /**
   * How long statements took from being sent until they were answered, in milliseconds; not those that were interrupted. The span of a call has the
   * sum of its statements as `effecto.repo.query_ms`.
   *
   * @since 0.1.0
   * @category metrics
   */
  queryTime,
  /**
   * How long statements waited for a connection of the pool, or for their turn in a transaction, in milliseconds. The span of a call has the sum of its
   * statements as `effecto.repo.queue_ms`.
   *
   * @since 0.1.0
   * @category metrics
   */
  queueTime
} from "./statementtimes.js"
export { delete, deleteAll, insertAll, modify, restore, update, updateAll, upsert } from "./writes.js"

/**
 * The row with that key, or none. A key that does not fit its field is no row's key: none, without asking the database.
 *
 * With `{ preload }` it has the rows of other tables that belong to it, as {@link preload} loads them. With `{ strict: true }` a key that does not fit is
 * `InvalidInput`. With `{ withDeleted: true }` rows that were deleted softly are seen.
 *
 * With `{ lock }` the row is locked until the transaction ends, which is required then; `wait` says for how long to wait for it. An option that does not
 * exist, or a value of one that does not, is a defect: a misspelt lock would be none.
 *
 * @since 0.1.0
 * @category reading
 */
export const get = <T extends Table.Any, const O extends Only<O, ReadOptions> = NoOptions>(
  table: T,
  key: Table.Key<T>,
  options?: O
): Effect.Effect<Option.Option<Found<T, O>>, ReadFailure<T, O>, Repo | ReadContext<T, O>> =>
  useRepo((repo) => repo.get(table, key, options))

/**
 * The row with that key; fails with `NotFound` when there is none. Takes the options of {@link get}.
 *
 * @since 0.1.0
 * @category reading
 */
export const fetch = <T extends Table.Any, const O extends Only<O, ReadOptions> = NoOptions>(
  table: T,
  key: Table.Key<T>,
  options?: O
): Effect.Effect<Found<T, O>, NotFound<T["name"]> | ReadFailure<T, O>, Repo | ReadContext<T, O>> =>
  useRepo((repo) => repo.fetch(table, key, options))

/**
 * The one row whose fields have these values, or none; fails with `MultipleResults` when there are more. Takes the options of {@link get}.
 *
 * @since 0.1.0
 * @category reading
 */
export const getBy = <T extends Table.Any, const O extends Only<O, ReadOptions> = NoOptions>(
  table: T,
  where: Where<T>,
  options?: O
): Effect.Effect<
  Option.Option<Found<T, O>>,
  MultipleResults<T["name"]> | ReadFailure<T, O>,
  Repo | ReadContext<T, O>
> => useRepo((repo) => repo.getBy(table, where, options))

/**
 * The one row whose fields have these values; fails with `NotFound` when there is none and with `MultipleResults` when there are more. Takes the
 * options of {@link get}.
 *
 * @since 0.1.0
 * @category reading
 */
export const fetchBy = <T extends Table.Any, const O extends Only<O, ReadOptions> = NoOptions>(
  table: T,
  where: Where<T>,
  options?: O
): Effect.Effect<
  Found<T, O>,
  NotFound<T["name"]> | MultipleResults<T["name"]> | ReadFailure<T, O>,
  Repo | ReadContext<T, O>
> => useRepo((repo) => repo.fetchBy(table, where, options))

/**
 * The one row that a condition holds for, or none; fails with `MultipleResults` when there are more, of which two at most are fetched. Takes the options
 * of {@link get}.
 *
 * @since 0.1.0
 * @category reading
 */
export const one = <T extends Table.Any, const O extends Only<O, ReadOptions> = NoOptions>(
  table: T,
  condition: Condition<T>,
  options?: O
): Effect.Effect<
  Option.Option<Found<T, O>>,
  MultipleResults<T["name"]> | ReadFailure<T, O>,
  Repo | ReadContext<T, O>
> => useRepo((repo) => repo.one(table, condition, options))

/**
 * All rows, or those that a condition holds for: equalities (`{ city: "Berlin" }`, `{ id: [1, 2] }`, `{ leftAt: null }`) or a fragment of @effect/sql,
 * which goes behind `where`. Their order is the database's, unless the fragment ends in an `order by`; it may end in a `limit` too. Takes the options of
 * {@link get}.
 *
 * `undefined` for a field, a field that the model does not have and a fragment without any text are defects: each would ask for other rows than it says.
 *
 * @since 0.1.0
 * @category reading
 */
export const all = <T extends Table.Any, const O extends Only<O, ReadOptions> = NoOptions>(
  table: T,
  condition?: Condition<T>,
  options?: O
): Effect.Effect<ReadonlyArray<Found<T, O>>, ReadFailure<T, O>, Repo | ReadContext<T, O>> =>
  useRepo((repo) => repo.all(table, condition, options))

/**
 * Rows, one or many, with the rows of other tables that belong to them: one query for each association, whatever the number of rows, and for
 * nested ones too. `afterGet` runs on the children first, then on the rows themselves again. The rows that are given are not changed.
 *
 * @since 0.1.0
 * @category reading
 * @example
 * ```ts
 * import { Model } from "@effect/sql"
 * import { Repo, Table } from "@effecto/core"
 * import { Effect, Schema } from "effect"
 *
 * class Person extends Model.Class<Person>("Person")({ id: Schema.Number, name: Schema.String }) {}
 * class Pet extends Model.Class<Pet>("Pet")({ id: Schema.Number, ownerId: Schema.Number, name: Schema.String }) {}
 *
 * const People = Table.make(Person, { name: "people", key: "id" })
 * const Pets = Table.make(Pet, { name: "pets", key: "id" })
 * const pets = Table.hasMany(Pets, "ownerId")
 *
 * export const petNames = Effect.gen(function* () {
 *   const people = yield* Effect.flatMap(Repo.all(People), (rows) => Repo.preload(People, rows, { pets }))
 *   return people.map((person) => [person.name, person.pets.map((pet) => pet.name)])
 * })
 * ```
 */
export const preload = <
  T extends Table.Any,
  Rows extends Table.Row<T> | ReadonlyArray<Table.Row<T>>,
  const A extends Associations
>(
  table: T,
  rows: Rows,
  associations: A
): Effect.Effect<Preloaded<Rows, A>, PreloadError<T, A>, Repo | PreloadContext<T, A>> =>
  useRepo((repo) => repo.preload(table, rows, associations))

/**
 * Whether there is any row, or any that a condition holds for. Runs no hooks.
 *
 * @since 0.1.0
 * @category reading
 */
export const exists = <T extends Table.Any>(
  table: T,
  condition?: Condition<T>,
  options?: CountOptions
): Effect.Effect<boolean, StatementError, Repo> => useRepo((repo) => repo.exists(table, condition, options))

/**
 * The number of rows, or of those that a condition holds for: of those that {@link all} would give, when it is a fragment with a `limit`. Runs no hooks.
 *
 * @since 0.1.0
 * @category reading
 */
export const count = <T extends Table.Any>(
  table: T,
  condition?: Condition<T>,
  options?: CountOptions
): Effect.Effect<number, StatementError, Repo> => useRepo((repo) => repo.count(table, condition, options))

/**
 * Inserts a row and returns it as the database holds it. Fields that have a default, in the model or in the database, may be left out. A value that does
 * not fit its field is `InvalidInput`, and so are NaN and the infinities; when the row that comes back does not fit the model, the `DbError` says that it
 * was inserted all the same.
 *
 * `onConflict` says what happens when a row is there already: with the action `"nothing"` there is none to give, so the result is an Option; `"replace"`
 * gives the row as it is then. When nothing was inserted its hooks have no effect either: what they did is rolled back.
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
 * class Person extends Model.Class<Person>("Person")({
 *   id: Model.Generated(Schema.Number),
 *   email: Schema.String,
 *   name: Schema.String
 * }) {}
 *
 * const People = Table.make(Person, { name: "people", key: "id" })
 *
 * const program = Effect.gen(function* () {
 *   const sql = yield* SqlClient.SqlClient
 *   yield* sql`create table people (id serial primary key, email text not null unique, name text not null)`
 *   yield* Repo.insert(People, { email: "ada@example.org", name: "Ada" })
 *   const same = { email: "ada@example.org", name: "Augusta Ada" }
 *   const none = yield* Repo.insert(People, same, { onConflict: { target: ["email"], action: "nothing" } })
 *   console.log(none._tag) // None
 *   const { id, name } = yield* Repo.insert(People, same, { onConflict: { target: ["email"], action: "replace" } })
 *   console.log(id, name) // 1 Augusta Ada
 * })
 *
 * Effect.runPromise(program.pipe(Effect.provide(Repo.layer().pipe(Layer.provide(EmbeddedPostgres)))))
 * ```
 */
export const insert = <T extends Table.Any, const O extends Only<O, InsertOptions<T>> = NoOptions>(
  table: T,
  row: Table.Insert<T>,
  options?: O
): Effect.Effect<
  Inserted<T, O>,
  InvalidInput<T["name"]> | WriteError<T, "insert">,
  Repo | Table.HookContext<T, "insert">
> => useRepo((repo) => repo.insert(table, row, options))

/**
 * Runs an effect on one connection, without a transaction: statements of the Repo, those written by hand, and whole transactions take turns on it. For
 * temporary tables and settings (`set search_path`, `set role`), which are the connection's. When it ends they are reset, before anybody else gets the
 * connection. Inside of a transaction there is one connection already, and this does nothing.
 *
 * A fiber that outlives the session fails, and so does a stream outside of any transaction, which would keep the connection from the others. Who waits for
 * the connection while nothing happens on it for thirty seconds of real time fails with `DbError`: those who share it may wait for each other.
 *
 * @since 0.1.0
 * @category transactions
 * @example
 * ```ts
 * import { SqlClient } from "@effect/sql"
 * import { Repo } from "@effecto/core"
 * import { EmbeddedPostgres } from "@effecto/core/testing"
 * import { Effect, Layer } from "effect"
 *
 * const program = Effect.gen(function* () {
 *   const sql = yield* SqlClient.SqlClient
 *   yield* sql`set application_name = 'report'`
 *   yield* sql`create temporary table found as select 1 as id`
 *   console.log(yield* sql`select id, current_setting('application_name') as name from found`) // [ { id: 1, name: 'report' } ]
 * })
 *
 * Effect.runPromise(Repo.session(program).pipe(Effect.provide(Repo.layer().pipe(Layer.provide(EmbeddedPostgres)))))
 * ```
 */
export const session = <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E | StatementError, R | Repo> =>
  useRepo((repo) => repo.session(self))

/**
 * Runs an effect in a transaction: it is committed when the effect succeeds, and rolled back when it fails, dies or is interrupted. Inside of
 * another it is a savepoint. What it reports is what happened; see `Transaction`.
 *
 * @since 0.1.0
 * @category transactions
 */
export const transact: {
  <const O extends Only<O, TransactOptions> = NoOptions>(
    options?: O
  ): <A, E, R>(
    self: Effect.Effect<A, E, R>
  ) => Effect.Effect<A, E | TransactError | TimeoutError<O>, Exclude<R, Transaction> | Repo>
  <A, E, R, const O extends Only<O, TransactOptions> = NoOptions>(
    self: Effect.Effect<A, E, R>,
    options?: O
  ): Effect.Effect<A, E | TransactError | TimeoutError<O>, Exclude<R, Transaction> | Repo>
} = (first?: unknown, options?: TransactOptions): never => {
  const run = (self: Effect.Effect<unknown, unknown, unknown>, chosen: TransactOptions) =>
    useRepo((repo) => repo.transact(self, chosen))
  // Sound: the two signatures above are told apart by their first argument, and `run` keeps the types of what it is given.
  return (
    Effect.isEffect(first)
      ? run(first as Effect.Effect<unknown, unknown, unknown>, options ?? {})
      : (self: Effect.Effect<unknown, unknown, unknown>) => run(self, (first as TransactOptions | undefined) ?? {})
  ) as never
}

/**
 * The Repo of the `SqlClient` it is given, and that client again with our transactions.
 *
 * Statements whose text comes again are prepared, once for each connection. With `prepare: false` they are not: for a pooler between here and
 * PostgreSQL that does not keep prepared statements apart.
 *
 * With `logParameters` the debug lines show the parameters of statements; without it nothing that a row holds is ever logged.
 *
 * `transactions` is what each outermost transaction gets that does not ask for something else: isolation, and PostgreSQL's limits for statements and for waits
 * for locks. Statements outside of transactions have those of their connection.
 *
 * `password` is for a pool of `pg` that was given a function for its own (`PgClient.layerFromPool`), because passwords change: the same function. Session locks
 * and change feeds, whose connections are beside the pool, ask it each time. Without it they have the password of one of the pool's connections.
 *
 * @since 0.1.0
 * @category layers
 * @example
 * ```ts
 * import { Model, SqlClient } from "@effect/sql"
 * import { Repo, Table } from "@effecto/core"
 * import { EmbeddedPostgres } from "@effecto/core/testing"
 * import { Effect, Layer, Schema } from "effect"
 *
 * class Person extends Model.Class<Person>("Person")({
 *   id: Model.Generated(Schema.Number),
 *   firstName: Schema.String
 * }) {}
 *
 * const People = Table.make(Person, { name: "people", key: "id" })
 *
 * const program = Effect.gen(function* () {
 *   const sql = yield* SqlClient.SqlClient
 *   yield* sql`create table people (id serial primary key, first_name text not null)`
 *   const ada = yield* Repo.insert(People, { firstName: "Ada" })
 *   yield* Repo.update(People, ada, { firstName: "Augusta Ada" })
 *   console.log((yield* Repo.fetch(People, ada.id)).firstName) // Augusta Ada
 * })
 *
 * Effect.runPromise(program.pipe(Effect.provide(Repo.layer().pipe(Layer.provide(EmbeddedPostgres)))))
 * ```
 */
export const layer = (options?: {
  readonly logParameters?: boolean | undefined
  readonly prepare?: boolean | undefined
  readonly password?: (() => string | Promise<string>) | undefined
  readonly transactions?: TransactionDefaults | undefined
}): Layer.Layer<Repo | SqlClient.SqlClient, never, SqlClient.SqlClient> =>
  Layer.effectContext(
    Effect.zipWith(
      SqlClient.SqlClient,
      CurrentInstance,
      (base, instance) =>
        provided(
          base,
          {
            logParameters: options?.logParameters ?? false,
            prepare: options?.prepare ?? true,
            password: options?.password,
            transactions: options?.transactions
          },
          instance
        ).context
    )
  )
