/**
 * What makes rows of a table: its columns' closures, one after the other, into one object.
 *
 * For a thousand rows, what the closures do is a third of the work; the rest is setting fields whose names only the loop knows, which no engine can
 * make fast. So the loop is written out as a function for each table, with the names in its text: half the time. Names are all that its text holds,
 * quoted; no value of a row or of a user ever gets there. Where a program forbids making functions of text, the loop runs as a loop.
 */
import { type Decode, Mismatch } from "./fieldplan.js"

/** A column as it is read. */
export interface ReadColumn {
  readonly name: string
  readonly column: string
  readonly isOptional: boolean
  readonly decode: Decode
}

type Stored = Readonly<Record<string, unknown>>

/** One row. Throws {@link Mismatch}. */
export type RowDecoder = (row: Stored) => Record<string, unknown>

/** The same as a loop. */
export const looping = (columns: ReadonlyArray<ReadColumn>, prototype: object): RowDecoder => {
  return (row) => {
    const properties: Record<string, unknown> = Object.create(prototype)
    for (const { column, decode, isOptional, name } of columns) {
      const stored = row[column]
      // NULL in a field that may be absent is its absence.
      if (stored !== null || !isOptional) properties[name] = decode(stored)
    }
    return properties
  }
}

/** The same, written out. */
const writtenOut = (columns: ReadonlyArray<ReadColumn>, prototype: object): RowDecoder => {
  const quoted = (name: string) => JSON.stringify(name)
  const fields = columns.map(({ column, isOptional, name }, at) =>
    isOptional
      ? `const stored${at} = row[${quoted(column)}]; if (stored${at} !== null) made[${quoted(name)}] = decode${at}(stored${at})`
      : `made[${quoted(name)}] = decode${at}(row[${quoted(column)}])`
  )
  const text = [
    `const [${columns.map((_, at) => `decode${at}`).join(", ")}] = decoders`,
    "function Made() {}",
    "Made.prototype = prototype",
    "return (row) => {",
    "  const made = new Made()",
    ...fields.map((field) => `  ${field}`),
    "  return made",
    "}"
  ].join("\n")
  const make: unknown = new Function("decoders", "prototype", `"use strict"\n${text}`)
  // Sound: that is what the text above makes.
  return (make as (decoders: ReadonlyArray<Decode>, prototype: object) => RowDecoder)(
    columns.map(({ decode }) => decode),
    prototype
  )
}

export const rowDecoder = (columns: ReadonlyArray<ReadColumn>, prototype: object): RowDecoder => {
  try {
    return writtenOut(columns, prototype)
  } catch {
    // Forbidden: --disallow-code-generation-from-strings, or a runtime that has no such thing.
    return looping(columns, prototype)
  }
}

/** The column that does not fit, when a row was refused: what was read before it is read again. */
export const misfit = <C extends ReadColumn>(
  columns: ReadonlyArray<C>,
  row: Stored
): { readonly column: C; readonly problem: Mismatch } | undefined => {
  for (const column of columns) {
    const stored = row[column.column]
    if (stored === null && column.isOptional) continue
    try {
      column.decode(stored)
    } catch (problem) {
      if (problem instanceof Mismatch) return { column, problem }
      throw problem
    }
  }
  return undefined
}
