/** Advisory locks of a session: they last for a scope, across as many transactions as it has, on a connection of their own. */
import { SqlClient } from "@effect/sql"
import { type Duration, Effect, ExecutionStrategy, Exit, type Option, Scope } from "effect"
import { millisFrom } from "../durations.js"
import { uninterruptibleMask } from "../primitives.js"
import { type OwnConnection, ownConnection } from "../repo/ownconnection.js"
import { DbError, LockLost, LockTimeout, type StatementError } from "../repo/RepoError.js"
import type { NoOptions, Only } from "../repo/repository.js"
import type { LockError, Wait } from "../repo/rowlock.js"
import { statementError } from "../repo/sqlstate.js"
import { lockSource, observed } from "../repo/statementlog.js"
import { onlyKnown } from "../repo/word.js"
import { inOrder, type LockKey, labelOf, modeText } from "./lockkey.js"

/**
 * How a session lock is taken. `"shared"` locks exclude exclusive ones only. `wait` says for how long to wait, for all of them together. `heartbeat` is how
 * often the connection is asked whether it is still there (5 seconds if nothing is said): a network that swallows everything tells nobody.
 *
 * @since 0.1.0
 * @category models
 */
export interface SessionOptions {
  readonly mode?: "exclusive" | "shared" | undefined
  readonly wait?: Wait | undefined
  readonly heartbeat?: Duration.DurationInput | undefined
}

/**
 * A session lock that is held.
 *
 * @since 0.1.0
 * @category models
 */
export interface SessionLock {
  /** Fails with `LockLost` when the connection ends, and does nothing else: to be raced with what needs the lock. */
  readonly lost: Effect.Effect<never, LockLost>
}

const known: ReadonlySet<string> = new Set<keyof SessionOptions>(["mode", "wait", "heartbeat"])

/** How long the server may take to answer that it is still there, in milliseconds of real time. */
const patience = 5000

const answerTaken = (answer: unknown): boolean =>
  // Sound: `pg` answers a single statement with one result.
  (answer as { readonly rows: ReadonlyArray<{ readonly taken?: unknown }> }).rows[0]?.taken === true

/** Takes them one after the other. */
const take = (
  connection: OwnConnection,
  keys: ReadonlyArray<LockKey>,
  mode: string,
  /** Milliseconds for all of them together. */
  wait: "nowait" | number,
  resource: string
): Effect.Effect<void, StatementError | LockTimeout> => {
  const operation = `take the session lock ${resource}`
  const run = (text: string, parameters: ReadonlyArray<unknown>) =>
    Effect.mapError(observed(connection.run(text, parameters), lockSource, text, undefined), (error) =>
      statementError(error, operation)
    )
  const timeout = new LockTimeout({ resource, cause: undefined })
  if (wait === "nowait")
    return Effect.forEach(
      keys,
      (key) =>
        Effect.flatMap(run(`select pg_try_advisory_lock${mode}($1) as taken`, [key.value.toString()]), (answer) =>
          answerTaken(answer) ? Effect.void : Effect.fail(timeout)
        ),
      { discard: true }
    )
  // PostgreSQL measures in real time, whatever the clock of a test says.
  const begun = performance.now()
  const left = Effect.suspend(() =>
    Number.isFinite(wait)
      ? run("select set_config('lock_timeout', $1, false)", [
          `${Math.min(2 ** 31 - 1, Math.max(1, Math.floor(wait - (performance.now() - begun))))}ms`
        ])
      : Effect.void
  )
  return Effect.forEach(
    keys,
    (key) => Effect.zipRight(left, run(`select pg_advisory_lock${mode}($1)`, [key.value.toString()])),
    { discard: true }
  ).pipe(
    Effect.mapError((error) =>
      error instanceof DbError && error.code === "55P03" ? new LockTimeout({ resource, cause: error.cause }) : error
    )
  )
}

/**
 * Waits until nobody else holds the lock, and holds it until the scope is closed: on a connection of its own beside the pool, so that it outlives
 * transactions and takes no place from statements. For what may be done by one process only: a migration, a scheduler, the leader's work.
 *
 * A connection can be lost at any time, and the lock with it: race what needs the lock with `lost`, or use {@link withSession}, which does. The wait can
 * be interrupted. Several are taken one after the other in one order, whatever the order they are given in.
 *
 * It is the same lock that {@link acquire} takes for a transaction, by another holder: a program that holds one and waits for the other waits for itself.
 *
 * @since 0.1.0
 * @category locking
 */
export const session = <const O extends Only<O, SessionOptions> = NoOptions>(
  names: string | LockKey | ReadonlyArray<string | LockKey>,
  options?: O
): Effect.Effect<SessionLock, StatementError | LockError<O>, Scope.Scope | SqlClient.SqlClient> =>
  Effect.suspend(() => {
    if (options !== undefined) onlyKnown("a session lock", options, known)
    const keys = inOrder(names)
    const resource = labelOf(keys)
    const mode = modeText(options?.mode)
    const lost = new LockLost({ resource })
    // Before a connection is opened: a duration that is none throws.
    const { heartbeat = "5 seconds", wait = Number.POSITIVE_INFINITY } = options ?? {}
    const every = millisFrom("heartbeat", heartbeat)
    if (every === 0) throw new Error("heartbeat is 0 ms; it has to be longer")
    const limit = wait === "nowait" ? wait : millisFrom("wait", wait)
    return Effect.gen(function* () {
      const connection = yield* Effect.mapError(
        ownConnection(yield* SqlClient.SqlClient, "select pg_advisory_unlock_all()"),
        (error) => statementError(error, `open a connection for the session lock ${resource}`)
      )
      yield* Effect.onError(take(connection, keys, mode, limit, resource), () => connection.close)
      // Without an answer the connection is destroyed, which is heard of like any other end. An error is an answer too.
      yield* Effect.ignore(connection.run("select", [], patience)).pipe(
        Effect.delay(every),
        Effect.forever,
        Effect.raceFirst(connection.ended),
        // Whoever takes the lock where nothing can be interrupted closes its scope all the same.
        Effect.interruptible,
        Effect.forkScoped
      )
      return { lost: Effect.zipRight(connection.ended, Effect.fail(lost)) } satisfies SessionLock
    })
    // Sound: LockTimeout comes of a wait only.
  }) as Effect.Effect<SessionLock, StatementError | LockError<O>, Scope.Scope | SqlClient.SqlClient>

/**
 * Takes the lock for a scope if nobody else holds it, without waiting; none if somebody does.
 *
 * @since 0.1.0
 * @category locking
 */
export const trySession = (
  names: string | LockKey | ReadonlyArray<string | LockKey>,
  options?: Omit<SessionOptions, "wait">
): Effect.Effect<Option.Option<SessionLock>, StatementError, Scope.Scope | SqlClient.SqlClient> =>
  uninterruptibleMask((restore) =>
    Effect.gen(function* () {
      // Of its own, so that whoever tries again and again leaves nothing behind in the scope.
      const attempt = yield* Scope.fork(yield* Effect.scope, ExecutionStrategy.sequential)
      const taken = session(names, { ...options, wait: "nowait" })
      return yield* restore(Scope.extend(taken, attempt)).pipe(
        Effect.onError((cause) => Scope.close(attempt, Exit.failCause(cause))),
        Effect.asSome
      )
    })
  ).pipe(Effect.catchAll((error) => (error._tag === "LockTimeout" ? Effect.succeedNone : Effect.fail(error))))

/**
 * Runs an effect while it holds a session lock. When that is lost the effect is interrupted, and once it has ended this fails with `LockLost`.
 *
 * @since 0.1.0
 * @category locking
 * @example
 * ```ts
 * import { AdvisoryLock } from "@effecto/core"
 * import { EmbeddedPostgres } from "@effecto/core/testing"
 * import { Effect } from "effect"
 *
 * const nightly = Effect.sync(() => console.log("only one process does this")) // only one process does this
 *
 * const program = nightly.pipe(
 *   AdvisoryLock.withSession("nightly", { wait: "nowait" }),
 *   Effect.catchTag("LockTimeout", () => Effect.logInfo("another process does it")),
 *   Effect.catchTag("LockLost", () => Effect.logWarning("stopped: another process may do it by now"))
 * )
 *
 * Effect.runPromise(program.pipe(Effect.provide(EmbeddedPostgres)))
 * ```
 */
export const withSession =
  <const O extends Only<O, SessionOptions> = NoOptions>(
    names: string | LockKey | ReadonlyArray<string | LockKey>,
    options?: O
  ) =>
  <A, E, R>(
    self: Effect.Effect<A, E, R>
  ): Effect.Effect<A, E | LockLost | StatementError | LockError<O>, R | SqlClient.SqlClient> =>
    Effect.flatMap(Effect.context<R>(), (context) =>
      Effect.scoped(
        Effect.flatMap(session(names, options), ({ lost }) =>
          Effect.raceFirst(
            // Outside of the lock's own scope: the effect's scope is the one it was given.
            Effect.mapInputContext(self, () => context),
            // Also in a region where the effect is not: it would be waited for.
            Effect.interruptible(lost)
          )
        )
      )
    )
