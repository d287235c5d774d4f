/** Repos on pools of their own, all of them on the one database of the test. */
import { SqlClient } from "@effect/sql"
import { PgClient } from "@effect/sql-pg"
import { Context, Effect, Layer, Redacted, type Scope } from "effect"
import { Pool, type PoolClient } from "pg"
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

/** A Repo on a pool of the program's own, which sends something on each connection that it makes, and does not wait for that. */
export const sendingPool = (
  max: number,
  send: (client: PoolClient) => Promise<unknown>
): Effect.Effect<Context.Tag.Service<typeof Repo.Repo>, unknown, PgClient.PgClient | Scope.Scope> =>
  Effect.gen(function* () {
    const { config } = yield* PgClient.PgClient
    const acquire = Effect.acquireRelease(
      Effect.sync(() => {
        const own = new Pool({ connectionString: Redacted.value(config.url ?? Redacted.make("")), max })
        own.on("connect", (client) => void send(client).catch(() => {}))
        return own
      }),
      (own) => Effect.promise(() => own.end())
    )
    const context = yield* Layer.build(Repo.layer().pipe(Layer.provideMerge(PgClient.layerFromPool({ acquire }))))
    return Context.get(context, Repo.Repo)
  })
