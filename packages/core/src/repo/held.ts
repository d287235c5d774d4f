/** One connection for the length of an effect, without a transaction. */
import type { SqlClient, SqlConnection } from "@effect/sql"
import { SqlError } from "@effect/sql"
import { Context, Effect, Stream } from "effect"
import { type ChannelOptions, LoneChannel, type On } from "./connection.js"
import { discard, execute, isReady, settled } from "./driver.js"
import { type Reserved, type Restore, settling } from "./lending.js"
import { DbError } from "./RepoError.js"

const refusal = (reason: string) =>
  new SqlError.SqlError({
    cause: new DbError({
      operation: "run this statement",
      kind: "statement",
      code: undefined,
      retryable: false,
      reason,
      cause: undefined
    }),
    message: "This statement cannot be run in its session"
  })

const ended = refusal("the session it belongs to has ended. Await forked fibers inside of it, or fork them outside.")

const streaming = refusal(
  "a stream inside of a session needs a transaction, because others have to use the one connection between its chunks. Wrap it in transact."
)

/** A connection that is held. Statements, and whole transactions, take turns on it. */
export class Held {
  private readonly turns = Effect.unsafeMakeSemaphore(1)
  private open = true
  readonly channel: LoneChannel

  constructor(
    readonly client: SqlClient.SqlClient,
    private readonly connection: SqlConnection.Connection,
    options: ChannelOptions
  ) {
    this.channel = new HeldChannel(this, options)
  }

  /** To be called in an uninterruptible region, whose `restore` makes the waiting interruptible. */
  take(restore: Restore): Effect.Effect<Reserved, SqlError.SqlError> {
    const release = Effect.asVoid(this.turns.release(1))
    const giveBack = Effect.suspend(() =>
      isReady(this.connection) ? release : Effect.zipRight(settled(this.connection, settling), release)
    )
    return Effect.flatMap(restore(this.turns.take(1)), () =>
      this.open
        ? Effect.succeed({ connection: this.connection, giveBack })
        : Effect.zipRight(release, Effect.fail(ended))
    )
  }

  /** From here on nothing runs on it; done when what runs has ended. */
  readonly end: Effect.Effect<void> = Effect.suspend(() => {
    this.open = false
    return this.turns.withPermits(1)(Effect.void)
  })
}

class HeldChannel extends LoneChannel {
  constructor(
    private readonly held: Held,
    options: ChannelOptions
  ) {
    super(options)
  }

  protected readonly on: On = (use) =>
    Effect.uninterruptibleMask((restore) =>
      Effect.flatMap(this.held.take(restore), ({ connection, giveBack }) =>
        Effect.ensuring(restore(use(connection)), giveBack)
      )
    )

  executeStream() {
    return Stream.fail(streaming)
  }
}

/** Under which a context has it. */
export const heldTag = Context.GenericTag<Held>("@effecto/core/Repo/Held")

/** The connection that is held in this context for this client, if one is. */
export const heldOf = (context: Context.Context<never>, client: SqlClient.SqlClient): Held | undefined => {
  const found: unknown = context.unsafeMap.get(heldTag.key)
  return found instanceof Held && found.client === client ? found : undefined
}

/** What a session may leave behind, but for prepared statements, which the driver believes to be there. */
const reset =
  "close all; set session authorization default; reset all; unlisten *; select pg_advisory_unlock_all(); discard temp; discard sequences"

/** How long the server may take for that, in milliseconds. */
const limit = 5000

/** Gives nothing of the session to whoever gets the connection next. */
export const cleaned = (connection: SqlConnection.Connection): Effect.Effect<void> =>
  Effect.catchAll(Effect.asVoid(execute(connection, reset, [], limit)), () => discard(connection))
