/** Tables as the Repo sees them: what their types say about rows and hooks is not known here any more. */
import type { Model } from "@effect/sql"
import { pipeArguments } from "effect/Pipeable"
import { Later } from "./fieldplan.js"
import type { Source } from "./statementlog.js"
import type { Any, Constraints, Features, HookSet } from "./Table.js"
import type { TablePlan } from "./tableplan.js"

export const tableTypeId: unique symbol = Symbol.for("@effecto/core/Table")

export class TableImplementation implements Any {
  readonly [tableTypeId] = { _Hooks: (_: never) => _ }

  constructor(
    readonly name: string,
    readonly model: Model.AnyNoContext,
    readonly key: string | ReadonlyArray<string>,
    readonly schema: string | undefined,
    readonly constraints: Constraints,
    readonly plan: TablePlan,
    readonly hookSets: ReadonlyArray<HookSet<Any>>,
    readonly features: Features
  ) {}

  /** The same table with hooks behind those it has. */
  withHooks(added: HookSet<Any>): TableImplementation {
    const { constraints, features, hookSets, key, model, name, plan, schema } = this
    return new TableImplementation(name, model, key, schema, constraints, plan, [...hookSets, added], features)
  }

  /** The same table in another schema. */
  inSchema(schema: string): TableImplementation {
    const { constraints, features, hookSets, key, model, name, plan } = this
    return new TableImplementation(name, model, key, schema, constraints, plan.inSchema(schema), hookSets, features)
  }

  /** The same table, as a call sees it that may only touch rows with these values. */
  narrowed(where: Readonly<Record<string, unknown>>): TableImplementation {
    const { constraints, features, hookSets, key, model, name, schema } = this
    const fields = Object.keys(where)
    const values = new Map(fields.map((field) => [field, this.standingValue(field, where[field])]))
    const plan = this.plan.narrowed(fields)
    const source: Source = { ...plan.source, standing: new Map([...(this.plan.source.standing ?? []), ...values]) }
    // The texts are made once for the fields; the values are those of one call.
    const own: TablePlan = Object.create(plan, { source: { value: source } })
    return new TableImplementation(name, model, key, schema, constraints, own, hookSets, features)
  }

  private standingValue(field: string, value: unknown): unknown {
    const column = this.plan.field(field)
    if (column === undefined)
      throw new Error(`table ${this.name} has no field ${field}, which a middleware narrows it by`)
    if (value === undefined || value === null)
      throw new Error(`a middleware narrows ${this.name} by ${field}, and gives no value for it`)
    const encoded = column.encode(value)
    if (encoded instanceof Later)
      throw new Error(`a middleware cannot narrow ${this.name} by ${field}: its schema is not synchronous`)
    return encoded
  }

  pipe() {
    // biome-ignore lint/complexity/noArguments: what pipeArguments wants
    return pipeArguments(this, arguments)
  }
}

/** Every table is made here. */
export const implementationOf = (table: Any): TableImplementation => {
  if (table instanceof TableImplementation) return table
  throw new Error("this is not a table: make one with Table.make")
}
