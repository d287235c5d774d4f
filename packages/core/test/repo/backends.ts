/** What connections look like from the server. */
import { SqlClient } from "@effect/sql"
import { Effect } from "effect"

/** Ends a backend, and waits until it is gone: PostgreSQL itself can wait for that since 14 only. */
export const terminated = (sql: SqlClient.SqlClient, pid: number) =>
  Effect.zipRight(
    sql`select pg_terminate_backend(${pid})`,
    Effect.repeat(sql`select pid from pg_stat_activity where pid = ${pid}`, { until: (rows) => rows.length === 0 })
  )

/** Whether the server has at least this major version. */
export const isAtLeast = (major: number) =>
  Effect.flatMap(SqlClient.SqlClient, (sql) =>
    Effect.map(
      sql<{ readonly version: number }>`select current_setting('server_version_num')::int as version`,
      ([server]) => (server?.version ?? 0) >= major * 10_000
    )
  )
