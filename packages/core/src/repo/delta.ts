/** What hooks are told. */
import { Effect, Option } from "effect"
import type { HookState } from "./hookstate.js"
import { HookAbort } from "./RepoError.js"
import type { Any, Delta, HookName, Insert, Operation, Row, Update } from "./Table.js"
import type { TableImplementation } from "./tableimplementation.js"

/** What a call is about, as far as it is the same for all of its hooks. */
export interface Call {
  readonly table: TableImplementation
  readonly operation: Operation
  readonly call: string
  readonly source: unknown
  readonly queryable?: unknown
  readonly record?: unknown
  readonly options?: object | undefined
  readonly old?: object | undefined
}

const none: Readonly<Record<string, unknown>> = Object.freeze({})

export class DeltaOf implements Delta<Any> {
  readonly table: TableImplementation
  readonly operation: Operation
  readonly call: string
  readonly source: unknown
  readonly queryable: unknown
  readonly record: Row<Any> | ReadonlyArray<Row<Any>> | undefined
  readonly options: Readonly<Record<string, unknown>>
  readonly depth: number
  readonly annotations: Readonly<Record<string, unknown>>
  readonly #old: object | undefined

  constructor(
    about: Call,
    readonly hook: HookName,
    readonly changeset: Insert<Any> | Update<Any> | undefined,
    state: HookState
  ) {
    this.table = about.table
    this.operation = about.operation
    this.call = about.call
    this.source = about.source
    this.queryable = about.queryable
    // Sound: what a call was given for rows of the table.
    this.record = about.record as Row<Any> | undefined
    // Sound: an object, looked at by the names of its fields.
    this.options = (about.options as Readonly<Record<string, unknown>> | undefined) ?? none
    this.depth = state.path.length
    this.annotations = state.annotations
    this.#old = about.old
  }

  get old(): Option.Option<Row<Any>> {
    // Sound: read from the table, or given to the call as a row of it.
    return Option.fromNullable(this.#old as Row<Any> | undefined)
  }

  readonly changed = (field: string): boolean =>
    typeof this.changeset === "object" && this.changeset !== null && Object.hasOwn(this.changeset, field)

  readonly abort = (reason: string): Effect.Effect<never, HookAbort> =>
    Effect.suspend(() =>
      Effect.fail(new HookAbort({ table: this.table.name, operation: this.operation, hook: this.hook, reason }))
    )
}
