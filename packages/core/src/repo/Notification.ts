/**
 * PostgreSQL's NOTIFY, heard on a connection of its own beside the pool.
 *
 * `pg_notify` in a transaction is delivered after its COMMIT, to all that listen on the database at that moment, in the order of the commits. A
 * {@link listen} is one connection, and ends with it: what is sent while nobody listens is heard by nobody, so whoever listens again has missed what he cannot
 * know. It does *not* connect again by itself; `ChangeFeed` of `@effecto/cache` shows what that takes.
 *
 * @since 0.1.0
 */
import { SqlClient } from "@effect/sql"
import { Effect, type Scope } from "effect"
import { quoted } from "./columnnames.js"
import { ownConnection } from "./ownconnection.js"
import type { StatementError } from "./RepoError.js"
import { statementError } from "./sqlstate.js"

/**
 * How to listen. `onEnd` is called once when the connection has ended, whoever ended it, in the very step in which that is noticed.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  readonly onEnd?: (() => void) | undefined
}

/**
 * A connection that listens.
 *
 * @since 0.1.0
 * @category models
 */
export interface Listening {
  /**
   * Sends a notification on this very connection, which so hears it too. An answer that takes longer than `limit`, in milliseconds of real time, ends the
   * connection.
   */
  readonly notify: (payload: string, limit?: number) => Effect.Effect<void, StatementError>
  /** Is done when the connection has ended. */
  readonly ended: Effect.Effect<void>
  /** Ends the connection at once. */
  readonly close: Effect.Effect<void>
}

const failed = (operation: string) => Effect.mapError((error: unknown) => statementError(error, operation))

/**
 * Listens to a channel for the length of a scope: `heard` is called with each payload, synchronously and in the order of the commits, and must not throw. When this
 * answers the server has begun to listen.
 *
 * The connection goes to the server that the client's pool goes to. A pooler in between that lends its connections to one transaction at a time (PgBouncer does in
 * its transaction mode) lets nothing be heard: listen through a client that reaches the server itself.
 *
 * @since 0.1.0
 * @category listening
 * @example
 * ```ts
 * import { Notification } from "@effecto/core"
 * import { EmbeddedPostgres } from "@effecto/core/testing"
 * import { Deferred, Effect } from "effect"
 *
 * const program = Effect.gen(function* () {
 *   const first = yield* Deferred.make<string>()
 *   yield* Notification.listen("news", (payload) => Deferred.unsafeDone(first, Effect.succeed(payload)))
 *   yield* Notification.notify("news", "it rains")
 *   console.log(yield* Deferred.await(first)) // it rains
 * })
 *
 * Effect.runPromise(Effect.scoped(program).pipe(Effect.provide(EmbeddedPostgres)))
 * ```
 */
export const listen = (
  channel: string,
  heard: (payload: string) => void,
  options: Options = {}
): Effect.Effect<Listening, StatementError, Scope.Scope | SqlClient.SqlClient> =>
  Effect.gen(function* () {
    const connection = yield* ownConnection(yield* SqlClient.SqlClient, "unlisten *", {
      notified: (to, payload) => {
        if (to === channel) heard(payload)
      },
      ended: () => options.onEnd?.()
    }).pipe(failed(`open a connection to listen to ${channel}`))
    yield* connection.run(`listen ${quoted(channel)}`).pipe(
      failed(`listen to ${channel}`),
      Effect.onError(() => connection.close)
    )
    return {
      notify: (payload, limit) =>
        Effect.asVoid(connection.run("select pg_notify($1, $2)", [channel, payload], limit)).pipe(
          failed(`notify ${channel}`)
        ),
      ended: connection.ended,
      close: connection.close
    }
  })

/**
 * Sends a notification: with the COMMIT of the transaction it stands in, and never if that is rolled back; or at once. A payload has less than 8,000 bytes.
 *
 * @since 0.1.0
 * @category notifying
 */
export const notify = (channel: string, payload: string): Effect.Effect<void, StatementError, SqlClient.SqlClient> =>
  Effect.flatMap(SqlClient.SqlClient, (sql) => sql`select pg_notify(${channel}, ${payload})`).pipe(
    Effect.asVoid,
    failed(`notify ${channel}`)
  )
