/** Connections beside the pool, on a server of its own that asks for passwords which change. */
import { createRequire } from "node:module"
import { SqlClient } from "@effect/sql"
import { PgClient } from "@effect/sql-pg"
import { describe, expect, it } from "@effect/vitest"
import { Context, Effect, Layer } from "effect"
import * as AdvisoryLock from "../../src/locks/AdvisoryLock.js"
import * as PostgresServer from "../../src/postgres/PostgresServer.js"
import * as Repo from "../../src/repo/Repo.js"

interface Pool {
  on(event: "error", listener: () => void): void
  end(): Promise<void>
}

// As @effect/sql-pg finds it.
const pg = createRequire(createRequire(import.meta.url).resolve("@effect/sql-pg"))("pg") as {
  readonly Pool: new (options: Readonly<Record<string, unknown>>) => Pool
}

type Acquire = Parameters<typeof PgClient.layerFromPool>[0]["acquire"]

/** A server that asks the user `rotating` for its password, and how to give it another one. */
const guarded = Effect.gen(function* () {
  const { config } = yield* PgClient.PgClient
  const sql = yield* SqlClient.SqlClient
  yield* sql`create role rotating login password 'first'`
  const [file] = yield* sql<{ readonly at: string }>`select current_setting('hba_file') as at`
  yield* sql.unsafe(
    `copy (values ('local all rotating scram-sha-256'), ('local all all trust')) to '${file?.at}'; select pg_reload_conf()`
  )
  const rotate = (password: string) => sql.unsafe(`alter role rotating password '${password}'`)
  const enter = (password: () => string) =>
    Effect.acquireRelease(
      Effect.sync(() => {
        const pool = new pg.Pool({
          host: config.host,
          port: config.port,
          database: config.database,
          user: "rotating",
          password,
          max: 2
        })
        // As @effect/sql-pg does it for a pool of its own: without a listener the end of an idle connection would end the process.
        pool.on("error", () => {})
        return pool
      }),
      (pool) => Effect.promise(() => pool.end())
    ) as unknown as Acquire
  // The server reads its file some time after it was told to.
  yield* Effect.scoped(
    Layer.build(PgClient.layerFromPool({ acquire: enter(() => "wrong") })).pipe(
      Effect.flatMap((context) => Context.get(context, SqlClient.SqlClient)`select 1`)
    )
  ).pipe(Effect.repeat({ until: () => false }), Effect.ignore)
  return { rotate, enter }
})

const served = <A, E>(self: Effect.Effect<A, E, PgClient.PgClient | SqlClient.SqlClient>) =>
  Effect.scoped(
    Effect.flatMap(PostgresServer.make(), (server) =>
      Effect.provide(
        self,
        PostgresServer.client().pipe(Layer.provide(Layer.succeed(PostgresServer.PostgresServer, server)))
      )
    )
  )

describe("a connection beside the pool", () => {
  it.live(
    "asks for the password anew where the pool's is a function that the Repo was given too",
    () =>
      served(
        Effect.gen(function* () {
          const { enter, rotate } = yield* guarded
          let now = "first"
          const password = () => now
          const layer = Repo.layer({ password }).pipe(
            Layer.provideMerge(PgClient.layerFromPool({ acquire: enter(password) }))
          )
          yield* Effect.gen(function* () {
            yield* Effect.scoped(AdvisoryLock.session("one"))
            yield* rotate("second")
            now = "second"
            yield* Effect.scoped(AdvisoryLock.session("one"))
          }).pipe(Effect.provide(layer))
        })
      ),
    60_000
  )

  it.live(
    "is refused once at most with an old password when a connection of the pool has a newer one",
    () =>
      served(
        Effect.gen(function* () {
          const { enter, rotate } = yield* guarded
          let now = "first"
          yield* Effect.gen(function* () {
            const sql = yield* SqlClient.SqlClient
            yield* Effect.scoped(AdvisoryLock.session("one"))
            yield* rotate("second")
            const old = yield* Effect.flip(Effect.scoped(AdvisoryLock.session("one")))
            expect(old).toMatchObject({ _tag: "DbError", code: "28P01" })
            now = "second"
            // The pool opens another one, because the first is gone.
            yield* Effect.ignore(sql`select pg_terminate_backend(pg_backend_pid())`)
            yield* sql`select 1`
            yield* Effect.scoped(AdvisoryLock.session("one"))
          }).pipe(
            Effect.provide(Repo.layer().pipe(Layer.provideMerge(PgClient.layerFromPool({ acquire: enter(() => now) }))))
          )
        })
      ),
    60_000
  )
})
