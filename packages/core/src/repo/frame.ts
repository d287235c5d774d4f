/**
 * One open level of a transaction, and who may use the transaction's one connection now.
 *
 * A transaction is a chain of frames: the outermost (`BEGIN`) and, below it, at most one open savepoint at each level. Three rules keep it honest:
 *
 *   - one statement at a time: fibers that share a transaction queue here and not in the driver, where interrupting a queued statement would
 *     cancel the running one;
 *   - a frame waits while it has an open child: a sibling's statement between a savepoint and its rollback would be rolled back with it;
 *   - a frame that has ended refuses: the connection may belong to a stranger's transaction by then.
 *
 *        open ──end()──▶ ending ──(the connection is ours)──▶ ended
 *          └──────────── an enclosing frame ends ───────────▶ abandoned (rolled back to its savepoint by the frame that ends)
 *
 * Everything here is synchronous: look, decide and write happen in one step.
 */
import type { SqlClient, SqlConnection } from "@effect/sql"
import { Context, type Effect } from "effect"
import { type Changed, Changes } from "./changes.js"
import type { AnyFiber, Channel } from "./connection.js"
import type { Database } from "./database.js"
import { isOutsideOfTransaction } from "./driver.js"
import type { Guarded } from "./hookstate.js"
import type { Patience } from "./patience.js"
import { boundStatement, type Piggyback } from "./pipeline.js"

/** What an open transaction tells about itself. */
export interface TransactionState {
  /** 0 for the outermost transaction, 1 for a savepoint in it, and so on. */
  readonly depth: number
  /** The client whose connection this transaction holds. */
  readonly client: SqlClient.SqlClient
}

/**
 * Proof, in an effect's requirements, that it runs inside of a transaction. `transact` provides it.
 *
 * @since 0.1.0
 * @category tags
 */
export class Transaction extends Context.Tag("@effecto/core/Transaction")<Transaction, TransactionState>() {}

export type Outcome = "committed" | "rolledBack" | "unknown"

/** Work that waits for the transaction's end. `forced` is set when the savepoint it was registered under was rolled back. */
export interface Registration {
  readonly key: unknown
  readonly on: (outcome: Outcome) => Effect.Effect<void> | undefined
  /** Something to be done once after the commit for all items of the same thing. */
  readonly batch:
    | {
        readonly of: unknown
        readonly item: unknown
        readonly run: (items: ReadonlyArray<unknown>) => Effect.Effect<void>
      }
    | undefined
  forced: "rolledBack" | undefined
}

/** A place in the queue for the connection. */
export interface Ticket {
  readonly frame: Frame
  /** A frame that ends needs the connection although it is no longer open. */
  readonly ends: boolean
  state: "waiting" | "granted" | "refused"
  wake: (() => void) | undefined
}

/** What the frames of one transaction share. */
export class Session {
  private busy = false
  private readonly waiting: Array<Ticket> = []
  private savepoints = 0
  /** Set when a rollback failed: whatever the server would answer to COMMIT, it must not be sent. */
  broken = false
  /** For who waits here, where that could be for ever. */
  patience: Patience | undefined = undefined
  /** Set when a statement that was written by hand has ended the transaction, and may have begun another. */
  ended = false
  /** Set when tables may have changed: PostgreSQL refuses a prepared statement whose result would be another, and that aborts the transaction. */
  altered = false

  constructor(
    readonly database: Database,
    readonly connection: SqlConnection.Connection
  ) {}

  /** BEGIN, as long as it waits to be sent with the first statement. */
  unsent: string | undefined = undefined
  /** Whether the server has said that the transaction is open. */
  private isBegun = true

  /** BEGIN is not sent by itself, but with the first statement. */
  beginsWith(text: string): void {
    this.unsent = text
    this.isBegun = false
  }

  /** What the first statement is sent with; from now on that is on its way. */
  opening(): Piggyback | undefined {
    const text = this.unsent
    if (text === undefined) return undefined
    this.unsent = undefined
    return {
      before: [boundStatement({ text, parameters: [] }, this.database.options.prepare)],
      behind: [],
      told: (error) => {
        // One that failed may be told before the server says where that leaves the transaction.
        if (!error) this.isBegun = true
      },
      // Nobody asks for it where the driver could not.
      refused: () => {}
    }
  }

  /** BEGIN was sent by itself after all. */
  begun(): void {
    this.unsent = undefined
    this.isBegun = true
  }

  /** Whether the transaction is over although nobody of us ended it: what was done in it may have been kept. */
  get isLost(): boolean {
    return this.ended || (this.isBegun && isOutsideOfTransaction(this.connection))
  }

  nextSavepoint(): string {
    this.savepoints += 1
    return `effecto_${this.savepoints}`
  }

  request(frame: Frame, ends: boolean): Ticket {
    const ticket: Ticket = { frame, ends, state: "waiting", wake: undefined }
    if (!this.decide(ticket)) this.waiting.push(ticket)
    return ticket
  }

  /** Gives back what a ticket holds: the connection, or its place in the queue. */
  giveBack(ticket: Ticket): void {
    if (ticket.state === "granted") {
      this.busy = false
      this.patience?.noticed()
      this.pump()
    } else if (ticket.state === "waiting") {
      const place = this.waiting.indexOf(ticket)
      if (place >= 0) this.waiting.splice(place, 1)
    }
    ticket.state = "refused"
  }

  /** Calls back when nothing has happened here for too long; gives back how to stop looking. */
  whenStuck(tell: () => void): (() => void) | undefined {
    return this.patience?.whenOver(() => this.busy, tell)
  }

  /** Looks again at everybody who waits: something was given back, or a frame changed. */
  pump(): void {
    for (let place = 0; place < this.waiting.length; ) {
      const ticket = this.waiting[place]
      if (ticket !== undefined && this.decide(ticket)) {
        this.waiting.splice(place, 1)
        ticket.wake?.()
      } else place += 1
    }
  }

  private decide(ticket: Ticket): boolean {
    if (!ticket.ends && !ticket.frame.isOpen) ticket.state = "refused"
    else if (!this.busy && (ticket.ends || ticket.frame.child === undefined)) {
      ticket.state = "granted"
      this.busy = true
    }
    return ticket.state !== "waiting"
  }
}

export class Frame implements TransactionState {
  private state: "open" | "ending" | "ended" | "abandoned" = "open"
  /** The fiber that opened it. */
  owner: AnyFiber | undefined = undefined
  /** The savepoint that is open below this frame. */
  child: Frame | undefined = undefined
  registrations: Array<Registration> = []
  /** What was written here and in savepoints that were kept: whoever ends the outermost frame has it announced. */
  readonly changes = new Changes()
  private reason: string | undefined = undefined
  /** What has written here, or in savepoints that were kept, and has hooks that are not through. */
  private unfinished: Set<Guarded> | undefined = undefined
  private writers: Map<object, Guarded> | undefined = undefined
  /** What statements of this frame run on; made by the database that opened it. */
  channel: Channel | undefined = undefined

  constructor(
    readonly session: Session,
    readonly parent: Frame | undefined,
    /** The transaction of another client that this one was opened inside of. */
    readonly enclosing: Frame | undefined,
    readonly depth: number,
    /** The savepoint's name; nothing for the outermost frame. */
    readonly savepoint: string | undefined,
    /** What it was opened by, if that was a hook. */
    private readonly opener?: Guarded
  ) {}

  /** Why nothing of this frame may be kept, although its effect succeeds: a transaction that joined it failed, or a hook did. */
  get spoiled(): string | undefined {
    return (
      this.reason ??
      (this.isUnfinished
        ? "a hook, or a write between hooks, failed after something had been written, and the program went on. Let the failure end the transaction, wrap the call in a transact of its own, or give the table's hooks savepoint: true"
        : undefined)
    )
  }

  set spoiled(reason: string | undefined) {
    this.reason = reason
  }

  /** What this frame was opened inside of is not through, and nobody asks it to be. */
  private get isUnfinished(): boolean {
    for (const guarded of this.unfinished ?? []) if (!guarded.isOver && !isWithin(this.opener, guarded)) return true
    return false
  }

  /** From now on a fiber's statements here are those of a write between hooks, or again its own: also when it is interrupted meanwhile. */
  writesBy(fiber: object, guarded: Guarded | undefined): void {
    if (guarded === undefined) this.writers?.delete(fiber)
    else {
      this.writers ??= new Map()
      this.writers.set(fiber, guarded)
    }
  }

  /** Whose statements a fiber's are, if {@link writesBy} has said so here or around this. */
  writer(fiber: object): Guarded | undefined {
    return this.writers?.get(fiber) ?? this.parent?.writer(fiber)
  }

  /** A statement that writes is sent, on behalf of this one and of what that runs inside of. */
  writesFor(guarded: Guarded | undefined): void {
    for (let one = guarded; one !== undefined; one = one.around)
      if (!one.isOver) {
        this.unfinished ??= new Set()
        this.unfinished.add(one)
      }
  }

  hasWritten(guarded: Guarded): boolean {
    return this.unfinished?.has(guarded) ?? false
  }

  /** Its hooks are through, or it has written nothing. */
  finish(guarded: Guarded): void {
    guarded.isOver = true
    this.unfinished?.delete(guarded)
  }

  get client(): SqlClient.SqlClient {
    return this.session.database.client
  }

  get isOpen(): boolean {
    return this.state === "open"
  }

  get isAbandoned(): boolean {
    return this.state === "abandoned"
  }

  /**
   * From here on no statement of this frame begins, nor of the savepoints below it: what is left of those is abandoned. Also what ends already but has
   * not got the connection yet, because by then that may be a stranger's.
   */
  end(): void {
    if (this.state === "open") this.state = "ending"
    for (let below = this.child; below !== undefined; below = below.child) {
      if (below.state === "open" || below.state === "ending") below.state = "abandoned"
    }
    this.session.pump()
  }

  /**
   * Remembers what a statement of this frame changed; false when the transaction is over. The fiber that waited for the statement may say so when the
   * frame ends already: then it is still in time for the end. A savepoint that is over has handed its changes on, and so is this one.
   */
  note(table: Changed, keys: Iterable<unknown> | "all"): boolean {
    if (this.state === "open" || this.state === "ending") this.changes.add(table, keys)
    else return this.parent?.note(table, keys) ?? false
    return true
  }

  /** The frame is over and its parent may go on, which takes over what waits for the end of the transaction. */
  leave(kept: boolean): void {
    if (this.state !== "abandoned") this.state = "ended"
    const parent = this.parent
    if (parent === undefined) return
    if (kept) {
      parent.changes.addAll(this.changes)
      for (const guarded of this.unfinished ?? []) parent.writesFor(guarded)
    } else for (const registration of this.registrations) registration.forced = "rolledBack"
    parent.registrations.push(...this.registrations)
    this.registrations = []
    if (parent.child === this) parent.child = undefined
  }

  /** What was left open below this frame and has been rolled back. */
  dropChild(): void {
    this.child?.dropChild()
    this.child?.leave(false)
  }
}

const isWithin = (inner: Guarded | undefined, outer: Guarded): boolean => {
  let one = inner
  while (one !== undefined && one !== outer) one = one.around
  return one !== undefined
}

/** The innermost frame of this context, open or not. Whatever else somebody may have put there under our tag is none. */
export const currentFrame = (context: Context.Context<never>): Frame | undefined => {
  const found: unknown = context.unsafeMap.get(Transaction.key)
  return found instanceof Frame ? found : undefined
}

/** The innermost frame of this context that belongs to this client: two databases may both be in a transaction. */
export const frameOf = (context: Context.Context<never>, client: SqlClient.SqlClient): Frame | undefined => {
  let frame = currentFrame(context)
  while (frame !== undefined && frame.session.database.client !== client) frame = frame.enclosing
  return frame
}
