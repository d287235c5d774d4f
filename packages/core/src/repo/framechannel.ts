/** The connection of a transaction as its statements see it: they wait for their turn, and are refused once its frame has ended. */
import type { SqlError } from "@effect/sql"
import { Effect, Exit, Stream } from "effect"
import { uninterruptibleMask } from "../primitives.js"
import {
  type Answer,
  type AnyFiber,
  Channel,
  type ChannelOptions,
  type On,
  type Transform,
  type Turn
} from "./connection.js"
import { command, execute, isDriven, takesPiggyback } from "./driver.js"
import type { Frame, Session } from "./frame.js"
import { hookState } from "./hookstate.js"
import { settling } from "./lending.js"
import { mayWrite } from "./maywrite.js"
import type { Runs } from "./pgclient.js"
import { closed, controlled, lost } from "./refusals.js"
import { controls } from "./sqltext.js"
import { altering, isFetched, readsOnly } from "./statementkind.js"
import { observed, type Source, sqlSource, transactionSource } from "./statementlog.js"
import { holding } from "./turns.js"

/** Whether one of several statements ended the transaction. ROLLBACK is what PostgreSQL also answers where only a savepoint was gone back to. */
const hasEnded = (answer: unknown): boolean =>
  Array.isArray(answer) &&
  // Sound: what the driver gives for several statements, looked at by name.
  answer.some((one) => endings.has((Object(one) as Partial<Answer>).command))

const endings: ReadonlySet<unknown> = new Set(["COMMIT", "BEGIN", "START"])

/** Sends the BEGIN that was to go with the first statement, and cannot. */
const begin = (session: Session, text: string): Effect.Effect<void, SqlError.SqlError> =>
  Effect.map(observed(command(session.connection, text, settling), transactionSource, text, undefined), () =>
    session.begun()
  )

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
    const { session } = this.frame
    const { connection } = session
    return uninterruptibleMask((restore) =>
      holding(
        this.frame,
        false,
        restore,
        // Whatever ran now would be kept at once.
        Effect.suspend(() => {
          if (session.isLost) return lost
          const statement = restore(use(connection))
          if (this.isSandbox) return alone(connection, statement)
          return session.unsent === undefined ? statement : Effect.zipRight(begin(session, session.unsent), statement)
        }),
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
    return takesPiggyback(connection, parameters) ? { connection, back, piggyback: session.opening() } : back()
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
