/**
 * Connections that watch what runs on them: each statement is counted and logged, and inside of a transaction it also waits its turn and is
 * refused once its frame has ended. They are ordinary `Connection`s of @effect/sql, so statements written by hand take the same way.
 */
import { type SqlConnection, SqlError } from "@effect/sql"
import { Cause, Chunk, Effect, Exit, type Fiber, FiberRef, Option, Stream } from "effect"
import {
  command,
  execute,
  executeValues,
  isDriven,
  isInTransaction,
  outsideReason,
  run,
  running,
  takesCompany
} from "./driver.js"
import type { Frame } from "./frame.js"
import { hookState } from "./hookstate.js"
import { settling } from "./lending.js"
import { mayWrite } from "./maywrite.js"
import type { Company } from "./pipeline.js"
import { statementFor } from "./prepared.js"
import { DbError, TransactionClosed } from "./RepoError.js"
import { controls } from "./sqltext.js"
import { filledIn } from "./standing.js"
import { altering, control, isFetched, readsOnly } from "./statementkind.js"
import { count, isLogged, observed, type Source, sqlSource, transactionSource } from "./statementlog.js"
import { note, timed } from "./statementtimes.js"

/** What `pg` answers to one statement, as far as it is read here. */
export interface Answer {
  readonly command: string
  readonly rowCount: number | null
  /** By the names of columns, or, when they were asked for as lists, by the places of columns in the statement. */
  readonly rows: Array<Readonly<Record<string, unknown>>>
}

/** What statements are run on. */
type Runs = Pick<SqlConnection.Connection, "executeRaw" | "executeValues">

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
  readonly company?: Company | undefined
}

type AnyFiber = Fiber.RuntimeFiber<unknown, unknown>

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
      const wake = () => resume(Effect.void)
      if (ticket.state !== "waiting") return wake()
      const tired = ends ? undefined : session.whenStuck(() => resume(stuck))
      ticket.wake = () => {
        tired?.()
        wake()
      }
      return tired === undefined ? undefined : Effect.sync(tired)
    })
    // An interruption can arrive after the turn was given and before the fiber runs: then the connection is handed on.
    return Effect.matchCauseEffect(restore(turn), {
      onFailure: (cause) => Effect.zipRight(giveBack, Effect.failCause(cause)),
      onSuccess: go
    })
  })

const stuck = Effect.die(
  new Error(
    "a statement waits for the one connection of its sandbox, or session, and nothing happens there: it is held by a transaction that waits for another fiber. There only fibers forked inside of a transaction can go on while that is open."
  )
)

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
    restore: <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>,
    text: string,
    parameters: ReadonlyArray<unknown>,
    about: Source,
    prepared: boolean,
    company: Company | undefined
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
      company ?? turn.company
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
    company?: Company
  ): Effect.Effect<unknown, SqlError.SqlError> {
    const statement = () => statementFor(text, prepared && this.mayPrepare(), asLists && this.options.lists)
    return this.watched((connection) => run(connection, statement(), parameters, company), text, parameters, about)
  }

  /**
   * One statement, with the driver's own answer; `prepared` when its text comes again and again, `asLists` where rows may be lists of values. `company` only for
   * one that is no part of a transaction.
   */
  query(
    text: string,
    parameters: ReadonlyArray<unknown>,
    about: Source,
    prepared = false,
    asLists = false,
    company?: Company
  ): Effect.Effect<Answer, SqlError.SqlError> {
    if (about.standing !== undefined) {
      const filled = filledIn(text, parameters, about.standing)
      if (filled.cannot) return unnarrowed
      return this.query(filled.text, filled.parameters, { ...about, standing: undefined }, prepared, asLists, company)
    }
    const lists = asLists && this.options.lists
    const answer = lists
      ? Effect.withFiberRuntime<unknown, SqlError.SqlError>((fiber) =>
          Effect.uninterruptibleMask(
            (restore) =>
              this.atOnce(fiber, restore, text, parameters, about, prepared, company) ??
              restore(this.slowly(text, parameters, about, prepared, true, company))
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
    return control.test(text) && controls(text, "first") ? controlled : this.watched(use, text, parameters, sqlSource)
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
    const declared = Effect.uninterruptibleMask((restore) =>
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

const refusal = (message: string, reason: string, kind: "refused" | "statement" = "statement") =>
  Effect.fail(
    new SqlError.SqlError({
      cause: new DbError({
        operation: "run this statement",
        kind,
        code: undefined,
        retryable: false,
        reason,
        cause: undefined
      }),
      message
    })
  )

const controlled = refusal(
  "A transaction cannot be begun or ended by a statement of its own",
  "transact alone begins and ends its transaction. Wrap in it what belongs together, and let the effect fail to roll it back; inside of another it is a savepoint."
)

const leftOpen = refusal(
  "A statement left a transaction open",
  "it consists of several, one of which begins a transaction that none of them ends: what was done in that is rolled back. Wrap it in transact."
)

const unnarrowed = refusal(
  "This statement would reach rows that a middleware keeps its call away from",
  "a middleware narrows it to some rows of the table, which a statement of this kind cannot be. An upsert, for one, could replace a row of somebody else.",
  "refused"
)

/** Whether one of several statements ended the transaction. ROLLBACK is what PostgreSQL also answers where only a savepoint was gone back to. */
const hasEnded = (answer: unknown): boolean =>
  Array.isArray(answer) &&
  // Sound: what the driver gives for several statements, looked at by name.
  answer.some((one) => endings.has((Object(one) as Partial<Answer>).command))

const endings: ReadonlySet<unknown> = new Set(["COMMIT", "BEGIN", "START"])

const lost = refusal("The transaction of this statement is not open any more", outsideReason)

/** Sends the BEGIN that was to go with the first statement, and cannot. */
const begin = (session: Frame["session"]): Effect.Effect<void, SqlError.SqlError> =>
  Effect.suspend(() => {
    const text = session.unsent ?? "begin"
    return Effect.map(observed(command(session.connection, text, settling), transactionSource, text, undefined), () =>
      session.begun()
    )
  })

/** A statement that fails, or is interrupted, undoes nothing but itself. */
const alone = <A, E, R>(connection: Runs, statement: Effect.Effect<A, E, R>) =>
  Effect.zipRight(
    execute(connection, "savepoint effecto_statement", []),
    Effect.onExit(statement, (exit) =>
      Effect.ignore(
        execute(
          connection,
          Exit.isSuccess(exit)
            ? "release savepoint effecto_statement"
            : "rollback to savepoint effecto_statement; release savepoint effecto_statement",
          []
        )
      )
    )
  )

/** Statements inside of a transaction: in turns, and only while the frame is open. */
export class FrameChannel extends Channel {
  constructor(
    readonly frame: Frame,
    options: ChannelOptions
  ) {
    super(options)
  }

  /** Whether its statements are in no transaction, as far as a test can tell. */
  private get isSandbox(): boolean {
    return this.frame === this.frame.session.database.ground
  }

  protected readonly on: On = (use) => {
    const { connection } = this.frame.session
    return Effect.uninterruptibleMask((restore) =>
      holding(
        this.frame,
        false,
        restore,
        // Whatever ran now would be kept at once.
        Effect.suspend(() =>
          this.frame.session.isLost
            ? lost
            : this.isSandbox
              ? alone(connection, restore(use(connection)))
              : this.frame.session.unsent === undefined
                ? restore(use(connection))
                : Effect.zipRight(begin(this.frame.session), restore(use(connection)))
        ),
        closed
      )
    )
  }

  protected override turn(parameters: ReadonlyArray<unknown>): Turn | undefined {
    const { session } = this.frame
    if (this.isSandbox || !isDriven(session.connection)) return undefined
    const ticket = session.request(this.frame, false)
    const back = () => {
      session.giveBack(ticket)
      return undefined
    }
    if (ticket.state !== "granted" || session.isLost) return back()
    const { connection } = session
    if (session.unsent === undefined) return { connection, back }
    return takesCompany(connection, parameters) ? { connection, back, company: session.opening() } : back()
  }

  protected override sends(fiber: AnyFiber, text: string, about: Source): void {
    const guarded = this.frame.writer(fiber) ?? fiber.getFiberRef(hookState).guarded
    if (guarded !== undefined && (about === sqlSource ? mayWrite(text) : !readsOnly.test(text)))
      this.frame.writesFor(guarded)
  }

  protected override watched<A>(
    use: (connection: Runs) => Effect.Effect<A, SqlError.SqlError>,
    text: string,
    parameters: ReadonlyArray<unknown>,
    about: Source
  ): Effect.Effect<A, SqlError.SqlError> {
    if (about !== sqlSource && readsOnly.test(text)) return super.watched(use, text, parameters, about)
    // Nothing is between this and the statement where an interruption could get in.
    const noted = (connection: Runs) =>
      Effect.withFiberRuntime<A, SqlError.SqlError>((fiber) => {
        this.sends(fiber, text, about)
        return use(connection)
      })
    return super.watched(noted, text, parameters, about)
  }

  protected override written<A>(
    use: (connection: Runs) => Effect.Effect<A, SqlError.SqlError>,
    text: string,
    parameters: ReadonlyArray<unknown>
  ): Effect.Effect<A, SqlError.SqlError> {
    const { session } = this.frame
    if (altering.test(text)) session.altered = true
    if (!text.includes(";")) return super.written(use, text, parameters)
    if (controls(text, "any")) return controlled
    // What no reading of the text finds, PostgreSQL's answers still tell.
    return super.written(
      (connection) =>
        Effect.flatMap(use(connection), (value) => {
          if (!hasEnded(value)) return Effect.succeed(value)
          session.ended = true
          return lost
        }),
      text,
      parameters
    )
  }

  protected override mayPrepare(): boolean {
    return this.options.prepare && !this.frame.session.altered
  }

  override executeStream(text: string, parameters: ReadonlyArray<unknown>, transform: Transform, size?: number) {
    return isFetched(text)
      ? this.fetched(this.frame.session.nextSavepoint(), text, parameters, transform, size)
      : Stream.fromIterableEffect(this.execute(text, parameters, transform))
  }
}
