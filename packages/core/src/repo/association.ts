/** Rows of other tables that belong to a row: what `Repo.preload` loads. */
import type { Any, Row } from "./Table.js"

/** Nothing nested. */
// biome-ignore lint/complexity/noBannedTypes: an object of no associations
export type NoAssociations = {}

/**
 * Rows of `table` and how they are found: `many` and `one` by a field of theirs that holds this row's key, `parent` by a field of this row that holds
 * theirs.
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
export type Loaded<R, A extends Associations> = R & {
  readonly [Name in keyof A]: A[Name]["kind"] extends "many"
    ? ReadonlyArray<Loaded<Row<A[Name]["table"]>, A[Name]["nested"]>>
    : Loaded<Row<A[Name]["table"]>, A[Name]["nested"]> | null
}

/**
 * Rows of another table whose `field` holds this row's key.
 *
 * @since 0.1.0
 * @category associations
 */
export const hasMany = <T extends Any, const Nested extends Associations = NoAssociations>(
  table: T,
  field: keyof Row<T> & string,
  nested?: Nested
): Association<"many", T, Nested> =>
  // Sound: nothing nested is what the default of the parameter says.
  ({ kind: "many", table, field, nested: nested ?? ({} as Nested) })

/**
 * The row of another table whose `field` holds this row's key, or null. When there are several, which one is not said.
 *
 * @since 0.1.0
 * @category associations
 */
export const hasOne = <T extends Any, const Nested extends Associations = NoAssociations>(
  table: T,
  field: keyof Row<T> & string,
  nested?: Nested
): Association<"one", T, Nested> =>
  // Sound: nothing nested is what the default of the parameter says.
  ({ kind: "one", table, field, nested: nested ?? ({} as Nested) })

/**
 * The row of another table whose key this row's `field` holds, or null.
 *
 * @since 0.1.0
 * @category associations
 */
export const belongsTo = <T extends Any, const Nested extends Associations = NoAssociations>(
  table: T,
  field: string,
  nested?: Nested
): Association<"parent", T, Nested> =>
  // Sound: nothing nested is what the default of the parameter says.
  ({ kind: "parent", table, field, nested: nested ?? ({} as Nested) })
