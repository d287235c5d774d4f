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

/** A row as the driver gives it: by the names of its columns, or a list of their values. */
export type Stored = Readonly<Record<string | number, unknown>>

/** How rows are given: by names, or as lists in the order of the columns. */
export type Shape = "named" | "listed"

/** Rows of one answer are all given alike. */
export const shapeOf = (rows: ReadonlyArray<Stored>): Shape => (Array.isArray(rows[0]) ? "listed" : "named")

const placeOf = (column: ReadColumn, at: number, shape: Shape): string | number =>
  shape === "listed" ? at : column.column

/** One row. Throws {@link Mismatch}. */
export type RowDecoder = (row: Stored) => Record<string, unknown>

/** The same as a loop. */
export const looping = (columns: ReadonlyArray<ReadColumn>, prototype: object, shape: Shape): RowDecoder => {
  const placed = columns.map((column, at) => ({ ...column, place: placeOf(column, at, shape) }))
  return (row) => {
    const properties: Record<string, unknown> = Object.create(prototype)
    for (const { decode, isOptional, name, place } of placed) {
      const stored = row[place]
      // NULL in a field that may be absent is its absence.
      if (stored !== null || !isOptional) properties[name] = decode(stored)
    }
    return properties
  }
}

/** The same, written out. */
const writtenOut = (columns: ReadonlyArray<ReadColumn>, prototype: object, shape: Shape): RowDecoder => {
  const fields = columns.map((column, at) => {
    const stored = `row[${JSON.stringify(placeOf(column, at, shape))}]`
    const field = `made[${JSON.stringify(column.name)}]`
    return column.isOptional
      ? `const stored${at} = ${stored}; if (stored${at} !== null) ${field} = decode${at}(stored${at})`
      : `${field} = decode${at}(${stored})`
  })
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

export const rowDecoder = (columns: ReadonlyArray<ReadColumn>, prototype: object, shape: Shape): RowDecoder => {
  try {
    return writtenOut(columns, prototype, shape)
  } catch {
    // Forbidden: --disallow-code-generation-from-strings, or a runtime that has no such thing.
    return looping(columns, prototype, shape)
  }
}

/** The column that does not fit, when a row was refused: what was read before it is read again. */
export const misfit = <C extends ReadColumn>(
  columns: ReadonlyArray<C>,
  row: Stored,
  shape: Shape
): { readonly column: C; readonly problem: Mismatch } | undefined => {
  for (const [at, column] of columns.entries()) {
    const stored = row[placeOf(column, at, shape)]
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
