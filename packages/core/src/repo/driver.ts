/**
 * What is asked of `pg` beside @effect/sql-pg: to run a statement that can really be stopped, to close a connection at once, and to say whether a
 * transaction is open.
 */
import { type SqlConnection, SqlError } from "@effect/sql"
import { Effect, Exit, Predicate } from "effect"
import { uninterruptibleMask, waiting } from "../primitives.js"
import { type Call, Command, callOf, type Done } from "./call.js"
import { abort, stop } from "./cancelling.js"
import { dateWriter } from "./drivervalues.js"
import { maximalParameters, parameterTexts } from "./messages.js"
import { type Driver, driverOf, type Runs } from "./pgclient.js"
import { type BoundStatement, type Piggyback, Pipeline } from "./pipeline.js"
import { failedReused, type Statement, statementFor, toDriver } from "./prepared.js"
import type { Reader } from "./rowbytes.js"

type CallDriver = Driver & { readonly getTypeParser: Reader }

/** Whether statements of our own fit into its queue. */
const takesCalls = (driver: Driver): driver is CallDriver =>
  driver.pipeline !== true &&
  driver.binary !== true &&
  driver.getTypeParser !== undefined &&
  typeof driver.connection.stream.write === "function" &&
  Predicate.hasProperty(driver.connection, "parsedStatements")

/** A statement that was handed to a driver. */
export class Running {
  isOver = false
  /** Until somebody waits for it. */
  private exit: Exit.Exit<unknown, SqlError.SqlError> | undefined = undefined
  private wake: ((exit: Exit.Exit<unknown, SqlError.SqlError>) => void) | undefined = undefined
  private ended: (() => void) | undefined = undefined
  /** What stands for it in the driver's queue, behind what the program itself has sent on a new connection. */
  private readonly queued: unknown
  private readonly timer: NodeJS.Timeout | undefined

  /** With `limit` the connection is destroyed when it takes longer than that. */
  constructor(
    private readonly driver: Driver,
    hand: (done: Done) => void,
    limit?: number
  ) {
    this.timer = limit === undefined ? undefined : setTimeout(() => abort(driver), limit)
    const over = (exit: Exit.Exit<unknown, SqlError.SqlError>) => {
      if (this.timer !== undefined) clearTimeout(this.timer)
      this.isOver = true
      // Not kept where it is handed on: what holds it may survive for long (see primitives.ts).
      if (this.wake === undefined) this.exit = exit
      else this.wake(exit)
      this.wake = undefined
      this.ended?.()
    }
    try {
      hand((cause, result) =>
        over(
          cause
            ? Exit.fail(new SqlError.SqlError({ cause, message: "Failed to execute statement" }))
            : Exit.succeed(result)
        )
      )
    } catch (problem) {
      // The driver may believe that a statement runs: nobody could use the connection again, and nobody would be told.
      abort(driver)
      over(Exit.die(problem))
    }
    if (!this.isOver) this.queued = driver._queryQueue?.at(-1)
  }

  /** Takes it out of the driver's queue, if it is there: asking to stop it would stop what is before it. */
  private withdraw(): boolean {
    const queue = this.driver._queryQueue
    const at = this.queued === undefined || queue === undefined ? -1 : queue.indexOf(this.queued)
    if (at < 0) return false
    queue?.splice(at, 1)
    clearTimeout(this.timer)
    this.isOver = true
    return true
  }

  /** To be waited for once. */
  get answer(): Effect.Effect<unknown, SqlError.SqlError> {
    return waiting((resume) => {
      const { exit } = this
      this.exit = undefined
      if (exit === undefined) this.wake = resume
      else resume(exit)
    })
  }

  /** Nobody waits for it any more; done when it has ended. */
  get stopped(): Effect.Effect<void> {
    return Effect.suspend(() =>
      this.isOver || this.withdraw()
        ? Effect.void
        : stop(this.driver, (listener) => {
            this.ended = listener
          })
    )
  }
}

/** Hands a statement to a driver, interruptibly. What Effect.async itself does with an interruption takes five Effects more. */
const sending = (
  driver: Driver,
  hand: (done: Done) => void,
  limit?: number
): Effect.Effect<unknown, SqlError.SqlError> =>
  uninterruptibleMask((restore) => {
    const running = new Running(driver, hand, limit)
    return Effect.matchCauseEffect(restore(running.answer), {
      onFailure: (cause) =>
        running.isOver ? Effect.failCause(cause) : Effect.zipRight(running.stopped, Effect.failCause(cause)),
      onSuccess: Effect.succeed
    })
  })

const send = (
  driver: Driver,
  statement: unknown,
  parameters: ReadonlyArray<unknown>,
  limit?: number
): Effect.Effect<unknown, SqlError.SqlError> =>
  sending(driver, (done) => driver.query(statement, parameters, done), limit)

const tooMany = (count: number) =>
  new Error(
    `it has ${count} parameters, and PostgreSQL takes ${maximalParameters} at most: give it a list as one of them (= any), or several statements`
  )

/** A connection may have another statement under this name, of a second copy of this library: then it is not prepared. */
const namedFor = (driver: Driver, statement: Statement): Statement => {
  const { name, text } = statement
  const there = name === undefined ? undefined : driver.connection.parsedStatements?.[name]
  return there === undefined || there === text ? statement : { ...statement, name: undefined }
}

/** What {@link Call} does by itself where its statement had been prepared before. */
const noting = (driver: Driver, { name, text }: Statement, done: Done): Done =>
  name === undefined || driver.connection.parsedStatements?.[name] === undefined
    ? done
    : (error, result) => {
        if (error) failedReused(error, text)
        done(error, result)
      }

const namedOn =
  (driver: Driver) =>
  ({ parameters, statement }: BoundStatement): BoundStatement => ({
    parameters,
    statement: namedFor(driver, statement)
  })

const together = (driver: Driver, call: Call, { before, behind }: Pick<Piggyback, "before" | "behind">): Pipeline => {
  const named = namedOn(driver)
  return new Pipeline(call, before.map(named), behind.map(named))
}

/** Whether a statement with these parameters can be sent together with others on a connection. */
export const takesPiggyback = (connection: Runs, parameters: ReadonlyArray<unknown>): boolean => {
  const driver = driverOf(connection)
  return (
    driver !== undefined &&
    takesCalls(driver) &&
    parameters.length <= maximalParameters &&
    parameterTexts(parameters, dateWriter(driver)) !== undefined
  )
}

const callFor = (driver: CallDriver, statement: Statement, parameters: ReadonlyArray<unknown>, done: Done) =>
  callOf(statement, parameters, (type, format) => driver.getTypeParser(type, format), dateWriter(driver), done)

const refused = (piggyback: Piggyback): Error => {
  piggyback.refused()
  return new Error("the driver cannot send statements together")
}

/** How one of our own statements gets into a driver's queue. */
const handing =
  (driver: Driver, given: Statement, parameters: ReadonlyArray<unknown>, piggyback?: Piggyback) =>
  (told: Done): void => {
    const done: Done =
      piggyback === undefined
        ? told
        : (error, result) => {
            piggyback.told(error)
            told(error, result)
          }
    const statement = namedFor(driver, given)
    if (parameters.length > maximalParameters) {
      told(tooMany(parameters.length))
      return
    }
    const call = statement.asLists && takesCalls(driver) ? callFor(driver, statement, parameters, done) : undefined
    if (call !== undefined) driver.query(piggyback === undefined ? call : together(driver, call, piggyback))
    else if (piggyback === undefined) driver.query(toDriver(statement), parameters, noting(driver, statement, done))
    else told(refused(piggyback))
  }

/** One of our own statements on a connection that was taken from the pool. */
export const run = (
  connection: Runs,
  statement: Statement,
  parameters: ReadonlyArray<unknown>,
  piggyback?: Piggyback
): Effect.Effect<unknown, SqlError.SqlError> => {
  const driver = driverOf(connection)
  if (driver !== undefined) return sending(driver, handing(driver, statement, parameters, piggyback))
  return piggyback === undefined
    ? connection.executeRaw(toDriver(statement), parameters)
    : Effect.fail(new SqlError.SqlError({ cause: refused(piggyback), message: "Failed to execute statement" }))
}

/** The same at once, in an uninterruptible region, on a connection that {@link isDriven}. */
export const running = (
  connection: Runs,
  statement: Statement,
  parameters: ReadonlyArray<unknown>,
  piggyback?: Piggyback
): Running => {
  const driver = driverOf(connection)
  if (driver === undefined) throw new Error("a connection that is not pg's cannot run a statement at once")
  return new Running(driver, handing(driver, statement, parameters, piggyback))
}

/** What begins and ends transactions: a text, of one or more statements without rows. */
export const command = (
  connection: Runs,
  text: string,
  limit: number | undefined
): Effect.Effect<unknown, SqlError.SqlError> => {
  const driver = driverOf(connection)
  if (driver === undefined) return connection.executeRaw(text, [])
  return takesCalls(driver)
    ? sending(driver, (done) => driver.query(new Command(text, done)), limit)
    : send(driver, text, [], limit)
}

/** What was to be sent before a COMMIT has failed: nothing was committed, and the transaction is still open. */
export class NotCommitted {
  constructor(readonly error: SqlError.SqlError) {}
}

const notCommitted = Effect.mapError((error: SqlError.SqlError) => new NotCommitted(error))

/** COMMIT, and with it what is to be done before, in one round trip where the driver can. */
export const commitWith = (
  connection: Runs,
  before: ReadonlyArray<BoundStatement>
): Effect.Effect<unknown, SqlError.SqlError | NotCommitted> => {
  const driver = driverOf(connection)
  if (driver === undefined || !takesCalls(driver))
    return Effect.zipRight(
      notCommitted(
        Effect.forEach(before, ({ parameters, statement }) => run(connection, statement, parameters), { discard: true })
      ),
      command(connection, "commit", undefined)
    )
  return Effect.suspend(() => {
    let pipeline: Pipeline | undefined
    const hand = (done: Done) => {
      const commit = callFor(driver, statementFor("commit", false, true), [], done)
      // Sound: it has no parameters that only the driver could write.
      pipeline = together(driver, commit as Call, { before, behind: [] })
      driver.query(pipeline)
    }
    return Effect.mapError(sending(driver, hand), (error) =>
      pipeline?.isBefore === true ? new NotCommitted(error) : error
    )
  })
}

/**
 * One statement on a connection that was taken from the pool, answered as the driver answers. `limit` is in milliseconds; a driver that is not
 * `pg` knows none.
 */
export const execute = (
  connection: Runs,
  statement: string,
  parameters: ReadonlyArray<unknown>,
  limit?: number
): Effect.Effect<unknown, SqlError.SqlError> => {
  const driver = driverOf(connection)
  return driver === undefined
    ? connection.executeRaw(statement, parameters)
    : send(driver, statement, parameters, limit)
}

/** The same, with each row as an array. */
export const executeValues = (
  connection: Runs,
  text: string,
  parameters: ReadonlyArray<unknown>
): Effect.Effect<ReadonlyArray<ReadonlyArray<unknown>>, SqlError.SqlError> => {
  const driver = driverOf(connection)
  return driver === undefined
    ? connection.executeValues(text, parameters)
    : // Sound: `pg` gives arrays when it is asked for them.
      Effect.map(
        send(driver, { text, rowMode: "array" }, parameters, undefined),
        (result) => (result as { readonly rows: ReadonlyArray<ReadonlyArray<unknown>> }).rows
      )
}

/** Closes a connection whose state is not known, so that the pool does not lend it again. The server rolls back whatever was open on it. */
export const discard = (connection: SqlConnection.Connection): Effect.Effect<void> =>
  Effect.sync(() => {
    const driver = driverOf(connection)
    if (driver !== undefined) abort(driver)
  })

/** Why a transaction is over although nobody of us ended it. */
export const outsideReason =
  "a statement that was written by hand has ended the transaction; what was done before it may have been kept. Leave the end of a transaction to transact."

/** Whether the last statement that succeeded left no transaction open; a driver that does not say so is believed to have one. */
export const isOutsideOfTransaction = (connection: SqlConnection.Connection): boolean =>
  driverOf(connection)?.getTransactionStatus?.() === "I"

/** Whether PostgreSQL said after the last statement that a transaction is open, or has failed; of a driver that does not say so nothing is known. */
export const isInTransaction = (connection: Runs): boolean => {
  const status = driverOf(connection)?.getTransactionStatus?.()
  return status === "T" || status === "E"
}

/** Whether what is run here is really stopped when it is interrupted. */
export const isDriven = (connection: Runs): boolean => driverOf(connection) !== undefined

/** An error is told before PostgreSQL says that it is ready again, and in what state: mostly in the same packet. */
const ready = (driver: Driver, within: number): Effect.Effect<void> =>
  Effect.async<void>((resume) => {
    const wire = driver.connection
    const done = () => {
      clearTimeout(timer)
      wire.off("readyForQuery", done)
      wire.off("end", done)
      resume(Effect.void)
    }
    const timer = setTimeout(() => {
      abort(driver)
      done()
    }, within)
    wire.on("readyForQuery", done)
    wire.on("end", done)
  })

/** What `pg`'s own pool looks at before it lends a client again. */
const isUsable = (driver: Driver) => driver._queryable === true && driver._ending === false

/**
 * Leaves no transaction open on a connection that others get next: what a statement by hand may have begun is rolled back, within as many milliseconds, or
 * the connection is destroyed.
 */
export const settled = (connection: SqlConnection.Connection, within: number): Effect.Effect<void> =>
  Effect.suspend(() => {
    const driver = driverOf(connection)
    if (driver === undefined || !isUsable(driver)) return Effect.void
    const told = driver.readyForQuery === false ? ready(driver, within) : Effect.void
    return Effect.flatMap(told, () =>
      isUsable(driver) && isInTransaction(connection)
        ? Effect.catchAll(Effect.asVoid(send(driver, "rollback", [], within)), () => Effect.sync(() => abort(driver)))
        : Effect.void
    )
  })

/** Whether a statement runs on a connection, as far as its driver says. */
export const isBusy = (connection: Runs): boolean => driverOf(connection)?.readyForQuery !== true

/** Whether a connection has nothing to do, nothing open and nothing against it: its next statement would be run at once. */
export const isReady = (connection: SqlConnection.Connection): boolean => {
  const driver = driverOf(connection)
  return (
    driver !== undefined && driver.readyForQuery === true && isUsable(driver) && driver.getTransactionStatus?.() === "I"
  )
}
