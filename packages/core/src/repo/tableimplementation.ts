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
