/** What a Repo's layer provides: the Repo, and the client that it was given, with our transactions. */
import { SqlClient, SqlError } from "@effect/sql"
import { Context, Effect } from "effect"
import type { Instance } from "../supervision/instance.js"
import { clientFor, type Database, type DatabaseOptions, driverTag } from "./database.js"
import { make } from "./operations.js"
import { Repo } from "./repository.js"
import { transactOn } from "./transact.js"

/** Tells an effect's own failure from the transaction's. */
class FromEffect<E> {
  constructor(readonly error: E) {}
}

const withTransaction =
  (database: Database) =>
  <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E | SqlError.SqlError, R> =>
    // Sound: an effect that asks for the Transaction gets it, and keeps asking as far as this signature can tell.
    Effect.mapError(
      transactOn(
        database,
        Effect.mapError(self, (error) => new FromEffect(error)),
        {}
      ),
      (error): E | SqlError.SqlError =>
        error instanceof FromEffect ? error.error : new SqlError.SqlError({ cause: error, message: error.message })
    ) as Effect.Effect<A, E | SqlError.SqlError, R>

export const provided = (
  base: SqlClient.SqlClient,
  options: DatabaseOptions,
  instance?: Instance
): { readonly context: Context.Context<Repo | SqlClient.SqlClient>; readonly database: Database } => {
  const { client, database } = clientFor(base, options, withTransaction, instance)
  const context = Context.make(Repo, make(database)).pipe(Context.add(SqlClient.SqlClient, client))
  const driver = driverTag(base)
  return { context: driver === undefined ? context : Context.add(context, driver, client), database }
}
