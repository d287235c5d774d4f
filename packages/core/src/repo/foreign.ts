/**
 * Transactions that we did not open: by `withTransaction` of a client that is not `Repo.layer`'s. Nothing of us runs at their end, so that is read off the wire: PostgreSQL
 * says what a command came to, and whether a transaction is open, and `pg` hands it on.
 *
 * ```text
 *   a write of a Repo ─▶ noted for its connection ─▶ COMMIT is answered ─▶ listeners ─▶ the result of withTransaction
 *                                                 └▶ ROLLBACK, or a COMMIT that failed ─▶ nothing
 *                                                 └▶ the connection ends ─▶ nobody knows
 * ```
 *
 * The driver calls us in the step in which it hands over that answer, and a fiber that waits for it goes on later: so whoever sees the commit sees what listeners did. What
 * was rolled back to a savepoint is announced with the rest, because nobody can tell.
 */
import type { SqlConnection } from "@effect/sql"
import { Effect, Predicate } from "effect"
import { type Announcer, type Changed, Changes } from "./changes.js"
import type { Outcome } from "./frame.js"
import { clientOf } from "./pgclient.js"

/** What was written in such a transaction, as far as one announcer is concerned. */
export class ForeignTransaction {
  private readonly changes = new Changes()
  private readonly ends: Array<(outcome: Outcome) => void> = []
  private outcome: Outcome | undefined = undefined

  constructor(private readonly announcer: Announcer) {}

  /** Remembers what was changed; false when the transaction is over. */
  note(table: Changed, keys: Iterable<unknown> | "all"): boolean {
    if (this.outcome !== undefined) return false
    this.changes.add(table, keys)
    return true
  }

  /** Calls back when it is over. */
  readonly onEnd = (listener: (outcome: Outcome) => void): void => {
    if (this.outcome === undefined) this.ends.push(listener)
    else listener(this.outcome)
  }

  end(outcome: Outcome): void {
    this.outcome = outcome
    // Synchronous, but for the log of what a listener has thrown.
    if (outcome !== "rolledBack") Effect.runFork(this.announcer.announceAll(outcome, this.changes))
    for (const listener of this.ends.splice(0)) listener(outcome)
  }
}

type Message = { readonly text?: string; readonly status?: string } | undefined

type Listening = (event: string, listener: (message: Message) => void) => void

/** `pg`'s Client, as far as it is used here. */
interface Driver {
  readonly connection: { readonly on: Listening; readonly off: Listening }
  getTransactionStatus(): string | null
}

const driverOf = (connection: SqlConnection.Connection): Driver | undefined => {
  const driver = clientOf(connection)
  return Predicate.hasProperty(driver, "getTransactionStatus") &&
    Predicate.hasProperty(driver, "connection") &&
    Predicate.hasProperty(driver.connection, "on") &&
    Predicate.hasProperty(driver.connection, "off")
    ? // Sound: what is called was looked at.
      (driver as unknown as Driver)
    : undefined
}

/** Looks on until the transaction that is open on a connection is over. */
class Watch {
  private readonly transactions = new Map<Announcer, ForeignTransaction>()
  /** Who is told after the listeners. */
  readonly ends: Array<(outcome: Outcome) => void> = []
  /** What the last command came to. */
  private last = ""
  private isCommitted = false

  constructor(private readonly driver: Driver) {
    const { connection } = driver
    connection.on("commandComplete", this.complete)
    connection.on("errorMessage", this.failed)
    connection.on("readyForQuery", this.ready)
    connection.on("end", this.lost)
  }

  for(announcer: Announcer): ForeignTransaction {
    let transaction = this.transactions.get(announcer)
    if (transaction === undefined) {
      transaction = new ForeignTransaction(announcer)
      this.transactions.set(announcer, transaction)
    }
    return transaction
  }

  private readonly complete = (message: Message): void => {
    this.last = message?.text ?? ""
    if (this.last === "COMMIT") this.isCommitted = true
  }

  /** Of a statement: then the transaction stays open until it is rolled back. Of COMMIT: then it was. */
  private readonly failed = (): void => {
    this.last = "ROLLBACK"
  }

  private readonly ready = (message: Message): void => {
    if (this.isCommitted) this.over("committed")
    else if (message?.status === "I") this.over(this.last === "ROLLBACK" ? "rolledBack" : "unknown")
  }

  private readonly lost = (): void => this.over("unknown")

  private over(outcome: Outcome): void {
    const { connection } = this.driver
    connection.off("commandComplete", this.complete)
    connection.off("errorMessage", this.failed)
    connection.off("readyForQuery", this.ready)
    connection.off("end", this.lost)
    watches.delete(this.driver)
    for (const transaction of this.transactions.values()) transaction.end(outcome)
    for (const listener of this.ends) listener(outcome)
  }
}

const watches = new WeakMap<Driver, Watch>()

/** Whoever looks at the transaction that is open on a connection which is not ours; nobody where there is none, or where the driver does not say so. */
const watchOf = (connection: SqlConnection.Connection): Watch | undefined => {
  const driver = driverOf(connection)
  if (driver === undefined) return undefined
  let watch = watches.get(driver)
  if (watch === undefined) {
    const status = driver.getTransactionStatus()
    if (status !== "T" && status !== "E") return undefined
    watch = new Watch(driver)
    watches.set(driver, watch)
  }
  return watch
}

/** What an announcer has to know of the transaction that is open on a connection which is not ours, if the end of that can be seen. */
export const foreignTransaction = (
  connection: SqlConnection.Connection,
  announcer: Announcer
): ForeignTransaction | undefined => watchOf(connection)?.for(announcer)

/** Has a function called when such a transaction is over; nothing where that cannot be seen. */
export const foreignEnd = (
  connection: SqlConnection.Connection
): ((listener: (outcome: Outcome) => void) => void) | undefined => {
  const ends = watchOf(connection)?.ends
  return ends && ((listener) => ends.push(listener))
}
