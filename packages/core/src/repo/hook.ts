/** Hooks on the rows of a table: what they are told, what they may do, and what they add to the types of the calls that run them. */
import type { Model } from "@effect/sql"
import type { Effect, Option, Types } from "effect"
import type { Transaction } from "./frame.js"
import type { HookAbort, HookLoop, HookReentry } from "./RepoError.js"
import type { Repo } from "./repository.js"
import type { Any, Constraints, Features, Insert, Key, Row, Table, Update } from "./Table.js"
import { implementationOf } from "./tableimplementation.js"

/**
 * What hooks can be about.
 *
 * @since 0.1.0
 * @category hooks
 */
export type Operation = "get" | "insert" | "update" | "delete"

/**
 * What a hook is told beside the row: the operation, the call that caused it, what the call was given, and where it stands.
 *
 * What the call was about is in `source`, and in one of the three fields behind it according to what it is.
 *
 * @since 0.1.0
 * @category hooks
 */
export interface Delta<T extends Any> {
  readonly table: T
  readonly operation: Operation
  /** The function that was called: `"fetch"`, for example. */
  readonly call: string
  /** The hook that is told this: `"afterGet"`, for example. */
  readonly hook: HookName
  /** What the call was about: a key or a condition to read by (the table itself, to read all of it), the row to insert, the row or key to change. */
  readonly source: unknown
  /** The `source` of a read by key or by condition. */
  readonly queryable: unknown
  /** What is written, as the hooks before this one left it: the row of an insert, the patch of an update. */
  readonly changeset: Insert<T> | Update<T> | undefined
  /** The row, or the rows, that the call was given: to update, to delete, to preload. */
  readonly record: Row<T> | ReadonlyArray<Row<T>> | undefined
  /** What the call was given beside that: `{ lock: "update" }`, for example. */
  readonly options: Readonly<Record<string, unknown>>
  /** The row before an update or a delete: as it was read when a hook of the table asks for that (`loadOld`), or else as the call was given it. */
  readonly old: Option.Option<Row<T>>
  /** How many hooks this one runs inside of. */
  readonly depth: number
  /** What `Repo.annotate` around the call says: who acts, for example. */
  readonly annotations: Readonly<Record<string, unknown>>
  /** Whether the patch of an update has this field, or the row of an insert. */
  readonly changed: (field: keyof Row<T> & string) => boolean
  /** Stops the operation: it fails with `HookAbort`, and nothing of it is kept. */
  readonly abort: (reason: string) => Effect.Effect<never, HookAbort<T["name"]>>
}

/**
 * What a committed transaction did to one row.
 *
 * @since 0.1.0
 * @category hooks
 */
export interface Change<T extends Any> {
  readonly operation: Exclude<Operation, "get">
  /** As it was written; of a delete, as it was. */
  readonly row: Row<T>
  readonly delta: Delta<T>
}

/**
 * What hooks do when their table is used inside of a hook, whichever that is: nothing (`"skip"`, the default); run, until they are `maxDepth` deep
 * and the call fails with `HookLoop` (`"run"`); or fail the call with `HookReentry` (`"fail"`).
 *
 * @since 0.1.0
 * @category hooks
 */
export type Reentry = "skip" | "run" | "fail"

/**
 * Hooks of one table, run in this order: before, the statement, after. Those of a write run in one transaction with it: a hook that fails undoes the write.
 * Inside of an open transaction that is this one: what fails before anything was written leaves it as it is, what fails afterwards leaves nothing to
 * commit, handled or not, unless the call stands in a `transact` of its own, or the hooks ask for a `savepoint`. Repo calls inside of a hook run no hooks, in fibers it forks neither, unless `reentry` says otherwise.
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
  /** May replace the rows that `insertAll` inserts. Hooks of single rows do not run for them. */
  readonly beforeInsertAll?: (
    rows: ReadonlyArray<Insert<T>>,
    delta: Delta<T>
  ) => Effect.Effect<ReadonlyArray<Insert<T>>, unknown, unknown>
  /** May replace the rows that `insertAll` gives back, when it is asked for them. The statement returns them in any case. */
  readonly afterInsertAll?: (
    rows: ReadonlyArray<Row<T>>,
    delta: Delta<T>
  ) => Effect.Effect<ReadonlyArray<Row<T>>, unknown, unknown>
  /** May replace what `updateAll` changes. */
  readonly beforeUpdateAll?: (patch: Update<T>, delta: Delta<T>) => Effect.Effect<Update<T>, unknown, unknown>
  /** Like `afterInsertAll`, with the rows as they are then. */
  readonly afterUpdateAll?: (
    rows: ReadonlyArray<Row<T>>,
    delta: Delta<T>
  ) => Effect.Effect<ReadonlyArray<Row<T>>, unknown, unknown>
  /** Is given the condition of `deleteAll`. */
  readonly beforeDeleteAll?: (condition: unknown, delta: Delta<T>) => Effect.Effect<void, unknown, unknown>
  /** Like `afterInsertAll`, with the rows as they were. */
  readonly afterDeleteAll?: (
    rows: ReadonlyArray<Row<T>>,
    delta: Delta<T>
  ) => Effect.Effect<ReadonlyArray<Row<T>>, unknown, unknown>
  /**
   * Runs once for each transaction that was committed, after the outermost COMMIT and outside of it, with everything that it did to rows of the table, in order;
   * what savepoints undid is not among it. It cannot fail; should it die, that is logged, and what was committed stays reported as committed.
   */
  readonly afterCommit?: (changes: ReadonlyArray<Change<T>>) => Effect.Effect<void, never, unknown>
  /** Whether `afterCommit` hears of what `insertAll`, `updateAll` and `deleteAll` did, row for row: their statements return the rows then. */
  readonly bulk?: boolean
  /** Of these hooks inside of a hook. */
  readonly reentry?: Reentry
  /**
   * Inside of an open transaction, whether a write with these hooks is a savepoint in it, so that what fails undoes only itself. That is two more statements for
   * each. Without it, a failure after something was written leaves nothing to commit, like a failing statement does.
   */
  readonly savepoint?: boolean
  /** How deep hooks may run inside of each other with `reentry: "run"`; 16 if nothing is said. */
  readonly maxDepth?: number
  /** Reads and locks the row (`for no key update`) before an update or a delete, for `delta.old`: one more statement for each. */
  readonly loadOld?: boolean
}

/**
 * In the type of a table: an operation whose hooks can fail with `E` and need `R`.
 *
 * @since 0.1.0
 * @category hooks
 */
export interface Hook<out O extends HookedOperation, out E, out R> {
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
  readonly beforeInsertAll: "insertAll"
  readonly afterInsertAll: "insertAll"
  readonly beforeUpdateAll: "updateAll"
  readonly afterUpdateAll: "updateAll"
  readonly beforeDeleteAll: "deleteAll"
  readonly afterDeleteAll: "deleteAll"
  readonly afterCommit: "insert" | "update" | "delete"
}

/**
 * What hooks can be about: one row, or what a call for many does.
 *
 * @since 0.1.0
 * @category hooks
 */
export type HookedOperation = Operation | "insertAll" | "updateAll" | "deleteAll"

type OperationsOf<Name extends HookName, S> = Name extends "afterCommit"
  ? S extends { readonly bulk: true }
    ? Exclude<HookedOperation, "get">
    : OperationOf[Name]
  : OperationOf[Name]

/**
 * The names of hooks.
 *
 * @since 0.1.0
 * @category hooks
 */
export type HookName = keyof OperationOf

/** The Repo gives a hook itself, and a write's hooks the transaction they run in. */
type Given<Name> = Name extends "afterGet" | "afterCommit" ? Repo : Repo | Transaction

/** What the rule for hooks inside of hooks adds to what they fail with. */
interface ReentryError {
  readonly skip: never
  readonly run: HookLoop
  readonly fail: HookReentry
}

type ReentryErrorOf<S> = S extends { readonly reentry: infer P extends Reentry } ? ReentryError[P] : never

/** After a commit there is nobody to tell. */
type Failing<Name, S> = Name extends "afterCommit" ? never : ReentryErrorOf<S>

/** One for each operation: an afterCommit is about three. */
type HookOf<O extends HookedOperation, E, R> = O extends HookedOperation ? Hook<O, E, R> : never

/** The condition is always true; an editor shows what it comes to, and not the alias with whole hooks in it. */
type HooksOf<S> = [S] extends [object]
  ? {
      [Name in keyof S & HookName]: S[Name] extends (
        ...args: ReadonlyArray<never>
      ) => Effect.Effect<unknown, infer E, infer R>
        ? HookOf<OperationsOf<Name, S>, E | Failing<Name, S>, Exclude<R, Given<Name>>>
        : never
    }[keyof S & HookName]
  : never

/** A misspelt hook would never run: it does not compile. */
type OnlyHooks<S> = { readonly [Name in Exclude<keyof S, keyof HookSet<Any>>]: never }

type HooksIn<T extends Any> =
  T extends Table<string, Model.AnyNoContext, string | ReadonlyArray<string>, Constraints, infer H, Features>
    ? H
    : never

/**
 * What the hooks of an operation can fail with.
 *
 * @since 0.1.0
 * @category hooks
 */
export type HookError<T extends Any, O extends HookedOperation> =
  HooksIn<T> extends infer H ? (H extends Hook<O, infer E, infer _> ? E : never) : never

/**
 * What the hooks of an operation need.
 *
 * @since 0.1.0
 * @category hooks
 */
export type HookContext<T extends Any, O extends HookedOperation> =
  HooksIn<T> extends infer H ? (H extends Hook<O, infer _, infer R> ? R : never) : never

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
 *     beforeInsert: (row, delta) =>
 *       row.email === "" ? delta.abort("an email is needed") : Effect.succeed({ ...row, email: row.email.toLowerCase() }),
 *     afterCommit: (changes) => Effect.log(`${changes.length} people were written`)
 *   })
 * )
 *
 * console.log(People.name) // people
 * ```
 */
export const hooks =
  <T extends Any, const S extends HookSet<T>>(set: (S & OnlyHooks<S>) | ((table: T) => S)) =>
  (table: T): Table<T["name"], T["model"], T["key"], T["constraints"], HooksIn<T> | HooksOf<S>, T["features"]> =>
    // Sound: the set's functions are only ever called with rows of this table, and the parameters are those of the table and of the set.
    implementationOf(table).withHooks(
      (typeof set === "function" ? set(table) : set) as unknown as HookSet<Any>
    ) as never
