/** Values of a row, read from its bytes. */
import { describe, expect, it } from "vitest"
import { Columns } from "../../src/repo/rowbytes.js"

const row = (values: ReadonlyArray<string | null>): Buffer => {
  const pieces = [Buffer.from([7, 7, 0, values.length])]
  for (const value of values) {
    const length = Buffer.alloc(4)
    length.writeInt32BE(value === null ? -1 : Buffer.byteLength(value))
    pieces.push(length, Buffer.from(value ?? ""))
  }
  return Buffer.concat([...pieces, Buffer.from([7, 7])])
}

const [text, int2, int4, oid, int8] = [25, 21, 23, 26, 20]

const readBy = (types: ReadonlyArray<number>, read: (value: string) => unknown, values: ReadonlyArray<string | null>) =>
  new Columns(
    types.map((dataTypeID) => ({ dataTypeID, format: "text" as const })),
    () => read
  ).row(row(values), 2)

/** As `pg` has it. */
const parseInteger = function (value: string) {
  return parseInt(value, 10)
}

describe("a row", () => {
  it.each(["", "a", "é", "ab", "中文 😀", "\u0000\u007f\u0080", "x".repeat(70_000)])("has the text %#", (value) => {
    expect(readBy([text, text, text], String, [value, null, value])).toEqual([value, null, value])
  })

  it("has the integers that its digits say", () => {
    const values = ["0", "7", "-7", "32767", "-32768", "2147483647", "-2147483648", "4294967295"]
    for (const read of [parseInteger, (value: string) => parseInt(value, 10)])
      for (const type of [int2, int4, oid]) {
        const numbers = readBy(
          values.map(() => type),
          read,
          values
        )
        expect(numbers).toEqual(values.map(Number))
        expect(Object.is(numbers[0], 0)).toBe(true)
      }
  })

  it("asks whatever else reads a type, for each value that is not null", () => {
    const seen: Array<string> = []
    const read = (value: string) => {
      seen.push(value)
      return parseInt(value, 10)
    }
    expect(readBy([int4, int4, int8], read, ["12", null, "-3"])).toEqual([12, null, -3])
    expect(seen).toEqual(["12", "-3"])
    expect(readBy([int4], (value) => parseInt(value, 16), ["10"])).toEqual([16])
    expect(readBy([int8], parseInteger, ["10"])).toEqual([10])
  })

  it("asks what reads a type by a parseInt of the program's own", () => {
    // Made of a text, because a compiler that sees the one of the language beside it renames the other.
    const made = new Function("parseInt", "return (value) => parseInt(value, 10)")
    // Sound: it is what the text says.
    const read = made(BigInt) as (value: string) => unknown
    expect(readBy([int4, int2], read, ["12", "-3"])).toEqual([12n, -3n])
  })

  it("has texts where nothing reads a type", () => {
    // Sound: what a program gives the driver may know some types only.
    expect(readBy([int4, text], undefined as never, ["12", "a"])).toEqual(["12", "a"])
  })

  it("throws what reading a value throws", () => {
    const read = () => {
      throw new Error("that cannot be read")
    }
    expect(() => readBy([text], read, ["a"])).toThrow("that cannot be read")
  })
})
