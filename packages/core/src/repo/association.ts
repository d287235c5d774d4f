/** Rows of other tables that belong to a row: what `Repo.preload` loads. */
import type { Any, Row } from "./Table.js"

/** Nothing nested. */
// biome-ignore lint/complexity/noBannedTypes: an object of no associations
export type NoAssociations = {}

/**
 * Rows of `table` and how they are found: `many` and `one` by a field of theirs that holds this row's key, `parent` by a field of this row that holds
 * theirs. Which belong together is told by the values as the models have them: spellings that only the database takes for one (citext) are two.
 *
 * @since 0.1.0
 * @category associations
 */
export interface Association<
  out Kind extends "many" | "one" | "parent",
  out T extends Any,
  out Nested extends Associations = NoAssociations
> {
  readonly kind: Kind
  readonly table: T
  readonly field: string
  readonly nested: Nested
}

/**
 * Associations by the names that preloaded rows have them under.
 *
 * @since 0.1.0
 * @category associations
 */
export interface Associations {
  readonly [name: string]: Association<"many" | "one" | "parent", Any, Associations>
}

/**
 * A row with its associations loaded.
 *
 * @since 0.1.0
 * @category associations
 */
export type Loaded<R, A extends Associations> = [keyof A] extends [never]
  ? R
  : R & {
      readonly [Name in keyof A]: A[Name]["kind"] extends "many"
        ? ReadonlyArray<Loaded<Row<A[Name]["table"]>, A[Name]["nested"]>>
        : Loaded<Row<A[Name]["table"]>, A[Name]["nested"]> | null
    }

const association =
  <Kind extends "many" | "one" | "parent">(kind: Kind) =>
  (table: Any, field: string, nested: Associations = {}) => ({ kind, table, field, nested })

/**
 * Rows of another table whose `field` holds this row's key. Their order is the database's.
 *
 * @since 0.1.0
 * @category associations
 */
export const hasMany: {
  <T extends Any>(table: T, field: keyof Row<T> & string): Association<"many", T>
  <T extends Any, const Nested extends Associations>(
    table: T,
    field: keyof Row<T> & string,
    nested: Nested
  ): Association<"many", T, Nested>
  // Sound: it gives back what it is given.
} = association("many") as never

/**
 * The row of another table whose `field` holds this row's key, or null. When there are several, which one is not said.
 *
 * @since 0.1.0
 * @category associations
 */
export const hasOne: {
  <T extends Any>(table: T, field: keyof Row<T> & string): Association<"one", T>
  <T extends Any, const Nested extends Associations>(
    table: T,
    field: keyof Row<T> & string,
    nested: Nested
  ): Association<"one", T, Nested>
  // Sound: it gives back what it is given.
} = association("one") as never

/**
 * The row of another table whose key this row's `field` holds, or null. A field that this row's table does not have is a defect of the preload.
 *
 * @since 0.1.0
 * @category associations
 */
export const belongsTo: {
  <T extends Any>(table: T, field: string): Association<"parent", T>
  <T extends Any, const Nested extends Associations>(
    table: T,
    field: string,
    nested: Nested
  ): Association<"parent", T, Nested>
  // Sound: it gives back what it is given.
} = association("parent") as never
