/** A Repo with something around its calls. */
import { Context, Effect, Layer } from "effect"
import { real } from "../supervision/lineage.js"
import type { Around, Middleware } from "./chain.js"
import { builtWith, make } from "./operations.js"
import { Repo } from "./repository.js"
import type { Any, Operation } from "./Table.js"

/**
 * Puts something around the calls of a Repo: of all tables, or of some; of all operations, or of some. For what cuts across tables: read-only
 * mode, tenancy, audit, measuring.
 *
 * It takes a Repo and provides another, so layers say the order: a middleware provided with another one is around that. For one call the order is
 *
 * ```text
 *   outer middleware ─ inner middleware ─ BEGIN, if none is open ─ before hooks ─ the statement ─ after hooks ─ COMMIT ─ afterCommit hooks
 *                                                                                      └── and back through inner and outer middleware
 * ```
 *
 * Calls that hooks make go through it too, whether hooks run there or not, and disabling hooks does not disable it. What it needs is taken when the layer is
 * built. It may fail a call by `call.refuse` only.
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
 *   name: Schema.String
 * }) {}
 *
 * const People = Table.make(Person, { name: "people", key: "id" })
 *
 * const ReadOnly = Repo.middleware(
 *   (call, next) => (call.annotations.maintenance === true ? call.refuse("it is read only during maintenance") : next()),
 *   { operations: ["insert", "update", "delete"] }
 * )
 *
 * const program = Effect.gen(function* () {
 *   const sql = yield* SqlClient.SqlClient
 *   yield* sql`create table people (id serial primary key, name text not null)`
 *   yield* Repo.insert(People, { name: "Ada" })
 *   const refused = yield* Repo.insert(People, { name: "Bob" }).pipe(Repo.annotate({ maintenance: true }), Effect.flip)
 *   console.log(refused.message) // could not insert people: it is read only during maintenance
 * })
 *
 * const Database = ReadOnly.pipe(Layer.provideMerge(Repo.layer()), Layer.provide(EmbeddedPostgres))
 *
 * Effect.runPromise(program.pipe(Effect.provide(Database)))
 * ```
 */
export const middleware = <R = never>(
  around: Around<R>,
  options?: {
    /** By name and schema, as `Table.make` was told them: those with their hooks and those without are one table, one with `schema: "public"` is another. */
    readonly tables?: ReadonlyArray<Any> | undefined
    readonly operations?: ReadonlyArray<Operation> | undefined
  }
): Layer.Layer<Repo, never, Repo | R> =>
  Layer.effect(
    Repo,
    Effect.contextWith((context: Context.Context<Repo | R>) => {
      const repo = Context.get(context, Repo)
      // Through a handle this is a use of it, which a tree wants to know of: what is made here is good for this instance.
      void repo.announcer
      const { database, middlewares } = builtWith(real(repo))
      const needs = Context.omit(Repo)(context) as Context.Context<R>
      const added: Middleware = {
        around: (call, next) =>
          Effect.mapInputContext(around(call, next), (now: Context.Context<never>) => Context.merge(now, needs)),
        concerns: (call) =>
          (options?.operations?.includes(call.operation) ?? true) &&
          (options?.tables?.some((table) => table.name === call.table.name && table.schema === call.table.schema) ??
            true)
      }
      return make(database, [added, ...middlewares])
    })
  )
