/**
 * Tells who wants to know which rows the Repo has changed: after the outermost COMMIT, and only then.
 *
 * Every write of a Repo is announced, those of many rows too. What a savepoint did that was rolled back is not, nor anything of a transaction that was
 * rolled back. A single statement outside of any transaction is announced when it is done. Statements that were written by hand say what they changed
 * with {@link touch}; so do those that change other tables by a trigger or `on delete cascade`.
 *
 * ```text
 *   writes ─▶ what this transaction changed ─▶ beforeCommit, in the transaction ─▶ withCommit, COMMIT ─▶ listeners ─▶ afterCommit ─▶ the result of transact
 * ```
 *
 * It is *not* durable, and knows nothing of other processes: `withCommit` is where a `pg_notify` for those goes.
 *
 * @since 0.1.0
 */
import type { SqlError } from "@effect/sql"
import { Context, Effect, type Scope } from "effect"
import type { Announcer, Change, Guard, Listener, OnEnd, WithCommit } from "./changes.js"
import { currentFrame, type Frame } from "./frame.js"
import type { StatementError } from "./RepoError.js"
import { Repo } from "./repository.js"
import type * as Table from "./Table.js"
import type { TransactError } from "./transact.js"

export type { Announcement, Change, CommitStatement, Guard, Listener, OnEnd, WithCommit } from "./changes.js"
export { isInDoubt } from "./indoubt.js"
export { hasOneSpelling } from "./rowkey.js"

/** Adds to who is told, for the length of a scope; `add` gives back how to end it. */
const listening = (add: (announcer: Announcer) => () => void): Effect.Effect<void, never, Repo | Scope.Scope> =>
  Effect.flatMap(Repo, (repo) =>
    Effect.asVoid(
      Effect.acquireRelease(
        Effect.sync(() => add(repo.announcer)),
        (end) => Effect.sync(end)
      )
    )
  )

/**
 * Has a function told of every change of the Repo's database that was committed, or may have been, for the length of a scope. It runs synchronously, in
 * the fiber that committed: what it does is done before `transact`, or the write, gives its result. It must be short. What it throws is logged.
 *
 * A write that was interrupted, or lost its connection, may have been done: its outcome is `"unknown"`. Inside of a `withTransaction` of @effect/sql's own
 * client changes are announced when PostgreSQL has answered its COMMIT, those of savepoints that were rolled back included; with a driver that is not `pg`, at once and
 * as `"unknown"`.
 *
 * @since 0.1.0
 * @category listening
 * @example
 * ```ts
 * import { Model, SqlClient } from "@effect/sql"
 * import { Announcement, Repo, Table } from "@effecto/core"
 * import { EmbeddedPostgres } from "@effecto/core/testing"
 * import { Effect, Layer, Schema } from "effect"
 *
 * class Person extends Model.Class<Person>("Person")({ id: Schema.Number, name: Schema.String }) {}
 *
 * const People = Table.make(Person, { name: "people", key: "id" })
 *
 * const program = Effect.gen(function* () {
 *   const sql = yield* SqlClient.SqlClient
 *   yield* sql`create table people (id int primary key, name text not null)`
 *   yield* Announcement.listen(({ changes, outcome }) => console.log(outcome, JSON.stringify(changes))) // committed [{"table":"people","keys":[1]}]
 *   yield* Repo.insert(People, { id: 1, name: "Ada" })
 * })
 *
 * Effect.runPromise(Effect.scoped(program).pipe(Effect.provide(Repo.layer().pipe(Layer.provide(EmbeddedPostgres)))))
 * ```
 */
export const listen = (listener: Listener): Effect.Effect<void, never, Repo | Scope.Scope> =>
  listening((announcer) => announcer.listen(listener))

/**
 * Has an effect run inside of every transaction that changed something, right before its COMMIT, for the length of a scope. Its failure rolls the
 * transaction back. While there is one, a write outside of any transaction gets a transaction of its own. Who is to be told what became of the
 * transaction says so by `onEnd`.
 *
 * Inside of a `withTransaction` of @effect/sql's own client, whose end we are not asked before, it runs behind each write.
 *
 * @since 0.1.0
 * @category listening
 */
export const beforeCommit = <R>(
  run: (changes: ReadonlyArray<Change>, onEnd: OnEnd) => Effect.Effect<void, SqlError.SqlError | StatementError, R>
): Effect.Effect<void, never, R | Repo | Scope.Scope> =>
  Effect.contextWithEffect((context: Context.Context<R>) =>
    listening((announcer) =>
      announcer.join((changes, onEnd) =>
        // What it needs from here; the transaction from there.
        Effect.mapInputContext(run(changes, onEnd), (there) => Context.merge(context, there))
      )
    )
  )

/**
 * Has a statement sent together with the COMMIT of every transaction that changed something, for the length of a scope: both go with one round trip, and
 * nothing is committed when it fails. A write outside of any transaction is sent together with it, as one transaction of the two, where the keys of what it
 * writes are known beforehand; otherwise it gets a transaction of its own.
 *
 * What a write by itself would change may then be nothing: a row that is not there. In a `Repo.sandbox` nothing is sent, because nothing is committed there.
 * Inside of a `withTransaction` of @effect/sql's own client, whose end we are not asked before, it is sent behind each write.
 *
 * @since 0.1.0
 * @category listening
 */
export const withCommit = (make: WithCommit): Effect.Effect<void, never, Repo | Scope.Scope> =>
  listening((announcer) => announcer.accompany(make))

/**
 * Has a function told of every write before its statement is sent, and of the end of what it stands in, for the length of a scope: for who must not serve a
 * row from the first write to the commit. Like {@link listen} it runs synchronously, and must not throw.
 *
 * @since 0.1.0
 * @category listening
 */
export const guard = (guard: Guard): Effect.Effect<void, never, Repo | Scope.Scope> =>
  listening((announcer) => announcer.guard(guard))

/**
 * Has a function called each time that the Repo, or the client it reaches its database by, has been started anew by the tree it is supervised in, for the length of
 * a scope: the database may be another one, and what the instance before had under way may have come to anything. Like {@link listen} it runs
 * synchronously, before the new instance is asked for anything, and must not throw.
 *
 * Whoever listens goes on to hear of what the new instance writes.
 *
 * @since 0.1.0
 * @category listening
 */
export const onRestart = (run: () => void): Effect.Effect<void, never, Repo | Scope.Scope> =>
  listening((announcer) => announcer.onRenewal(run))

/**
 * Says that rows of a table were changed by something else than the Repo: by these keys, or all of them when there are none given, or where the database may
 * spell one of the keys otherwise (a text may be a uuid in upper case). Announced like any other write: after the COMMIT of the transaction it stands in, or at once.
 *
 * @since 0.1.0
 * @category announcing
 */
export const touch = <T extends Table.Any>(
  table: T,
  keys?: ReadonlyArray<Table.Key<T>>
): Effect.Effect<void, TransactError, Repo> => Effect.flatMap(Repo, (repo) => repo.touch(table, keys))

/**
 * What the transaction that this effect stands in has changed so far, savepoints that were rolled back left out: nobody else can see it yet. Outside
 * of a transaction, and while nobody listens to the Repo, that is nothing.
 *
 * @since 0.1.0
 * @category announcing
 */
export const pending: Effect.Effect<ReadonlyArray<Change>, never, Repo> = Effect.flatMap(Repo, (repo) =>
  Effect.withFiberRuntime((fiber) => {
    const found: Array<Change> = []
    let frame = frameHeardBy(fiber.currentContext, repo.announcer)
    for (; frame !== undefined; frame = frame.parent) found.push(...frame.changes.list())
    return Effect.succeed(found)
  })
)

/**
 * Whether the transaction that a fiber with this context stands in has changed a row of the table that nobody else can see yet; without a key, whether
 * it has changed any. As {@link pending}, but at once and for one question: for a cache that decides about a hit.
 *
 * @since 0.1.0
 * @category announcing
 */
export const unsafeHasPending = (
  repo: Context.Tag.Service<typeof Repo>,
  context: Context.Context<never>,
  table: Table.Any,
  key?: unknown
): boolean => {
  let frame = frameHeardBy(context, repo.announcer)
  for (; frame !== undefined; frame = frame.parent) if (frame.isOpen && frame.changes.has(table, key)) return true
  return false
}

/** The innermost frame that this announcer tells of: that of a Repo which comes as a handle, too. */
const frameHeardBy = (context: Context.Context<never>, announcer: Announcer): Frame | undefined => {
  let frame = currentFrame(context)
  while (frame !== undefined && frame.session.database.announcer !== announcer) frame = frame.enclosing
  return frame
}
