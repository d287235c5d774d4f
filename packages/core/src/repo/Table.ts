/**
 * A `Model.Class` of @effect/sql together with what only the database knows about it: the table's name, its key, the names of its constraints; and the
 * hooks that run on its rows.
 *
 * A table is a value: `Repo.get(People, 1)` takes it as an argument, `People.pipe(Table.hooks(…))` is another table with hooks. Fields become columns in
 * snake case (`createdAt` is `created_at`) by the table itself. A client whose own options rename columns works too: what the Repo sends and
 * receives does not pass through its transformations.
 *
 * A number field takes finite numbers, and reads an int8 or a numeric as far as a number gives back every digit of it; `Schema.BigIntFromSelf`,
 * `Schema.BigDecimal` and `Schema.String` take them all. Dates are `Schema.DateFromSelf` or the `…FromDate` fields of Model. {@link json} is for texts and
 * arrays in json and jsonb.
 *
 * It is *not* a migration: nothing here creates or changes a table.
 *
 * @since 0.1.0
 */
import type { Model } from "@effect/sql"
import type { Effect, Types } from "effect"
import type { Pipeable } from "effect/Pipeable"
import type * as Schema from "effect/Schema"
import type { Transaction } from "./frame.js"
import type { CheckViolation, ExclusionViolation, ForeignKeyViolation, UniqueViolation } from "./RepoError.js"
import type { Repo } from "./repository.js"
import { implementationOf, TableImplementation, tableTypeId } from "./tableimplementation.js"
import { type ModelParts, TablePlan } from "./tableplan.js"

export { type Association, type Associations, belongsTo, hasMany, hasOne, type Loaded } from "./association.js"
export { type Json, json } from "./json.js"

/**
 * A constraint of the database, declared so that its violation is a typed error: what kind it is, and which fields it is about.
 *
 * @since 0.1.0
 * @category constraints
 */
export interface Constraint<Kind extends ConstraintKind = ConstraintKind> {
  readonly kind: Kind
  readonly fields: ReadonlyArray<string>
}

/**
 * @since 0.1.0
 * @category constraints
 */
export type ConstraintKind = "unique" | "foreignKey" | "check" | "exclusion"

/**
 * Constraints by the names they have in the database.
 *
 * @since 0.1.0
 * @category constraints
 */
export type Constraints = { readonly [name: string]: Constraint }

const constraint =
  <Kind extends ConstraintKind>(kind: Kind) =>
  (...fields: ReadonlyArray<string>): Constraint<Kind> => ({ kind, fields })

/**
 * A unique constraint, unique index or primary key over these fields.
 *
 * @since 0.1.0
 * @category constraints
 */
export const unique = constraint("unique")

/**
 * A foreign key: of this table (the row it refers to is missing), or of another that refers to this one (this row is still needed).
 *
 * @since 0.1.0
 * @category constraints
 */
export const foreignKey = constraint("foreignKey")

/**
 * A check constraint about these fields.
 *
 * @since 0.1.0
 * @category constraints
 */
export const check = constraint("check")

/**
 * An exclusion constraint over these fields.
 *
 * @since 0.1.0
 * @category constraints
 */
export const exclusion = constraint("exclusion")

/**
 * @since 0.1.0
 * @category symbols
 */
export const TypeId: TypeId = tableTypeId

/**
 * @since 0.1.0
 * @category symbols
 */
export type TypeId = typeof tableTypeId

/**
 * A table: `Name` and `Constraints` are literal, so that errors can name them; `Hooks` says which operations can fail with what and need what.
 *
 * @since 0.1.0
 * @category models
 */
export interface Table<
  out Name extends string,
  out M extends Model.AnyNoContext,
  out Key extends string,
  // biome-ignore lint/complexity/noBannedTypes: no constraints, and that is how it reads in a hover
  out C extends Constraints = {},
  out Hooks = never
> extends Pipeable {
  readonly [TypeId]: { readonly _Hooks: Types.Covariant<Hooks> }
  readonly name: Name
  readonly model: M
  readonly key: Key
  readonly schema: string | undefined
  readonly constraints: C
}

/**
 * Any table.
 *
 * @since 0.1.0
 * @category models
 */
export type Any = Table<string, Model.AnyNoContext, string, Constraints, unknown>

/**
 * What is read from a table: an instance of its model.
 *
 * @since 0.1.0
 * @category models
 */
export type Row<T extends Any> = Schema.Schema.Type<T["model"]>

/**
 * What is inserted into a table: the fields of `Model.insert`; those that have a default may be left out.
 *
 * @since 0.1.0
 * @category models
 */
export type Insert<T extends Any> = T["model"]["insert"] extends {
  readonly fields: infer F extends Schema.Struct.Fields
}
  ? Types.Simplify<Schema.Struct.Constructor<F>>
  : Schema.Schema.Type<T["model"]["insert"]>

/**
 * What may be changed in a row of a table: any of the fields of `Model.update` but the key.
 *
 * @since 0.1.0
 * @category models
 */
export type Update<T extends Any> = Types.Simplify<Partial<Omit<Schema.Schema.Type<T["model"]["update"]>, T["key"]>>>

/**
 * The type of a table's key.
 *
 * @since 0.1.0
 * @category models
 */
export type Key<T extends Any> = Row<T>[T["key"] & keyof Row<T>]

type NamesOf<C extends Constraints, Kind extends ConstraintKind> = {
  [Name in keyof C & string]: C[Name]["kind"] extends Kind ? Name : never
}[keyof C & string]

type Violation<Name, E> = [Name] extends [never] ? never : E

/**
 * The violations that a write to this table can fail with: those it declares.
 *
 * @since 0.1.0
 * @category models
 */
export type ConstraintError<T extends Any> = [T] extends [Any]
  ?
      | Violation<NamesOf<T["constraints"], "unique">, UniqueViolation<NamesOf<T["constraints"], "unique">>>
      | Violation<NamesOf<T["constraints"], "foreignKey">, ForeignKeyViolation<NamesOf<T["constraints"], "foreignKey">>>
      | Violation<NamesOf<T["constraints"], "check">, CheckViolation<NamesOf<T["constraints"], "check">>>
      | Violation<NamesOf<T["constraints"], "exclusion">, ExclusionViolation<NamesOf<T["constraints"], "exclusion">>>
  : never

/**
 * What hooks can be about.
 *
 * @since 0.1.0
 * @category hooks
 */
export type Operation = "get" | "insert" | "update" | "delete"

/**
 * What a hook is told beside the row: the operation, the call that caused it, and what the call was given.
 *
 * @since 0.1.0
 * @category hooks
 */
export interface Delta<T extends Any> {
  readonly table: T
  readonly operation: Operation
  /** The function that was called: `"fetch"`, for example. */
  readonly call: string
  /** What the call was given: a key, a row, a patch. */
  readonly source: unknown
}

/**
 * Hooks of one table, run in this order: before, the statement, after. Those of a write run in one transaction with it (a savepoint, if one is
 * open), so a hook that fails undoes the write. Repo calls inside of a hook run no hooks, in fibers it forks neither.
 *
 * @since 0.1.0
 * @category hooks
 */
export interface HookSet<T extends Any> {
  /** May replace what is inserted. */
  readonly beforeInsert?: (row: Insert<T>, delta: Delta<T>) => Effect.Effect<Insert<T>, unknown, unknown>
  /** May replace what `insert` returns. */
  readonly afterInsert?: (row: Row<T>, delta: Delta<T>) => Effect.Effect<Row<T>, unknown, unknown>
  /** May replace what is changed. */
  readonly beforeUpdate?: (patch: Update<T>, delta: Delta<T>) => Effect.Effect<Update<T>, unknown, unknown>
  /** May replace what `update` returns. */
  readonly afterUpdate?: (row: Row<T>, delta: Delta<T>) => Effect.Effect<Row<T>, unknown, unknown>
  readonly beforeDelete?: (key: Key<T>, delta: Delta<T>) => Effect.Effect<void, unknown, unknown>
  /** May replace what `delete` returns. */
  readonly afterDelete?: (row: Row<T>, delta: Delta<T>) => Effect.Effect<Row<T>, unknown, unknown>
  /** May replace what was read. Runs once for each result set that has rows, not once for each row. */
  readonly afterGet?: (
    rows: ReadonlyArray<Row<T>>,
    delta: Delta<T>
  ) => Effect.Effect<ReadonlyArray<Row<T>>, unknown, unknown>
}

/**
 * In the type of a table: an operation whose hooks can fail with `E` and need `R`.
 *
 * @since 0.1.0
 * @category hooks
 */
export interface Hook<out O extends Operation, out E, out R> {
  readonly operation: O
  readonly _E: Types.Covariant<E>
  readonly _R: Types.Covariant<R>
}

interface OperationOf {
  readonly beforeInsert: "insert"
  readonly afterInsert: "insert"
  readonly beforeUpdate: "update"
  readonly afterUpdate: "update"
  readonly beforeDelete: "delete"
  readonly afterDelete: "delete"
  readonly afterGet: "get"
}

/** The Repo gives a hook itself, and a write's hooks the transaction they run in. */
type Given<Name> = Name extends "afterGet" ? Repo : Repo | Transaction

/** The condition is always true; an editor shows what it comes to, and not the alias with whole hooks in it. */
type HooksOf<S> = [S] extends [object]
  ? {
      [Name in keyof S & keyof OperationOf]: S[Name] extends (
        ...args: ReadonlyArray<never>
      ) => Effect.Effect<unknown, infer E, infer R>
        ? Hook<OperationOf[Name], E, Exclude<R, Given<Name>>>
        : never
    }[keyof S & keyof OperationOf]
  : never

/** A misspelt hook would never run: it does not compile. */
type OnlyHooks<S> = { readonly [Name in Exclude<keyof S, keyof OperationOf>]: never }

type HooksIn<T extends Any> = T extends Table<string, Model.AnyNoContext, string, Constraints, infer H> ? H : never

/**
 * What the hooks of an operation can fail with.
 *
 * @since 0.1.0
 * @category hooks
 */
export type HookError<T extends Any, O extends Operation> =
  HooksIn<T> extends infer H ? (H extends Hook<O, infer E, infer _> ? E : never) : never

/**
 * What the hooks of an operation need.
 *
 * @since 0.1.0
 * @category hooks
 */
export type HookContext<T extends Any, O extends Operation> =
  HooksIn<T> extends infer H ? (H extends Hook<O, infer _, infer R> ? R : never) : never

/**
 * A table over a model.
 *
 * `key` is the field that identifies a row. `constraints` are the names of those whose violation shall be a typed error; one that is not declared
 * is a `DbError`. `columns` names the column of a field where that is not the field's name in snake case. Two fields for one column are refused.
 *
 * @since 0.1.0
 * @category constructors
 * @example
 * ```ts
 * import { Model } from "@effect/sql"
 * import { Table } from "@effecto/core"
 * import { Schema } from "effect"
 *
 * class Person extends Model.Class<Person>("Person")({
 *   id: Model.Generated(Schema.Number),
 *   firstName: Schema.String,
 *   email: Schema.String
 * }) {}
 *
 * const People = Table.make(Person, {
 *   name: "people",
 *   key: "id",
 *   constraints: { people_email_key: Table.unique("email") }
 * })
 *
 * console.log(People.name) // people
 * ```
 */
export const make = <
  M extends Model.AnyNoContext,
  const Name extends string,
  const Key extends keyof Schema.Schema.Type<M> & string,
  // biome-ignore lint/complexity/noBannedTypes: no constraints, and that is how it reads in a hover
  const C extends Constraints = {}
>(
  model: M,
  options: {
    readonly name: Name
    readonly key: Key
    /** The database's schema, when it is not found by the search path. */
    readonly schema?: string | undefined
    readonly constraints?: C
    readonly columns?: { readonly [Field in keyof Schema.Schema.Type<M>]?: string }
  }
): Table<Name, M, Key, C> => {
  const plan = new TablePlan(
    options.name,
    options.key,
    // Sound: a Model.Class is a class, and its variants are structs.
    model as unknown as ConstructorParameters<typeof TablePlan>[2] & ModelParts,
    options.schema,
    // Sound: the keys are names of fields, the values strings.
    (options.columns ?? {}) as Readonly<Record<string, string>>
  )
  // Sound: the implementation has what the interface says; the parameters are in the arguments.
  return new TableImplementation(
    options.name,
    model,
    options.key,
    options.schema,
    options.constraints ?? {},
    plan,
    []
  ) as unknown as Table<Name, M, Key, C>
}

/**
 * A table with hooks, behind those it already has. What they fail with and need appears at every call that runs them.
 *
 * @since 0.1.0
 * @category hooks
 * @example
 * ```ts
 * import { Model } from "@effect/sql"
 * import { Table } from "@effecto/core"
 * import { Effect, Schema } from "effect"
 *
 * class Person extends Model.Class<Person>("Person")({
 *   id: Model.Generated(Schema.Number),
 *   email: Schema.String
 * }) {}
 *
 * const People = Table.make(Person, { name: "people", key: "id" }).pipe(
 *   Table.hooks({
 *     beforeInsert: (row) => Effect.succeed({ ...row, email: row.email.toLowerCase() })
 *   })
 * )
 *
 * console.log(People.name) // people
 * ```
 */
export const hooks =
  <T extends Any, const S extends HookSet<T>>(set: (S & OnlyHooks<S>) | ((table: T) => S)) =>
  (table: T): Table<T["name"], T["model"], T["key"], T["constraints"], HooksIn<T> | HooksOf<S>> => {
    const self = implementationOf(table)
    // Sound: the set's functions are only ever called with rows of this table.
    const added = (typeof set === "function" ? set(table) : set) as unknown as HookSet<Any>
    return new TableImplementation(self.name, self.model, self.key, self.schema, self.constraints, self.plan, [
      ...self.hookSets,
      added
      // Sound: the implementation has what the interface says; the parameters are those of the table and of the set.
    ]) as never
  }
