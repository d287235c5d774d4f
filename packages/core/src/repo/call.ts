/**
 * A statement of ours in the driver's queue. `pg` takes whatever can submit itself and be handed the server's messages, which its own cursors do too.
 *
 * What the driver's own queries do at each call is done here once for each prepared statement of a connection: to ask what its columns are, and to find
 * what reads their values. PostgreSQL refuses to run a prepared statement whose columns have become others, so what was known stays true.
 */
import type { WriteDate } from "./drivervalues.js"
import { type Intake, intakeOf, type Socket, type Taker } from "./intake.js"
import { parameterTexts, queryMessage, statementMessages } from "./messages.js"
import { failedReused, type Statement } from "./prepared.js"
import { Columns, type Described, type Reader } from "./rowbytes.js"

/** `pg`'s Connection, as far as a statement uses it. */
export interface CallWire {
  readonly stream: Socket & { readonly writable?: boolean; write(bytes: Buffer): unknown }
  /** The texts of what was prepared here, by their names. */
  readonly parsedStatements: Readonly<Record<string, string | undefined>>
  sendCopyFail(reason: string): void
}

/** What `pg` answers. */
interface Answered {
  command: string
  rowCount: number | null
  readonly rows: Array<ReadonlyArray<unknown>>
}

export type Done = (error: Error | null | undefined, result?: unknown) => void

/** The columns of statements that were prepared. */
const known = new WeakMap<CallWire, Map<string, Columns>>()

/** Whose values stay texts. */
const undescribed = new Columns([], () => String)

const unread = new Error("a value could not be read")

abstract class Submitted {
  protected readonly answered: Answered = { command: "", rowCount: null, rows: [] }
  /** Reading a value threw: told when the server is through. */
  protected problem: unknown

  constructor(public callback: Done) {}

  /** Sends it. An error that it gives back is told, and nothing was sent. */
  abstract submit(wire: CallWire): Error | null

  protected write(wire: CallWire, bytes: Buffer): null {
    // A socket that is closed is reported by its end.
    if (wire.stream.writable !== false) wire.stream.write(bytes)
    return null
  }

  handleRowDescription(_message: unknown): void {}
  handleDataRow(_message: unknown): void {}

  /** `BEGIN`, `UPDATE 1`, `INSERT 0 1`: a word, and behind it perhaps how many rows it was about. */
  handleCommandComplete({ text }: { readonly text: string }): void {
    const space = text.indexOf(" ")
    const count = space < 0 ? Number.NaN : Number(text.slice(text.lastIndexOf(" ") + 1))
    this.answered.command = space < 0 ? text : text.slice(0, space)
    this.answered.rowCount = Number.isNaN(count) ? null : count
  }

  handleEmptyQuery(): void {}
  handlePortalSuspended(): void {}
  handleCopyData(): void {}

  handleCopyInResponse(wire: CallWire): void {
    wire.sendCopyFail("nothing is copied here")
  }

  handleError(error: Error): void {
    // Sound: what reading a value threw is told as it was thrown.
    this.callback(this.problem === undefined ? error : (this.problem as Error))
  }

  handleReadyForQuery(): void {
    if (this.problem === undefined) this.callback(null, this.answered)
    // Sound: as above.
    else this.callback(this.problem as Error)
  }
}

/** A statement with parameters, answered with its rows as lists. */
export class Call extends Submitted implements Taker {
  /** Under which the driver notes that it was prepared. */
  readonly name: string | undefined
  readonly text: string
  private columns: Columns | undefined
  private wire: CallWire | undefined
  private intake: Intake | undefined
  /** Whether it had been prepared before. */
  private isReused = false

  constructor(
    statement: Statement,
    private readonly parameters: ReadonlyArray<string | null>,
    private readonly reader: Reader,
    callback: Done
  ) {
    super(callback)
    this.name = statement.name
    this.text = statement.text
  }

  submit(wire: CallWire): Error | null {
    this.intake = intakeOf(wire.stream)
    if (this.intake !== undefined) this.intake.taker = this
    return this.write(wire, this.messages(wire))
  }

  /** No more rows come for it. */
  private leave(): void {
    if (this.intake?.taker === this) this.intake.taker = undefined
  }

  /** What is sent for it, and whether anything is sent behind it. */
  messages(wire: CallWire, isLast = true): Buffer {
    const { name, parameters, text } = this
    this.wire = wire
    this.columns = name === undefined ? undefined : known.get(wire)?.get(name)
    const isParsed = name !== undefined && wire.parsedStatements[name] !== undefined
    this.isReused = isParsed
    return statementMessages(
      {
        name: name ?? "",
        text: isParsed ? undefined : text,
        parameters,
        describes: this.columns === undefined || !isParsed
      },
      isLast
    )
  }

  override handleRowDescription({ fields }: { readonly fields: ReadonlyArray<Described> }): void {
    try {
      this.columns = new Columns(fields, this.reader)
    } catch (problem) {
      this.problem = problem ?? unread
    }
  }

  override handleDataRow({ fields }: { readonly fields: Array<unknown> }): void {
    if (this.problem !== undefined) return
    try {
      // The list is this row's own.
      this.answered.rows.push((this.columns ?? undescribed).texts(fields))
    } catch (problem) {
      this.problem = problem ?? unread
    }
  }

  takeRow(bytes: Buffer, begin: number): void {
    if (this.problem !== undefined) return
    try {
      this.answered.rows.push((this.columns ?? undescribed).row(bytes, begin))
    } catch (problem) {
      this.problem = problem ?? unread
    }
  }

  override handleError(error: Error): void {
    this.leave()
    if (this.isReused) failedReused(error, this.text)
    super.handleError(error)
  }

  override handleReadyForQuery(): void {
    this.leave()
    const { columns, name, wire } = this
    if (name !== undefined && wire !== undefined && columns !== undefined) {
      let statements = known.get(wire)
      if (statements === undefined) {
        statements = new Map()
        known.set(wire, statements)
      }
      if (!statements.has(name)) statements.set(name, columns)
    }
    super.handleReadyForQuery()
  }
}

/** What only the driver can write has no call. */
export const callOf = (
  statement: Statement,
  parameters: ReadonlyArray<unknown>,
  reader: Reader,
  writeDate: WriteDate,
  done: Done
): Call | undefined => {
  const texts = parameterTexts(parameters, writeDate)
  return texts === undefined ? undefined : new Call(statement, texts, reader, done)
}

/** A text without parameters whose rows, if it has any, nobody wants: what begins and ends transactions. Answered as its last statement is. */
export class Command extends Submitted {
  constructor(
    readonly text: string,
    callback: Done
  ) {
    super(callback)
  }

  submit(wire: CallWire): Error | null {
    return this.write(wire, queryMessage(this.text))
  }
}
