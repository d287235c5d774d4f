/**
 * Connections that watch what runs on them: each statement is counted and logged. They are ordinary `Connection`s of @effect/sql, so statements written by
 * hand take the same way. Those inside of a transaction are in framechannel.ts.
 */
import type { SqlConnection, SqlError } from "@effect/sql"
import { Cause, Chunk, Effect, type Fiber, FiberRef, Option, Stream } from "effect"
import { type Restore, uninterruptibleMask } from "../primitives.js"
import { execute, executeValues, isDriven, isInTransaction, run, running } from "./driver.js"
import { settling } from "./lending.js"
import type { Runs } from "./pgclient.js"
import type { Piggyback } from "./pipeline.js"
import { statementFor } from "./prepared.js"
import { controlled, leftOpen, unnarrowed } from "./refusals.js"
import { filledIn } from "./standing.js"
import { isControl, isFetched } from "./statementkind.js"
import { count, isLogged, observed, type Source, sqlSource, transactionSource } from "./statementlog.js"
import { note, timed } from "./statementtimes.js"

/** What `pg` answers to one statement, as far as it is read here. */
export interface Answer {
  readonly command: string
  readonly rowCount: number | null
  /** By the names of columns, or, when they were asked for as lists, by the places of columns in the statement. */
  readonly rows: Array<Readonly<Record<string, unknown>>>
}

/** Runs something on a connection, whichever that is. */
export type On = <A>(
  use: (connection: Runs) => Effect.Effect<A, SqlError.SqlError>
) => Effect.Effect<A, SqlError.SqlError>

/** A connection to run one statement on. */
export interface Turn {
  readonly connection: SqlConnection.Connection
  /** What remains to be done after it was given back, if anything does. */
  back(): Effect.Effect<void> | undefined
  /** What this statement has to be sent with. */
  readonly piggyback?: Piggyback | undefined
}

export type AnyFiber = Fiber.RuntimeFiber<unknown, unknown>

export type Transform = (<A extends object>(rows: ReadonlyArray<A>) => ReadonlyArray<A>) | undefined

/** `executeRaw` gives what the driver gave: with `pg` one result, or several for several statements in one text. */
const answers = (raw: unknown): Answer | ReadonlyArray<Answer> => raw as Answer | ReadonlyArray<Answer>

const rowsOf = (raw: unknown): ReadonlyArray<object> => {
  const result = answers(raw)
  // Several statements in one text: @effect/sql-pg answers with one array of rows for each, and so do we.
  return "rows" in result ? (result.rows ?? []) : result.map((one) => one.rows ?? [])
}

/** What all connections of one database have in common. */
export interface ChannelOptions {
  /** Whether parameters may be shown in the log. */
  readonly logParameters: boolean
  /** Whether statements that come again are prepared under a name. */
  readonly prepare: boolean
  /** Whether the driver gives rows as lists of their values when it is asked to: that spares it an object for each. */
  readonly lists: boolean
}

/** A connection of ours: what else of this folder runs statements on, and what @effect/sql sees. */
export abstract class Channel implements SqlConnection.Connection {
  constructor(protected readonly options: ChannelOptions) {}

  /** Runs this on a connection: in its turn, if turns have to be taken here. */
  protected abstract readonly on: On

  protected watched<A>(
    use: (connection: Runs) => Effect.Effect<A, SqlError.SqlError>,
    text: string,
    parameters: ReadonlyArray<unknown>,
    about: Source
  ): Effect.Effect<A, SqlError.SqlError> {
    const shown = this.options.logParameters ? parameters : undefined
    return Effect.suspend(() => {
      const asked = performance.now()
      return this.on((connection) => observed(timed(asked, use(connection)), about, text, shown))
    })
  }

  protected mayPrepare(): boolean {
    return this.options.prepare
  }

  /** A connection that is there at once for a statement with these parameters, and that can be told to stop. */
  protected turn(_parameters: ReadonlyArray<unknown>): Turn | undefined {
    return undefined
  }

  /** A statement is sent now for a fiber. */
  protected sends(_fiber: AnyFiber, _text: string, _about: Source): void {}

  /**
   * What {@link watched} does, for a statement whose connection is there and that nobody logs, in as few steps as there can be; nothing where that is
   * not so. To be called in an uninterruptible region.
   */
  private atOnce(
    fiber: AnyFiber,
    restore: Restore,
    text: string,
    parameters: ReadonlyArray<unknown>,
    about: Source,
    prepared: boolean,
    piggyback: Piggyback | undefined
  ): Effect.Effect<unknown, SqlError.SqlError> | undefined {
    if (isLogged(fiber) || !Cause.isEmpty(fiber.getFiberRef(FiberRef.interruptedCause))) return undefined
    const turn = this.turn(parameters)
    if (turn === undefined) return undefined
    const begun = performance.now()
    this.sends(fiber, text, about)
    const call = running(
      turn.connection,
      statementFor(text, prepared && this.mayPrepare(), true),
      parameters,
      piggyback ?? turn.piggyback
    )
    count(about)
    note(fiber, "queue", 0)
    return Effect.matchCauseEffect(restore(call.answer), {
      onFailure: (cause) => {
        if (call.isOver) note(fiber, "query", performance.now() - begun)
        return Effect.zipRight(
          call.stopped,
          Effect.suspend(() => Effect.zipRight(turn.back() ?? Effect.void, Effect.failCause(cause)))
        )
      },
      onSuccess: (answer) => {
        note(fiber, "query", performance.now() - begun)
        const rest = turn.back()
        return rest === undefined ? Effect.succeed(answer) : Effect.as(rest, answer)
      }
    })
  }

  private slowly(
    text: string,
    parameters: ReadonlyArray<unknown>,
    about: Source,
    prepared: boolean,
    asLists: boolean,
    piggyback?: Piggyback
  ): Effect.Effect<unknown, SqlError.SqlError> {
    const statement = () => statementFor(text, prepared && this.mayPrepare(), asLists && this.options.lists)
    return this.watched((connection) => run(connection, statement(), parameters, piggyback), text, parameters, about)
  }

  /**
   * One statement, with the driver's own answer; `prepared` when its text comes again and again, `asLists` where rows may be lists of values.
   * `piggyback` only for one that is no part of a transaction.
   */
  query(
    text: string,
    parameters: ReadonlyArray<unknown>,
    about: Source,
    prepared = false,
    asLists = false,
    piggyback?: Piggyback
  ): Effect.Effect<Answer, SqlError.SqlError> {
    if (about.standing !== undefined) {
      const filled = filledIn(text, parameters, about.standing)
      if (filled.cannot) return unnarrowed
      return this.query(filled.text, filled.parameters, { ...about, standing: undefined }, prepared, asLists, piggyback)
    }
    const lists = asLists && this.options.lists
    const answer = lists
      ? uninterruptibleMask((restore) =>
          Effect.withFiberRuntime<unknown, SqlError.SqlError>(
            (fiber) =>
              this.atOnce(fiber, restore, text, parameters, about, prepared, piggyback) ??
              restore(this.slowly(text, parameters, about, prepared, true, piggyback))
          )
        )
      : this.slowly(text, parameters, about, prepared, false)
    // Sound: our own statements are single, and `pg` answers a single statement with one result.
    return answer as Effect.Effect<Answer, SqlError.SqlError>
  }

  execute(text: string, parameters: ReadonlyArray<unknown>, transform: Transform) {
    return Effect.map(this.executeRaw(text, parameters), (raw) => {
      const rows = rowsOf(raw)
      return transform === undefined ? rows : transform(rows)
    })
  }

  executeRaw(text: string, parameters: ReadonlyArray<unknown>) {
    return this.written((connection) => execute(connection, text, parameters), text, parameters)
  }

  executeValues(text: string, parameters: ReadonlyArray<unknown>) {
    return this.written((connection) => executeValues(connection, text, parameters), text, parameters)
  }

  /** A statement that was written by hand. */
  protected written<A>(
    use: (connection: Runs) => Effect.Effect<A, SqlError.SqlError>,
    text: string,
    parameters: ReadonlyArray<unknown>
  ): Effect.Effect<A, SqlError.SqlError> {
    return isControl(text) ? controlled : this.watched(use, text, parameters, sqlSource)
  }

  executeUnprepared(text: string, parameters: ReadonlyArray<unknown>, transform: Transform) {
    return this.execute(text, parameters, transform)
  }

  /**
   * `DECLARE` and `FETCH`, in a transaction that is open: one statement for each batch of rows, and others fit in between. The driver's own cursor would hold
   * the connection, and a statement for each row would wait for ever.
   */
  fetched(
    name: string,
    text: string,
    parameters: ReadonlyArray<unknown>,
    transform: Transform,
    size = fetchSize
  ): Stream.Stream<unknown, SqlError.SqlError> {
    const fetch = Effect.map(
      this.execute(`fetch forward ${size} from "${name}"`, [], transform),
      (rows) => [Chunk.unsafeFromArray(rows), rows.length < size ? Option.none() : Option.some(name)] as const
    )
    // Interruptible: it may have to wait for its turn, or for a lock.
    const declared = uninterruptibleMask((restore) =>
      Effect.flatMap(
        restore(this.execute(`declare "${name}" no scroll cursor for ${text}`, parameters, undefined)),
        // A transaction that has ended took its cursors along.
        () => Effect.addFinalizer(() => Effect.ignore(this.closed(`close "${name}"`)))
      )
    )
    return Stream.unwrapScoped(
      Effect.as(
        declared,
        Stream.paginateChunkEffect(name, () => fetch)
      )
    )
  }

  protected closed(text: string): Effect.Effect<unknown, SqlError.SqlError> {
    return this.watched((connection) => execute(connection, text, [], settling), text, [], sqlSource)
  }

  abstract executeStream(
    text: string,
    parameters: ReadonlyArray<unknown>,
    transform: Transform,
    /** Rows in a chunk. */
    size?: number
  ): Stream.Stream<unknown, SqlError.SqlError>
}

/** Rows that a stream fetches at a time. */
const fetchSize = 500

/** Statements that are not in a transaction of ours. */
export abstract class LoneChannel extends Channel {
  /** Only what consists of several statements can begin a transaction that was not seen at its beginning. */
  protected override written<A>(
    use: (connection: Runs) => Effect.Effect<A, SqlError.SqlError>,
    text: string,
    parameters: ReadonlyArray<unknown>
  ): Effect.Effect<A, SqlError.SqlError> {
    if (!text.includes(";")) return super.written(use, text, parameters)
    return super.written(
      (connection) =>
        Effect.flatMap(use(connection), (value) => (isInTransaction(connection) ? leftOpen : Effect.succeed(value))),
      text,
      parameters
    )
  }
}

/** Statements outside of any transaction of ours, each on a connection that is lent to it; or, without a `reserve`, in a transaction of somebody else's. */
export class PoolChannel extends LoneChannel {
  constructor(
    protected readonly on: On,
    options: ChannelOptions,
    private readonly reserve: SqlConnection.Connection.Acquirer | undefined,
    private readonly atHand?: () => Turn | undefined
  ) {
    super(options)
  }

  protected override turn() {
    return this.atHand?.()
  }

  /**
   * In a transaction on a connection of its own, whose way back rolls it back unless it was read to the end. The driver's own stream waits for ever for the
   * close of its cursor when the server is gone, and cannot be interrupted.
   */
  executeStream(text: string, parameters: ReadonlyArray<unknown>, transform: Transform, size?: number) {
    if (!isFetched(text)) return Stream.fromIterableEffect(this.execute(text, parameters, transform))
    if (this.reserve === undefined) return this.fetched(foreignCursor(), text, parameters, transform, size)
    return Stream.unwrapScoped(
      Effect.map(this.reserve, (connection) => {
        if (!isDriven(connection)) return connection.executeStream(text, parameters, transform)
        const channel = new StreamChannel(connection, this.options)
        return Stream.concat(
          Stream.unwrap(
            Effect.as(channel.control("begin"), channel.fetched("effecto", text, parameters, transform, size))
          ),
          Stream.drain(Stream.fromEffect(channel.control("commit")))
        )
      })
    )
  }
}

/** The transaction of a stream. */
class StreamChannel extends Channel {
  protected readonly on: On = (use) => use(this.connection)

  constructor(
    private readonly connection: SqlConnection.Connection,
    options: ChannelOptions
  ) {
    super(options)
  }

  control(text: "begin" | "commit") {
    return this.watched((connection) => execute(connection, text, []), text, [], transactionSource)
  }

  /** The end of the transaction closes it. */
  protected override closed() {
    return Effect.void
  }

  override executeStream(text: string, parameters: ReadonlyArray<unknown>, transform: Transform, size?: number) {
    return this.fetched("effecto", text, parameters, transform, size)
  }
}

let foreignCursors = 0

const foreignCursor = () => {
  foreignCursors += 1
  return `effecto_stream_${foreignCursors}`
}
