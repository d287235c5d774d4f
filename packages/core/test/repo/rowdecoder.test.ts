import { describe, expect, it } from "vitest"
import { Mismatch } from "../../src/repo/fieldplan.js"
import { looping, misfit, type ReadColumn, rowDecoder } from "../../src/repo/rowdecoder.js"

class Row {
  get isRow() {
    return true
  }
}

const upper = (value: unknown) => {
  if (typeof value === "string") return value.toUpperCase()
  throw new Mismatch("string", typeof value)
}

const column = (name: string, isOptional = false): ReadColumn => ({
  name,
  column: `column of ${name}`,
  isOptional,
  decode: upper
})

/** Names that would be code if they were not quoted. */
const wild = ["plain", `a"b`, "a\\", "`x`", "a\nb", "constructor", "\u2028", "row", "1"]

const stored = (names: ReadonlyArray<string>) => Object.fromEntries(names.map((name) => [`column of ${name}`, name]))

describe("rowDecoder", () => {
  it("makes the same rows as the loop, whatever the names", () => {
    const columns = wild.map((name) => column(name))
    const row = stored(wild)
    const made = rowDecoder(columns, Row.prototype, "named")(row)
    expect(made).toEqual(looping(columns, Row.prototype, "named")(row))
    expect(Object.entries(made)).toEqual(Object.entries(looping(columns, Row.prototype, "named")(row)))
    expect(made).toBeInstanceOf(Row)
    expect(made).toMatchObject({ isRow: true })
  })

  it("makes the same rows of lists as of rows by name", () => {
    const columns = [...wild.map((name) => column(name)), column("may", true), column("last")]
    const named = { ...stored([...wild, "last"]), "column of may": null }
    const listed = columns.map(({ column }) => (named as Record<string, unknown>)[column])
    const expected = rowDecoder(columns, Row.prototype, "named")(named)
    for (const make of [rowDecoder, looping]) {
      // Sound: a list is looked at by its places.
      const made = make(columns, Row.prototype, "listed")(listed as unknown as Record<number, unknown>)
      expect(Object.entries(made)).toEqual(Object.entries(expected))
      expect(made).toBeInstanceOf(Row)
    }
  })

  it("leaves out NULL where a field may be absent, and hands it to the field elsewhere", () => {
    const columns = [column("may", true), column("must")]
    const row = { "column of may": null, "column of must": "x" }
    for (const make of [rowDecoder, looping]) {
      const decode = make(columns, Row.prototype, "named")
      expect(Object.entries(decode(row))).toEqual([["must", "X"]])
      expect(() => decode({ "column of may": "x", "column of must": null })).toThrow(Mismatch)
    }
  })

  it("runs as a loop where functions cannot be made of text", () => {
    const original = globalThis.Function
    const asked: Array<unknown> = []
    globalThis.Function = class {
      constructor(...text: ReadonlyArray<unknown>) {
        asked.push(text)
        throw new EvalError("Code generation from strings disallowed for this context")
      }
      // Sound: only its being called is looked at.
    } as unknown as FunctionConstructor
    try {
      const made = rowDecoder([column("a")], Row.prototype, "named")({ "column of a": "x" })
      expect([asked.length, Object.entries(made), made instanceof Row]).toEqual([1, [["a", "X"]], true])
    } finally {
      globalThis.Function = original
    }
  })
})

describe("misfit", () => {
  it("names the first column that does not fit", () => {
    const columns = [column("may", true), column("must"), column("later")]
    const found = misfit(columns, { "column of may": null, "column of must": 1, "column of later": 2 }, "named")
    expect([found?.column.name, found?.problem.actual]).toEqual(["must", "number"])
    expect(misfit(columns, { "column of may": null, "column of must": "x", "column of later": "y" }, "named")).toBe(
      undefined
    )
    // Sound: a list is looked at by its places.
    const listed = ["x", "y", 3] as unknown as Record<number, unknown>
    expect(misfit(columns, listed, "listed")?.column.name).toBe("later")
  })
})
