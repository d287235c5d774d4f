/**
 * PostgreSQL's protocol, as far as our own statements need it: all messages of one statement in one piece of memory.
 *
 * The driver makes each message by itself, so that a statement is five pieces, put together by the system call that sends them.
 */

import type { WriteDate } from "./drivervalues.js"

/** An array as PostgreSQL reads it; nothing where only the driver knows how to write what is in it. */
const arrayText = (values: ReadonlyArray<unknown>): string | undefined => {
  let text = "{"
  for (let at = 0; at < values.length; at += 1) {
    const value = values[at]
    if (at > 0) text += ","
    if (typeof value === "string") text += `"${value.replace(/[\\"]/g, "\\$&")}"`
    else if (typeof value === "number" || typeof value === "bigint" || typeof value === "boolean") text += String(value)
    else if (value === null || value === undefined) text += "NULL"
    else return undefined
  }
  return `${text}}`
}

/** A parameter as text, or null; nothing where only the driver knows how to write it, which depends on how it was set up. */
const parameterText = (value: unknown, writeDate: WriteDate): string | null | undefined => {
  switch (typeof value) {
    case "string":
      return value
    case "number":
    case "bigint":
    case "boolean":
      return String(value)
    case "undefined":
      return null
    default:
      if (value === null) return null
      if (Array.isArray(value)) return arrayText(value)
      return value instanceof Date ? writeDate(value) : undefined
  }
}

/** Parameters as text, dates as the driver writes them; nothing where only that knows how to write one of the others. */
export const parameterTexts = (
  parameters: ReadonlyArray<unknown>,
  writeDate: WriteDate
): ReadonlyArray<string | null> | undefined => {
  const texts: Array<string | null> = []
  for (const parameter of parameters) {
    const text = parameterText(parameter, writeDate)
    if (text === undefined) return undefined
    texts.push(text)
  }
  return texts
}

/** As many parameters as PostgreSQL takes for one statement. */
export const maximalParameters = 65_535

/** Beyond this length it is cheaper to have a text written than to write it. */
const short = 24

/** Writes from the beginning to the end of a piece of memory that is as long as what is written. */
class Writer {
  readonly bytes: Buffer
  private at = 0

  constructor(length: number) {
    this.bytes = Buffer.allocUnsafe(length)
  }

  int8(value: number): void {
    this.bytes[this.at] = value
    this.at += 1
  }

  /** PostgreSQL reads such a number as one without a sign. */
  int16(value: number): void {
    this.at = this.bytes.writeUInt16BE(value, this.at)
  }

  int32(value: number): void {
    this.at = this.bytes.writeInt32BE(value, this.at)
  }

  text(text: string, length: number): void {
    // As many bytes as characters: nothing but ASCII.
    if (length === text.length && length <= short)
      for (let place = 0; place < length; place += 1) this.bytes[this.at + place] = text.charCodeAt(place)
    else this.bytes.write(text, this.at)
    this.at += length
  }

  /** A text with its end. */
  ended(text: string, length: number): void {
    this.text(text, length)
    this.int8(0)
  }

  message(kind: number, length: number): void {
    this.int8(kind)
    this.int32(length)
  }
}

const code = (letter: string): number => letter.charCodeAt(0)
const kinds = {
  parse: code("P"),
  bind: code("B"),
  describe: code("D"),
  execute: code("E"),
  sync: code("S"),
  query: code("Q")
}

/** Of a message that says nothing: its kind and its length. */
const empty = 5
const describeLength = 6
const executeLength = 9

/** What is sent for a statement. */
export interface Sent {
  /** Under which it is, or is to be, prepared; `""` for none. */
  readonly name: string
  /** Given where it has to be parsed. */
  readonly text: string | undefined
  readonly parameters: ReadonlyArray<string | null>
  /** Whether the server is asked what the columns are. */
  readonly describes: boolean
}

/**
 * A statement, prepared before or with it: parse, bind, describe, execute and sync. All parameters and values are text. One that is not the last of several
 * leaves out the sync: up to that they are one transaction, and none is run behind one that failed.
 */
export const statementMessages = ({ describes, name, parameters, text }: Sent, isLast = true): Buffer => {
  const nameLength = Buffer.byteLength(name)
  const textLength = text === undefined ? 0 : Buffer.byteLength(text)
  const parseLength = 4 + nameLength + 1 + textLength + 1 + 2
  const lengths: Array<number> = []
  let bindLength = 4 + 1 + nameLength + 1 + 2 + 2 + 2
  for (const parameter of parameters) {
    const length = parameter === null ? 0 : Buffer.byteLength(parameter)
    lengths.push(length)
    bindLength += 4 + length
  }
  const writer = new Writer(
    (text === undefined ? 0 : 1 + parseLength) +
      (1 + bindLength) +
      (describes ? 1 + describeLength : 0) +
      (1 + executeLength) +
      (isLast ? empty : 0)
  )
  if (text !== undefined) {
    writer.message(kinds.parse, parseLength)
    writer.ended(name, nameLength)
    writer.ended(text, textLength)
    writer.int16(0)
  }
  writer.message(kinds.bind, bindLength)
  writer.int8(0)
  writer.ended(name, nameLength)
  writer.int16(0)
  writer.int16(parameters.length)
  for (let at = 0; at < parameters.length; at += 1) {
    const parameter = parameters[at]
    if (parameter === null || parameter === undefined) writer.int32(-1)
    else {
      const length = lengths[at] ?? 0
      writer.int32(length)
      writer.text(parameter, length)
    }
  }
  writer.int16(0)
  if (describes) {
    writer.message(kinds.describe, describeLength)
    writer.int8(code("P"))
    writer.int8(0)
  }
  writer.message(kinds.execute, executeLength)
  writer.int8(0)
  writer.int32(0)
  if (isLast) writer.message(kinds.sync, 4)
  return writer.bytes
}

/** A text without parameters, which may be several statements. */
export const queryMessage = (text: string): Buffer => {
  const length = Buffer.byteLength(text)
  const writer = new Writer(1 + 4 + length + 1)
  writer.message(kinds.query, 4 + length + 1)
  writer.ended(text, length)
  return writer.bytes
}
