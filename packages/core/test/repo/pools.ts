/** Repos on pools of their own, all of them on the one database of the test. */
import { SqlClient } from "@effect/sql"
import { PgClient } from "@effect/sql-pg"
import { Context, Effect, Layer, type Scope } from "effect"
import * as Repo from "../../src/repo/Repo.js"

/** A Repo and its client on a pool of this size; what looks on from outside of it is the SqlClient of the context. */
export const pool = (
  maxConnections: number,
  through: Partial<PgClient.PgClientConfig> = {}
): Effect.Effect<
  { readonly repo: Context.Tag.Service<typeof Repo.Repo>; readonly sql: SqlClient.SqlClient },
  unknown,
  PgClient.PgClient | Scope.Scope
> =>
  Effect.gen(function* () {
    const { config } = yield* PgClient.PgClient
    const context = yield* Layer.build(
      Repo.layer().pipe(Layer.provideMerge(PgClient.layer({ ...config, maxConnections, ...through })))
    )
    return { repo: Context.get(context, Repo.Repo), sql: Context.get(context, SqlClient.SqlClient) }
  })
