/**
 * A statement that is sent together with others, before it or behind it, in one piece of memory and with one round trip.
 *
 * PostgreSQL takes what comes before one Sync as one transaction, unless one is open or among it: when one of them fails, those behind it are not run, and
 * nothing of what was before is kept. Of the others nobody wants the rows.
 *
 *   W N Sync              a write by itself, and what is told of it: both or none
 *   begin W Sync          the beginning of a transaction that is there for this one write
 *   N commit Sync         the end of a transaction: not committed when N fails, which leaves it open and failed
 */
import type { Call, CallWire, Done } from "./call.js"
import { statementMessages } from "./messages.js"
import { type Statement, statementFor } from "./prepared.js"

/** A statement and what it is run with. */
export interface BoundStatement {
  readonly statement: Statement
  readonly parameters: ReadonlyArray<string>
}

export const boundStatement = (
  { parameters, text }: { readonly text: string; readonly parameters: ReadonlyArray<string> },
  prepared: boolean
): BoundStatement => ({ statement: statementFor(text, prepared, true), parameters })

/** What is sent with a statement, in one round trip: all of them are run, or the first of them that fails is the last. */
export interface Piggyback {
  readonly before: ReadonlyArray<BoundStatement>
  readonly behind: ReadonlyArray<BoundStatement>
  /** What became of all of them, as the driver was told: called each time that they were sent. */
  readonly told: (error: Error | null | undefined) => void
  /** The driver cannot send them together: nothing is sent. */
  readonly refused: () => void
}

/** The driver's side of the protocol, as far as it is listened to here. */
interface Listened extends Omit<CallWire, "parsedStatements"> {
  readonly parsedStatements: Record<string, string | undefined>
  on(event: "parseComplete", listener: () => void): void
  off(event: "parseComplete", listener: () => void): void
}

/** It has no name of its own: the driver would take each statement that is prepared with it for the one of that name. */
export class Pipeline {
  /** How many of them were done. */
  private done = 0
  private readonly unparsed: Array<Statement> = []
  private wire: Listened | undefined

  constructor(
    private readonly call: Call,
    private readonly before: ReadonlyArray<BoundStatement>,
    private readonly behind: ReadonlyArray<BoundStatement>
  ) {}

  get callback(): Done {
    return this.call.callback
  }

  set callback(callback: Done) {
    this.call.callback = callback
  }

  /** Whether the statement itself has not been run yet: then what failed was sent before it. */
  get isBefore(): boolean {
    return this.done < this.before.length
  }

  private get isItsTurn(): boolean {
    return this.done === this.before.length
  }

  submit(wire: Listened): Error | null {
    const { before, behind, call } = this
    this.wire = wire
    const pieces: Array<Buffer> = []
    for (const one of before) pieces.push(this.messages(wire, one, false))
    this.noted(wire, { name: call.name, text: call.text, asLists: true })
    pieces.push(call.messages(wire, behind.length === 0))
    for (const [at, one] of behind.entries()) pieces.push(this.messages(wire, one, at === behind.length - 1))
    if (this.unparsed.length > 0) wire.on("parseComplete", this.parsed)
    if (wire.stream.writable !== false) wire.stream.write(Buffer.concat(pieces))
    return null
  }

  private messages(wire: Listened, { parameters, statement }: BoundStatement, isLast: boolean): Buffer {
    const text = this.noted(wire, statement) ? statement.text : undefined
    return statementMessages({ name: statement.name ?? "", text, parameters, describes: false }, isLast)
  }

  /** Whether a statement has to be parsed, which the driver is told when it is done. */
  private noted(wire: Listened, statement: Statement): boolean {
    const { name } = statement
    if (name !== undefined)
      if (wire.parsedStatements[name] !== undefined || this.unparsed.some((other) => other.name === name)) return false
    this.unparsed.push(statement)
    return true
  }

  private readonly parsed = (): void => {
    const statement = this.unparsed.shift()
    if (statement?.name !== undefined && this.wire !== undefined)
      this.wire.parsedStatements[statement.name] = statement.text
  }

  private over(): void {
    this.wire?.off("parseComplete", this.parsed)
  }

  handleRowDescription(message: Parameters<Call["handleRowDescription"]>[0]): void {
    if (this.isItsTurn) this.call.handleRowDescription(message)
  }

  handleDataRow(message: Parameters<Call["handleDataRow"]>[0]): void {
    if (this.isItsTurn) this.call.handleDataRow(message)
  }

  handleCommandComplete(message: Parameters<Call["handleCommandComplete"]>[0]): void {
    if (this.isItsTurn) this.call.handleCommandComplete(message)
    this.done += 1
  }

  /** What a text without a statement is answered with. */
  handleEmptyQuery(): void {
    this.done += 1
  }

  handlePortalSuspended(): void {}
  handleCopyData(): void {}

  handleCopyInResponse(wire: CallWire): void {
    this.call.handleCopyInResponse(wire)
  }

  handleError(error: Error): void {
    // Without a code it is the driver that did not wait for them (`query_timeout`): they go on, and what is prepared by them is there.
    if ("code" in error) this.over()
    this.call.handleError(error)
  }

  handleReadyForQuery(): void {
    this.over()
    this.call.handleReadyForQuery()
  }
}
