import { Effect, Exit, Redacted, Scope } from "effect"
import * as PostgresServer from "../../packages/core/src/postgres/PostgresServer.js"

/** One PostgreSQL for the whole run, unless `DATABASE_URL` names another: the workers inherit its address. */
export default async () => {
  if (process.env.DATABASE_URL !== undefined) return
  const scope = Effect.runSync(Scope.make())
  const server = await Effect.runPromise(PostgresServer.make().pipe(Scope.extend(scope)))
  process.env.DATABASE_URL = Redacted.value(server.url)
  return () => Effect.runPromise(Scope.close(scope, Exit.void))
}
