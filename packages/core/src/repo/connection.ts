/**
 * Connections that watch what runs on them: each statement is counted and logged, and inside of a transaction it also waits its turn and is
 * refused once its frame has ended. They are ordinary `Connection`s of @effect/sql, so statements written by hand take the same way.
 */
import { type SqlConnection, SqlError } from "@effect/sql"
import { Chunk, Effect, Option, Stream } from "effect"
import type { Frame } from "./frame.js"
import { preparedStatement } from "./prepared.js"
import { TransactionClosed } from "./RepoError.js"
import { observed, type Source, sqlSource } from "./statementlog.js"

/** What `pg` answers to one statement, as far as it is read here. */
export interface Answer {
  readonly command: string
  readonly rowCount: number | null
  readonly rows: Array<Record<string, unknown>>
}

type Transform = (<A extends object>(rows: ReadonlyArray<A>) => ReadonlyArray<A>) | undefined

/** `executeRaw` gives what the driver gave: with `pg` one result, or several for several statements in one text. */
const answers = (raw: unknown): Answer | ReadonlyArray<Answer> => raw as Answer | ReadonlyArray<Answer>

const rowsOf = (raw: unknown): ReadonlyArray<object> => {
  const result = answers(raw)
  // Several statements in one text: @effect/sql-pg answers with one array of rows for each, and so do we.
  return "rows" in result ? (result.rows ?? []) : result.map((one) => one.rows ?? [])
}

/**
 * Runs `use` while this frame has the connection to itself, or `refused` when the frame ended before its turn came. To be called in an
 * uninterruptible region, whose `restore` makes the waiting interruptible.
 */
export const holding = <A, E, R>(
  frame: Frame,
  ends: boolean,
  restore: <A2, E2, R2>(self: Effect.Effect<A2, E2, R2>) => Effect.Effect<A2, E2, R2>,
  use: Effect.Effect<A, E, R>,
  refused: Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> =>
  Effect.suspend(() => {
    const session = frame.session
    const ticket = session.request(frame, ends)
    const giveBack = Effect.sync(() => session.giveBack(ticket))
    const go = () => (ticket.state === "granted" ? Effect.ensuring(use, giveBack) : refused)
    if (ticket.state !== "waiting") return go()
    const turn = Effect.async<void>((resume) => {
      if (ticket.state === "waiting") ticket.wake = () => resume(Effect.void)
      else resume(Effect.void)
    })
    // An interruption can arrive after the turn was given and before the fiber runs: then the connection is handed on.
    return Effect.matchCauseEffect(restore(turn), {
      onFailure: (cause) => Effect.zipRight(giveBack, Effect.failCause(cause)),
      onSuccess: go
    })
  })

const closed = Effect.suspend(() =>
  Effect.fail(
    new SqlError.SqlError({
      cause: new TransactionClosed({ operation: "run this statement", reason: "ended" }),
      message: "The transaction of this statement has ended"
    })
  )
)

/** What all connections of one database have in common. */
export interface ChannelOptions {
  /** Whether parameters may be shown in the log. */
  readonly logParameters: boolean
  /** Whether statements that come again are prepared under a name. */
  readonly prepare: boolean
}

/** A connection of ours: what else of this folder runs statements on, and what @effect/sql sees. */
export abstract class Channel implements SqlConnection.Connection {
  constructor(
    protected readonly raw: SqlConnection.Connection,
    protected readonly options: ChannelOptions
  ) {}

  /** In its turn, if turns have to be taken here. */
  protected abstract turn<A, R>(use: Effect.Effect<A, SqlError.SqlError, R>): Effect.Effect<A, SqlError.SqlError, R>

  protected watched<A, R>(
    self: Effect.Effect<A, SqlError.SqlError, R>,
    text: string,
    parameters: ReadonlyArray<unknown>,
    about: Source
  ): Effect.Effect<A, SqlError.SqlError, R> {
    return this.turn(observed(self, about, text, this.options.logParameters ? parameters : undefined))
  }

  /** One statement, with the driver's own answer; `prepared` when its text comes again and again. */
  query(
    text: string,
    parameters: ReadonlyArray<unknown>,
    about: Source,
    prepared = false
  ): Effect.Effect<Answer, SqlError.SqlError> {
    const statement = prepared && this.options.prepare ? preparedStatement(text) : text
    // Sound: our own statements are single, and `pg` answers a single statement with one result.
    return this.watched(this.raw.executeRaw(statement, parameters), text, parameters, about) as Effect.Effect<
      Answer,
      SqlError.SqlError
    >
  }

  execute(text: string, parameters: ReadonlyArray<unknown>, transform: Transform) {
    return Effect.map(this.executeRaw(text, parameters), (raw) => {
      const rows = rowsOf(raw)
      return transform === undefined ? rows : transform(rows)
    })
  }

  executeRaw(text: string, parameters: ReadonlyArray<unknown>) {
    return this.watched(this.raw.executeRaw(text, parameters), text, parameters, sqlSource)
  }

  executeValues(text: string, parameters: ReadonlyArray<unknown>) {
    return this.watched(this.raw.executeValues(text, parameters), text, parameters, sqlSource)
  }

  executeUnprepared(text: string, parameters: ReadonlyArray<unknown>, transform: Transform) {
    return this.execute(text, parameters, transform)
  }

  abstract executeStream(
    text: string,
    parameters: ReadonlyArray<unknown>,
    transform: Transform
  ): Stream.Stream<unknown, SqlError.SqlError>
}

/** Statements outside of any transaction: the pool gives each a connection. */
export class PoolChannel extends Channel {
  constructor(
    raw: SqlConnection.Connection,
    options: ChannelOptions,
    private readonly reserve: SqlConnection.Connection.Acquirer
  ) {
    super(raw, options)
  }

  protected turn<A, R>(use: Effect.Effect<A, SqlError.SqlError, R>) {
    return use
  }

  /** On a connection of its own: the driver's stream would lose the one it waits for when it is interrupted. */
  executeStream(text: string, parameters: ReadonlyArray<unknown>, transform: Transform) {
    return Stream.unwrapScoped(
      Effect.map(this.reserve, (connection) => connection.executeStream(text, parameters, transform))
    )
  }
}

const readsOnly = /^\s*(select|values|table)\b/i
const readsPerhaps = /^\s*with\b/i
const writes = /\b(insert|update|delete|merge)\b/i

/** Rows that a stream fetches at a time inside of a transaction. */
const fetchSize = 500

/** Statements inside of a transaction: in turns, and only while the frame is open. */
export class FrameChannel extends Channel {
  constructor(
    readonly frame: Frame,
    options: ChannelOptions
  ) {
    super(frame.session.connection, options)
  }

  protected turn<A, R>(use: Effect.Effect<A, SqlError.SqlError, R>) {
    return Effect.uninterruptibleMask((restore) => holding(this.frame, false, restore, restore(use), closed))
  }

  /**
   * `DECLARE` and `FETCH`, one statement for each batch of rows: other statements of the transaction fit in between. The driver's own cursor
   * would hold the connection, and a statement for each row would wait for ever.
   */
  executeStream(text: string, parameters: ReadonlyArray<unknown>, transform: Transform) {
    if (!readsOnly.test(text) && !(readsPerhaps.test(text) && !writes.test(text)))
      return Stream.fromIterableEffect(this.execute(text, parameters, transform))
    const cursor = `"${this.frame.session.nextSavepoint()}"`
    const fetch = Effect.flatMap(
      Effect.mapError(this.execute(`fetch forward ${fetchSize} from ${cursor}`, [], transform), Option.some),
      (rows) => (rows.length === 0 ? Effect.fail(Option.none()) : Effect.succeed(Chunk.unsafeFromArray(rows)))
    )
    return Stream.unwrapScoped(
      Effect.as(
        Effect.acquireRelease(
          this.execute(`declare ${cursor} no scroll cursor for ${text}`, parameters, undefined),
          // A frame that has ended took its cursors along.
          () => Effect.ignore(this.execute(`close ${cursor}`, [], undefined))
        ),
        Stream.repeatEffectChunkOption(fetch)
      )
    )
  }
}
