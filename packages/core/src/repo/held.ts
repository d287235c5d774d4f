/** One connection for the length of an effect, without a transaction. */
import type { SqlClient, SqlConnection } from "@effect/sql"
import { SqlError } from "@effect/sql"
import { Context, Effect, Stream } from "effect"
import { type Restore, uninterruptibleMask } from "../primitives.js"
import { type ChannelOptions, LoneChannel, type On } from "./connection.js"
import { discard, execute, isBusy, isReady, settled } from "./driver.js"
import { type Reserved, settling } from "./lending.js"
import { Patience } from "./patience.js"
import { DbError } from "./RepoError.js"

const refused = (reason: string) =>
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

const ended = refused("the session it belongs to has ended. Await forked fibers inside of it, or fork them outside.")

const streaming = refused(
  "a stream inside of a session needs a transaction, because others have to use the one connection between its chunks. Wrap it in transact."
)

const stuckError = refused(
  "it waits for the one connection of its session, and nothing has happened there for thirty seconds: it is held by a transaction that waits for something else, which may be this. Do what it waits for inside of it, or outside of the session."
)

/** How long a fiber may wait for another one that does nothing, in milliseconds of real time. */
const patience = 30_000

/** Somebody who waits for the connection. */
interface Waiting {
  state: "waiting" | "granted"
  wake: (() => void) | undefined
}

/** How many sessions are open, in all of the process: where there is none, nobody has to look for his. */
export const sessions = { open: 0 }

/** A connection that is held. Statements, and whole transactions, take turns on it, in the order in which they come. Everything that decides is synchronous. */
export class Held {
  private readonly waiting: Array<Waiting> = []
  private busy = false
  private open = true
  private readonly patience = new Patience(patience)
  readonly channel: LoneChannel

  constructor(
    readonly client: SqlClient.SqlClient,
    private readonly connection: SqlConnection.Connection,
    options: ChannelOptions
  ) {
    this.channel = new HeldChannel(this, options)
    sessions.open += 1
  }

  private readonly next = Effect.sync(() => {
    this.patience.noticed()
    const first = this.waiting.shift()
    if (first === undefined) this.busy = false
    else {
      first.state = "granted"
      first.wake?.()
    }
  })

  /** Its turn, to be given back by {@link next}; without `patience` it waits for as long as it takes. */
  private turn(restore: Restore, patience: Patience | undefined): Effect.Effect<void, SqlError.SqlError> {
    return Effect.suspend(() => {
      if (!this.busy) {
        this.busy = true
        this.patience.noticed()
        return Effect.void
      }
      const place: Waiting = { state: "waiting", wake: undefined }
      this.waiting.push(place)
      const granted = Effect.async<void, SqlError.SqlError>((resume) => {
        if (place.state === "granted") return resume(Effect.void)
        const tired = patience?.whenOver(
          () => isBusy(this.connection),
          () => resume(Effect.fail(stuckError))
        )
        place.wake = () => {
          tired?.()
          resume(Effect.void)
        }
        return tired === undefined ? undefined : Effect.sync(tired)
      })
      // An interruption can arrive after the turn was given and before the fiber runs: then it is handed on.
      const left = Effect.suspend(() => {
        if (place.state === "granted") return this.next
        this.waiting.splice(this.waiting.indexOf(place), 1)
        return Effect.void
      })
      return Effect.onError(restore(granted), () => left)
    })
  }

  get isOpen(): boolean {
    return this.open
  }

  /** To be called in an uninterruptible region, whose `restore` makes the waiting interruptible. */
  take(restore: Restore): Effect.Effect<Reserved, SqlError.SqlError> {
    const { connection, next, patience } = this
    const giveBack = Effect.suspend(() =>
      isReady(connection) ? next : Effect.zipRight(settled(connection, settling), next)
    )
    return Effect.flatMap(this.turn(restore, patience), () =>
      this.open ? Effect.succeed({ connection, giveBack, patience }) : Effect.zipRight(next, Effect.fail(ended))
    )
  }

  /** From here on nothing runs on it; done when what runs has ended. */
  readonly end: Effect.Effect<void> = Effect.suspend(() => {
    if (this.open) sessions.open -= 1
    this.open = false
    // Without patience nothing can fail.
    return Effect.orDie(Effect.zipRight(this.turn(stays, undefined), this.next))
  })
}

const stays: Restore = (self) => self

class HeldChannel extends LoneChannel {
  constructor(
    private readonly held: Held,
    options: ChannelOptions
  ) {
    super(options)
  }

  protected readonly on: On = (use) =>
    uninterruptibleMask((restore) =>
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

/** Whether a fiber with this context is in a session that is open, of whichever client. */
export const isInSession = (context: Context.Context<never>): boolean => {
  if (sessions.open === 0) return false
  const found: unknown = context.unsafeMap.get(heldTag.key)
  return found instanceof Held && found.isOpen
}

/** What a session may leave behind, but for prepared statements, which the driver believes to be there. */
const reset =
  "close all; set session authorization default; reset all; unlisten *; select pg_advisory_unlock_all(); discard temp; discard sequences"

/** How long the server may take for that, in milliseconds. */
const limit = 5000

/** Gives nothing of the session to whoever gets the connection next. */
export const cleaned = (connection: SqlConnection.Connection): Effect.Effect<void> =>
  Effect.catchAll(Effect.asVoid(execute(connection, reset, [], limit)), () => discard(connection))
