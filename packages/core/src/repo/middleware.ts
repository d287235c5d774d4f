/** A Repo with something around its calls. */
import { Context, Effect, Layer, Stream } from "effect"
import type { Slot } from "../supervision/instance.js"
import { real, slotOf } from "../supervision/lineage.js"
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
      const needs = Context.omit(Repo)(context) as Context.Context<R>
      const added: Middleware = {
        around: (call, next) =>
          Effect.mapInputContext(around(call, next), (now: Context.Context<never>) => Context.merge(now, needs)),
        concerns: (call) =>
          (options?.operations?.includes(call.operation) ?? true) &&
          (options?.tables?.some((table) => table.name === call.table.name && table.schema === call.table.schema) ??
            true)
      }
      return following(repo, (service) => {
        const { database, middlewares } = builtWith(service)
        return make(database, [added, ...middlewares])
      })
    })
  )

type Service = Context.Tag.Service<typeof Repo>

/** Repos that are made around another one at each restart of that, and what they are now. */
const followers = new WeakMap<Service, { readonly slot: Slot; readonly current: () => Service }>()

/** What is made of a Repo; of one that is a child of a tree, and comes as a handle, again for each of its instances. */
const following = (repo: Service, over: (service: Service) => Service): Service => {
  const slot = slotOf(repo) ?? followers.get(repo)?.slot
  if (slot === undefined) return over(repo)
  const now = (): Service => {
    // A use of the handle, which a tree wants to know of.
    void repo.announcer
    const service = real(repo)
    return followers.get(service)?.current() ?? service
  }
  let at: Service | undefined
  let made: Service
  const current = (): Service => {
    const service = now()
    if (service !== at) {
      made = over(service)
      at = service
    }
    return made
  }
  const calls = Object.keys(current()).map((name) => {
    // Sound: all that a Repo has are calls, which are given what they were called with, and the announcer.
    const call = (args: ReadonlyArray<unknown>) => (current()[name as "get"] as (...all: typeof args) => never)(...args)
    const ready = <A>(use: () => Effect.Effect<A>): Effect.Effect<A> =>
      Effect.suspend(() => (slot.current === undefined ? Effect.flatMap(slot.awaitUp, use) : use()))
    const through =
      name === "stream"
        ? (...args: ReadonlyArray<unknown>) =>
            Stream.unwrap(ready(() => Effect.sync((): Stream.Stream<unknown> => call(args))))
        : (...args: ReadonlyArray<unknown>) => ready(() => call(args))
    return [name, name === "announcer" ? repo.announcer : through]
  })
  const service = Object.fromEntries(calls) as Service // it has the members of one
  followers.set(service, { slot, current })
  return service
}
