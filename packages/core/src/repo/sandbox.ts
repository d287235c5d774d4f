/** A Repo for one test: everything happens in a transaction that is rolled back when the test is over. */
import { SqlClient } from "@effect/sql"
import { Effect, Layer } from "effect"
import { uninterruptibleMask } from "../primitives.js"
import { discard } from "./driver.js"
import { control, limit, rollback, stay } from "./ending.js"
import { Frame, Session } from "./frame.js"
import { Patience } from "./patience.js"
import { provided } from "./provided.js"
import type { StatementError } from "./RepoError.js"
import type { Repo } from "./repository.js"
import { statementError } from "./sqlstate.js"
import { holding } from "./turns.js"

/** How long a fiber may wait for another one that waits for it, in milliseconds of real time. */
const patience = 3000

/**
 * A Repo and its `SqlClient` for one test, on a connection of its own: whatever the test writes, tables it creates included, is rolled back when the layer is
 * closed, and nobody else ever sees it.
 *
 * The test notices nothing: `transact` opens and ends transactions as it does elsewhere, each of them a savepoint really. What waits for their commit
 * (`afterCommit`, hooks after a commit, what caches hear) runs when the outermost of them ends well, and deferred constraints are looked at
 * then. Fibers share the one connection and take turns: a transaction that waits for a fiber that was there before it would never get on, so after three
 * seconds in which nothing happens whoever waits dies with a message that says so.
 *
 * What is different: isolation, `readOnly` and `deferrable` do nothing; `now()` stands still; a lock is kept until the end of the test; sequences are not rolled
 * back; and what takes a connection of its own (session locks, `sql.reserve`, another process) sees nothing of it.
 *
 * @since 0.1.0
 * @category layers
 * @example
 * ```ts
 * import { SqlClient } from "@effect/sql"
 * import { Repo, Transaction } from "@effecto/core"
 * import { EmbeddedPostgres } from "@effecto/core/testing"
 * import { Effect } from "effect"
 *
 * // in a test: it.layer(EmbeddedPostgres)("people", (it) => { it.effect("…", () => test.pipe(Effect.provide(Repo.sandbox))) })
 * const test = Effect.gen(function* () {
 *   const sql = yield* SqlClient.SqlClient
 *   yield* sql`create table people (name text)`
 *   yield* Repo.transact(
 *     Effect.zipRight(sql`insert into people values ('Ada')`, Transaction.afterCommit(Effect.sync(() => console.log("committed")))) // committed
 *   )
 *   console.log(yield* sql`select name from people`) // [ { name: 'Ada' } ]
 * })
 *
 * // The second one would fail if the first one's table were still there.
 * const both = Effect.zipRight(test.pipe(Effect.provide(Repo.sandbox)), Effect.void)
 *
 * Effect.runPromise(both.pipe(Effect.provide(EmbeddedPostgres)))
 * ```
 */
export const sandbox: Layer.Layer<Repo | SqlClient.SqlClient, StatementError, SqlClient.SqlClient> =
  Layer.scopedContext(
    uninterruptibleMask((restore) =>
      Effect.gen(function* () {
        const { context, database } = provided(yield* SqlClient.SqlClient, { logParameters: false, prepare: true })
        const reserved = yield* Effect.mapError(database.take(restore), (error) =>
          statementError(error, "open a sandbox")
        )
        yield* control(reserved.connection, "begin", limit).pipe(
          Effect.mapError((error) => statementError(error, "open a sandbox")),
          Effect.onError(() => Effect.zipRight(discard(reserved.connection), reserved.giveBack))
        )
        const session = new Session(database, reserved.connection)
        session.patience = new Patience(patience)
        // Above the outermost transactions of the test, whose depth is 0.
        const ground = new Frame(session, undefined, undefined, -1, undefined)
        database.ground = ground
        yield* Effect.addFinalizer(() => {
          ground.end()
          const ending = rollback(ground)
          return Effect.zipRight(holding(ground, true, stay, ending, ending), reserved.giveBack)
        })
        return context
      })
    )
  )
