/** The Repo's service: its tag, and what it promises. */
import type { SqlError, Statement } from "@effect/sql"
import { Context, Effect, type Option, type Stream } from "effect"
import type { Aggregate, Aggregated, AggregateField } from "./aggregate.js"
import type { Associations, Loaded } from "./association.js"
import type { Everything } from "./bulk.js"
import type { Announcer } from "./changes.js"
import type { Transaction } from "./frame.js"
import type { OnConflict } from "./onconflict.js"
import type { Page, PageOptions } from "./paging.js"
import type { QueryRows } from "./queryrows.js"
import type { InvalidInput, MultipleResults, NotFound, StatementError } from "./RepoError.js"
import type { CountOptions, LockContext, LockError, ReadOptions, StreamOptions, StrictError, Wait } from "./rowlock.js"
import type * as Table from "./Table.js"
import type { TimeoutError, TransactError, TransactOptions } from "./transact.js"

/**
 * Equalities that all have to hold: a field with its value, with `null`, or with a list of values of which one has to match (`null` may be one of
 * them). A field that holds arrays takes an array as its one value. A value that no row can have matches none; `undefined` is refused as a defect,
 * because it would match every row.
 *
 * @since 0.1.0
 * @category models
 */
export type Where<T extends Table.Any> = {
  readonly [Field in keyof Table.Row<T>]?: Table.Row<T>[Field] | ListOf<Table.Row<T>[Field]> | null
}

type ListOf<Value> = [Extract<Value, ReadonlyArray<unknown>>] extends [never] ? ReadonlyArray<Value> : never

/**
 * What rows are asked for: equalities, or the text behind `where` as a fragment of @effect/sql.
 *
 * @since 0.1.0
 * @category models
 */
export type Condition<T extends Table.Any> = Where<T> | Statement.Fragment

/**
 * What a write of many rows is about: equalities of one field at least, a fragment, or `Repo.everything`.
 *
 * @since 0.1.0
 * @category models
 */
export type Predicate<T extends Table.Any> = SomeField<Where<T>> | Statement.Fragment | Everything

type SomeField<W> = W & { [Field in keyof W]-?: Required<Pick<W, Field>> }[keyof W]

/**
 * How many rows are written: `returning` gives them back, instead of their number.
 *
 * @since 0.1.0
 * @category models
 */
export interface BulkOptions {
  readonly returning?: boolean
}

/**
 * How many rows are inserted.
 *
 * @since 0.1.0
 * @category models
 */
export interface InsertAllOptions<T extends Table.Any> extends BulkOptions, InsertOptions<T> {}

/** What a write of many rows gives. */
export type Written<T extends Table.Any, O> = O extends { readonly returning: true }
  ? ReadonlyArray<Table.Row<T>>
  : number

/** For how long `modify` waits for its row. */
export interface ModifyOptions {
  readonly wait?: Wait | undefined
}

/** What `modify` can fail with beside what its function does. */
export type ModifyError<T extends Table.Any, O> =
  | NotFound<T["name"]>
  | InvalidInput<T["name"]>
  | ReadError<T>
  | Table.VersionError<T>
  | WriteError<T, "update">
  | LockError<O>

/** What `modify` needs: its function gets the transaction. */
export type ModifyContext<T extends Table.Any, R> =
  | Exclude<R, Transaction>
  | Table.HookContext<T, "get">
  | Table.HookContext<T, "update">

/** Rows that were read again: none for one that is gone. */
export type Reloaded<T extends Table.Any, Rows> =
  Rows extends ReadonlyArray<unknown> ? ReadonlyArray<Option.Option<Table.Row<T>>> : Option.Option<Table.Row<T>>

// The aliases below that look like conditions are always true. An editor shows what such a type comes to, and not the alias with a whole table in it.

/** What reading a table can fail with. */
export type ReadError<T extends Table.Any> = [T] extends [Table.Any]
  ? StatementError | Table.HookError<T, "get">
  : never

/** What a read of these options can fail with. */
export type ReadFailure<T extends Table.Any, O> =
  | ReadError<T>
  | LockError<O>
  | StrictError<T["name"], O>
  | HookErrorOf<ReachedBy<O>>

/** What reading a table needs. */
export type ReadContext<T extends Table.Any, O> = [T] extends [Table.Any]
  ? Table.HookContext<T, "get"> | LockContext<O> | HookContextOf<ReachedBy<O>>
  : never

/** A row with what these options preload. */
export type Found<T extends Table.Any, O> = O extends { readonly preload: infer A extends Associations }
  ? Loaded<Table.Row<T>, A>
  : Table.Row<T>

type ReachedBy<O> = O extends { readonly preload: infer A extends Associations } ? Reached<A> : never

/** Rows, one or many, with their associations. */
export type Preloaded<Rows, A extends Associations> =
  Rows extends ReadonlyArray<infer R> ? ReadonlyArray<Loaded<R, A>> : Loaded<Rows, A>

/** The tables that associations reach. */
export type Reached<A extends Associations> = string extends keyof A
  ? never
  : { [Name in keyof A]: A[Name]["table"] | Reached<A[Name]["nested"]> }[keyof A]

type HookErrorOf<T> = T extends Table.Any ? Table.HookError<T, "get"> : never
type HookContextOf<T> = T extends Table.Any ? Table.HookContext<T, "get"> : never

/** What preloading can fail with. */
export type PreloadError<T extends Table.Any, A extends Associations> = [T] extends [Table.Any]
  ? StatementError | HookErrorOf<T | Reached<A>>
  : never

/** What preloading needs. */
export type PreloadContext<T extends Table.Any, A extends Associations> = HookContextOf<T | Reached<A>>

/** What writing to a table can fail with. */
export type WriteError<T extends Table.Any, O extends Table.Operation> = [T] extends [Table.Any]
  ? Table.ConstraintError<T> | StatementError | Table.HookError<T, O>
  : never

/**
 * How a row is inserted.
 *
 * @since 0.1.0
 * @category models
 */
export interface InsertOptions<T extends Table.Any> {
  readonly onConflict?: OnConflict<T>
}

/** What an insert gives: there may be no row where a conflict is answered with nothing. */
export type Inserted<T extends Table.Any, O> = O extends { readonly onConflict: { readonly action: "nothing" } }
  ? Option.Option<Table.Row<T>>
  : Table.Row<T>

/**
 * How a row is changed or deleted. With `allowStale` it is no failure that it is gone, or was changed by somebody else: then there is none to give, so the
 * result is an Option. What its hooks did is undone.
 *
 * @since 0.1.0
 * @category models
 */
export interface ChangeOptions {
  readonly allowStale?: boolean | undefined
}

/** What an update or a delete gives. */
export type ChangedRow<T extends Table.Any, O> = O extends { readonly allowStale: true }
  ? Option.Option<Table.Row<T>>
  : Table.Row<T>

/** What it fails with when the row is not there, or not as it was. */
export type StaleError<T extends Table.Any, O> = O extends { readonly allowStale: true }
  ? never
  : NotFound<T["name"]> | Table.VersionError<T>

/** Read without a lock. */
// biome-ignore lint/complexity/noBannedTypes: nothing is known of it, which is what says so
export type NoOptions = {}

/** What options may be: no others than there are, because a misspelt one beside another would be passed over. */
export type Only<O, Known> = Known & { readonly [Name in Exclude<keyof O, keyof Known>]: never }

/**
 * The Repo's functions, for one database.
 *
 * @since 0.1.0
 * @category models
 */
export interface Service {
  readonly get: <T extends Table.Any, const O extends Only<O, ReadOptions> = NoOptions>(
    table: T,
    key: Table.Key<T>,
    options?: O
  ) => Effect.Effect<Option.Option<Found<T, O>>, ReadFailure<T, O>, ReadContext<T, O>>

  readonly fetch: <T extends Table.Any, const O extends Only<O, ReadOptions> = NoOptions>(
    table: T,
    key: Table.Key<T>,
    options?: O
  ) => Effect.Effect<Found<T, O>, NotFound<T["name"]> | ReadFailure<T, O>, ReadContext<T, O>>

  readonly getBy: <T extends Table.Any, const O extends Only<O, ReadOptions> = NoOptions>(
    table: T,
    where: Where<T>,
    options?: O
  ) => Effect.Effect<Option.Option<Found<T, O>>, MultipleResults<T["name"]> | ReadFailure<T, O>, ReadContext<T, O>>

  readonly fetchBy: <T extends Table.Any, const O extends Only<O, ReadOptions> = NoOptions>(
    table: T,
    where: Where<T>,
    options?: O
  ) => Effect.Effect<
    Found<T, O>,
    NotFound<T["name"]> | MultipleResults<T["name"]> | ReadFailure<T, O>,
    ReadContext<T, O>
  >

  readonly one: <T extends Table.Any, const O extends Only<O, ReadOptions> = NoOptions>(
    table: T,
    condition: Condition<T>,
    options?: O
  ) => Effect.Effect<Option.Option<Found<T, O>>, MultipleResults<T["name"]> | ReadFailure<T, O>, ReadContext<T, O>>

  readonly all: <T extends Table.Any, const O extends Only<O, ReadOptions> = NoOptions>(
    table: T,
    condition?: Condition<T>,
    options?: O
  ) => Effect.Effect<ReadonlyArray<Found<T, O>>, ReadFailure<T, O>, ReadContext<T, O>>

  readonly preload: <
    T extends Table.Any,
    Rows extends Table.Row<T> | ReadonlyArray<Table.Row<T>>,
    const A extends Associations
  >(
    table: T,
    rows: Rows,
    associations: A
  ) => Effect.Effect<Preloaded<Rows, A>, PreloadError<T, A>, PreloadContext<T, A>>

  readonly reload: <T extends Table.Any, Rows extends Table.Row<T> | ReadonlyArray<Table.Row<T>>>(
    table: T,
    rows: Rows
  ) => Effect.Effect<Reloaded<T, Rows>, ReadError<T>, ReadContext<T, NoOptions>>

  readonly decode: {
    <T extends Table.Any, E, R>(
      table: T,
      rows: Effect.Effect<ReadonlyArray<object>, E, R>
    ): Effect.Effect<ReadonlyArray<Table.Row<T>>, Exclude<E, SqlError.SqlError> | StatementError, R>
    <T extends Table.Any>(
      table: T,
      rows: ReadonlyArray<object>
    ): Effect.Effect<ReadonlyArray<Table.Row<T>>, StatementError>
  }

  readonly page: <T extends Table.Any>(
    table: T,
    options: PageOptions<T>
  ) => Effect.Effect<Page<Table.Row<T>>, InvalidInput<T["name"]> | ReadError<T>, ReadContext<T, NoOptions>>

  readonly aggregate: <T extends Table.Any, A extends Aggregate, Field extends AggregateField<T, A>>(
    table: T,
    aggregate: A,
    field: Field,
    condition?: Condition<T>,
    options?: CountOptions
  ) => Effect.Effect<Aggregated<T, A, Field & keyof Table.Row<T>>, StatementError>

  readonly stream: <T extends Table.Any>(
    table: T,
    condition?: Condition<T>,
    options?: StreamOptions
  ) => Stream.Stream<Table.Row<T>, ReadError<T>, ReadContext<T, NoOptions>>

  readonly exists: <T extends Table.Any>(
    table: T,
    condition?: Condition<T>,
    options?: CountOptions
  ) => Effect.Effect<boolean, StatementError>

  readonly count: <T extends Table.Any>(
    table: T,
    condition?: Condition<T>,
    options?: CountOptions
  ) => Effect.Effect<number, StatementError>

  readonly insert: <T extends Table.Any, const O extends Only<O, InsertOptions<T>> = NoOptions>(
    table: T,
    row: Table.Insert<T>,
    options?: O
  ) => Effect.Effect<Inserted<T, O>, InvalidInput<T["name"]> | WriteError<T, "insert">, Table.HookContext<T, "insert">>

  readonly update: <T extends Table.Any, const O extends Only<O, ChangeOptions> = NoOptions>(
    table: T,
    target: Table.Key<T> | Table.Row<T>,
    patch: Table.Update<T>,
    options?: O
  ) => Effect.Effect<
    ChangedRow<T, O>,
    StaleError<T, O> | InvalidInput<T["name"]> | WriteError<T, "update">,
    Table.HookContext<T, "update">
  >

  readonly delete: <T extends Table.Any, const O extends Only<O, ChangeOptions> = NoOptions>(
    table: T,
    target: Table.Key<T> | Table.Row<T>,
    options?: O
  ) => Effect.Effect<ChangedRow<T, O>, StaleError<T, O> | WriteError<T, "delete">, Table.HookContext<T, "delete">>

  readonly modify: <T extends Table.Any, E, R, const O extends Only<O, ModifyOptions> = NoOptions>(
    table: T,
    key: Table.Key<T>,
    change: (row: Table.Row<T>) => Effect.Effect<Table.Update<T>, E, R>,
    options?: O
  ) => Effect.Effect<Table.Row<T>, E | ModifyError<T, O>, ModifyContext<T, R>>

  readonly insertAll: <T extends Table.Any, const O extends Only<O, InsertAllOptions<T>> = NoOptions>(
    table: T,
    rows: ReadonlyArray<Table.Insert<T>> | QueryRows<T>,
    options?: O
  ) => Effect.Effect<
    Written<T, O>,
    InvalidInput<T["name"]> | Table.ConstraintError<T> | StatementError | Table.HookError<T, "insertAll">,
    Table.HookContext<T, "insertAll">
  >

  readonly updateAll: <T extends Table.Any, const O extends Only<O, BulkOptions> = NoOptions>(
    table: T,
    condition: Predicate<T>,
    patch: Table.Update<T>,
    options?: O
  ) => Effect.Effect<
    Written<T, O>,
    InvalidInput<T["name"]> | Table.ConstraintError<T> | StatementError | Table.HookError<T, "updateAll">,
    Table.HookContext<T, "updateAll">
  >

  readonly deleteAll: <T extends Table.Any, const O extends Only<O, BulkOptions> = NoOptions>(
    table: T,
    condition: Predicate<T>,
    options?: O
  ) => Effect.Effect<
    Written<T, O>,
    Table.ConstraintError<T> | StatementError | Table.HookError<T, "deleteAll">,
    Table.HookContext<T, "deleteAll">
  >

  readonly restore: <T extends Table.SoftlyDeleted>(
    table: T,
    target: Table.Key<T> | Table.Row<T>
  ) => Effect.Effect<Table.Row<T>, NotFound<T["name"]> | Table.ConstraintError<T> | StatementError>

  readonly touch: <T extends Table.Any>(
    table: T,
    keys?: ReadonlyArray<Table.Key<T>>
  ) => Effect.Effect<void, TransactError>

  /** Who is told of what was written: see `Announcement`. */
  readonly announcer: Announcer

  readonly session: <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E | StatementError, R>

  readonly transact: <A, E, R, const O extends Only<O, TransactOptions> = NoOptions>(
    self: Effect.Effect<A, E, R>,
    options?: O
  ) => Effect.Effect<A, E | TransactError | TimeoutError<O>, Exclude<R, Transaction>>
}

/**
 * The Repo of one database, in an effect's context. `Repo.layer` provides it.
 *
 * @since 0.1.0
 * @category tags
 */
export class Repo extends Context.Tag("@effecto/core/Repo")<Repo, Service>() {}

/** What `Effect.flatMap(Repo, …)` does, in two steps less. */
export const useRepo = <A, E, R>(call: (repo: Service) => Effect.Effect<A, E, R>): Effect.Effect<A, E, R | Repo> =>
  Effect.withFiberRuntime((fiber) =>
    // Sound: the Repo is among what the effect says it needs.
    call(Context.get(fiber.currentContext as Context.Context<Repo>, Repo))
  )
