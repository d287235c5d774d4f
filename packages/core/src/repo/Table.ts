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
import type { Types } from "effect"
import type { Pipeable } from "effect/Pipeable"
import type * as Schema from "effect/Schema"
import type { CheckViolation, ExclusionViolation, ForeignKeyViolation, StaleRow, UniqueViolation } from "./RepoError.js"
import { implementationOf, TableImplementation, tableTypeId } from "./tableimplementation.js"
import { type ModelParts, TablePlan } from "./tableplan.js"

export { type Association, type Associations, belongsTo, hasMany, hasOne, type Loaded } from "./association.js"
export {
  type Change,
  type Delta,
  type Hook,
  type HookContext,
  type HookError,
  type HookedOperation,
  type HookName,
  type HookSet,
  hooks,
  type Operation,
  type Reentry
} from "./hook.js"
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
  out Key extends string | ReadonlyArray<string>,
  // biome-ignore lint/complexity/noBannedTypes: no constraints, and that is how it reads in a hover
  out C extends Constraints = {},
  out Hooks = never,
  // biome-ignore lint/complexity/noBannedTypes: none of them, and that is how it reads in a hover
  out F extends Features = {}
> extends Pipeable {
  readonly [TypeId]: { readonly _Hooks: Types.Covariant<Hooks> }
  readonly name: Name
  readonly model: M
  readonly key: Key
  readonly schema: string | undefined
  readonly constraints: C
  readonly features: F
}

/**
 * Fields that the Repo itself keeps, if a table has them: `version` counts the updates of a row, `softDelete` holds when it was deleted.
 *
 * @since 0.1.0
 * @category models
 */
export interface Features {
  readonly version?: string
  readonly softDelete?: string
}

/**
 * Any table.
 *
 * @since 0.1.0
 * @category models
 */
export type Any = Table<string, Model.AnyNoContext, string | ReadonlyArray<string>, Constraints, unknown, Features>

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
 * What may be changed in a row of a table: any of the fields of `Model.update` but the key, and but what the Repo keeps.
 *
 * @since 0.1.0
 * @category models
 */
export type Update<T extends Any> = Types.Simplify<
  Partial<Omit<Schema.Schema.Type<T["model"]["update"]>, KeyField<T> | KeptField<T["features"]>>>
>

type KeptField<F extends Features> =
  | (F extends { readonly version: infer V extends string } ? V : never)
  | (F extends { readonly softDelete: infer D extends string } ? D : never)

/**
 * The fields of a table's key.
 *
 * @since 0.1.0
 * @category models
 */
export type KeyField<T extends Any> = T["key"] extends ReadonlyArray<infer Field> ? Field & string : T["key"] & string

/**
 * The type of a table's key: of its field, or an object of its fields when it has several.
 *
 * @since 0.1.0
 * @category models
 */
export type Key<T extends Any> =
  T["key"] extends ReadonlyArray<infer Field>
    ? Types.Simplify<Pick<Row<T>, Field & keyof Row<T>>>
    : Row<T>[T["key"] & keyof Row<T>]

/**
 * What a write can fail with that was given a row of a table with a version.
 *
 * @since 0.1.0
 * @category models
 */
export type VersionError<T extends Any> = T["features"] extends { readonly version: string }
  ? StaleRow<T["name"]>
  : never

/** A table whose rows are marked as deleted, and stay. */
export type SoftlyDeleted = Any & { readonly features: { readonly softDelete: string } }

/** Fields whose values are of a type. */
type FieldOf<Row, Value> = { [Field in keyof Row & string]: Row[Field] extends Value ? Field : never }[keyof Row &
  string]

type FeaturesOf<Version extends string, SoftDelete extends string> = [Version] extends [never]
  ? [SoftDelete] extends [never]
    ? // biome-ignore lint/complexity/noBannedTypes: none of them
      {}
    : { readonly softDelete: SoftDelete }
  : [SoftDelete] extends [never]
    ? { readonly version: Version }
    : { readonly version: Version; readonly softDelete: SoftDelete }

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
 * A table over a model.
 *
 * `key` is the field that identifies a row, or the fields that do: then a key is an object of them. `constraints` are the names of those whose violation shall be a typed error; one that is not declared
 * is a `DbError`. `columns` names the column of a field where that is not the field's name in snake case. Two fields for one column are refused.
 *
 * `version` is a number field that counts the updates of a row; its column needs a default. An update or delete that is given a row fails with `StaleRow`
 * when somebody else has changed that row since. `softDelete` is a field that is null until the row is deleted: `delete` sets it to the time, no read sees
 * such a row unless it asks for it (`withDeleted`), and `restore` brings it back.
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
  const Key extends
    | (keyof Schema.Schema.Type<M> & string)
    | readonly [keyof Schema.Schema.Type<M> & string, ...ReadonlyArray<keyof Schema.Schema.Type<M> & string>],
  // biome-ignore lint/complexity/noBannedTypes: no constraints, and that is how it reads in a hover
  const C extends Constraints = {},
  const Version extends FieldOf<Schema.Schema.Type<M>, number | bigint> = never,
  const SoftDelete extends keyof Schema.Schema.Type<M> & string = never
>(
  model: M,
  options: {
    readonly name: Name
    readonly key: Key
    /** The database's schema, when it is not found by the search path. */
    readonly schema?: string | undefined
    readonly constraints?: C
    readonly columns?: { readonly [Field in keyof Schema.Schema.Type<M>]?: string }
    readonly version?: Version
    readonly softDelete?: SoftDelete
  }
): Table<Name, M, Key, C, never, FeaturesOf<Version, SoftDelete>> => {
  const features: Features = {
    ...(options.version === undefined ? {} : { version: options.version }),
    ...(options.softDelete === undefined ? {} : { softDelete: options.softDelete })
  }
  const plan = new TablePlan(
    options.name,
    options.key,
    // Sound: a Model.Class is a class, and its variants are structs.
    model as unknown as ConstructorParameters<typeof TablePlan>[2] & ModelParts,
    options.schema,
    // Sound: the keys are names of fields, the values strings.
    (options.columns ?? {}) as Readonly<Record<string, string>>,
    features
  )
  // Sound: the implementation has what the interface says; the parameters are in the arguments.
  return new TableImplementation(
    options.name,
    model,
    options.key,
    options.schema,
    options.constraints ?? {},
    plan,
    [],
    features
  ) as unknown as Table<Name, M, Key, C, never, FeaturesOf<Version, SoftDelete>>
}

/**
 * The same table in another schema of the database: of one of many tenants, for example.
 *
 * @since 0.1.0
 * @category constructors
 * @example
 * ```ts
 * import { Model } from "@effect/sql"
 * import { Table } from "@effecto/core"
 * import { Schema } from "effect"
 *
 * class Person extends Model.Class<Person>("Person")({ id: Schema.Number, name: Schema.String }) {}
 *
 * const People = Table.make(Person, { name: "people", key: "id" })
 * const Theirs = People.pipe(Table.inSchema("tenant_7"))
 *
 * console.log(Theirs.schema, Theirs.name) // tenant_7 people
 * ```
 */
export const inSchema =
  (schema: string) =>
  <T extends Any>(table: T): T =>
    // Sound: only its schema is another, and that is a string in every table's type.
    implementationOf(table).inSchema(schema) as unknown as T

/**
 * The columns that a table's key is made of, as the database calls them, by the names of the fields: for SQL that is written by hand.
 *
 * @since 0.1.0
 * @category getters
 */
export const keyColumns = (table: Any): ReadonlyArray<{ readonly field: string; readonly column: string }> => {
  const { plan } = implementationOf(table)
  return plan.keyFields.flatMap((field) => {
    const column = plan.field(field)
    return column === undefined ? [] : [{ field, column: column.column }]
  })
}
