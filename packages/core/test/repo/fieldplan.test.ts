import { Model } from "@effect/sql"
import { describe, expect, it } from "@effect/vitest"
import { Effect, Either, Schema } from "effect"
import { fieldPlan, Mismatch } from "../../src/repo/fieldplan.js"

const attempt = (run: () => unknown): unknown => {
  try {
    return run()
  } catch (problem) {
    if (problem instanceof Mismatch) return `${problem.expected}; ${problem.remedy}`
    throw problem
  }
}

const read = (field: Schema.Schema.All, value: unknown) => attempt(() => fieldPlan("f", field).decode(value))
const written = (field: Schema.Schema.All | Schema.PropertySignature.All, value: unknown) =>
  attempt(() => fieldPlan("f", field).encode(value))

const lossy =
  "number; A JavaScript number cannot hold that value exactly: use Schema.BigIntFromSelf, Schema.BigDecimal or Schema.String (Schema.NumberFromString rounds it)."

class Stamped extends Model.Class<Stamped>("Stamped")({ at: Model.DateTimeInsert }) {}

describe("fieldPlan", () => {
  it.each([
    [null, "null"],
    [[1], "an array"],
    [new Date(0), "a date"],
    [{ a: 1 }, "an object"],
    [1, "a number"]
  ])("says of %j, where a text is expected, what it is", (value, said) => {
    expect(() => fieldPlan("f", Schema.String).decode(value)).toThrow(expect.objectContaining({ actual: said }))
  })

  it.each([
    ["1", 1],
    ["-12.50", -12.5],
    ["0.1", 0.1],
    ["0.00", 0],
    ["-0.00", -0],
    ["123456789012345.00", 123456789012345],
    ["9007199254740991", 9007199254740991],
    ["9007199254740991.000", 9007199254740991],
    ["9007199254740.91", 9007199254740.91],
    ["0.00000000000000000012", 1.2e-19],
    ["1e3", 1000],
    ["NaN", Number.NaN],
    ["-Infinity", Number.NEGATIVE_INFINITY]
  ])("reads %s as the number it is", (text, number) => {
    expect(read(Schema.Number, text)).toBe(number)
  })

  it.each([
    "9007199254740992",
    "9007199254740993",
    "9007199254740993.00",
    "12345678901234567.89",
    "90071992547409.91",
    "0.12345678901234567891",
    "1e23",
    "1e400",
    "1e-400"
  ])("refuses %s for a number rather than rounding it, and says what can hold it", (text) => {
    expect(read(Schema.Number, text)).toBe(lossy)
  })

  it("reads text as a number in unions of literals, in enums and in what has a number on its stored side", () => {
    const grades = Schema.Literal(1, 2, null)
    expect(read(grades, "2")).toBe(2)
    expect(read(grades, null)).toBe(null)
    expect(read(Schema.Literal(1, 2), 1)).toBe(1)
    expect(read(Schema.Literal(1, 2), "3")).toContain("1 | 2")
    expect(read(Schema.Literal(1, "x"), "x")).toBe("x")
    expect(read(Schema.Literal(1, "1"), "1")).toBe("1")
    expect(read(Schema.Literal(1n, 2n), "2")).toBe(2n)
    expect(read(Schema.Enums({ low: 0, high: 1 }), "1")).toBe(1)
    expect(read(Schema.Enums({ low: "0", high: "1" }), "1")).toBe("1")
    expect(read(Schema.Union(Schema.Literal(1), Schema.Array(Schema.String)), "1")).toBe(1)
    expect(read(Model.BooleanFromNumber, "1")).toBe(true)
  })

  it.each([Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY])("refuses to write %s", (value) => {
    const finite = "a finite number; undefined"
    expect(written(Schema.Number, value)).toBe(finite)
    expect(written(Schema.NullOr(Schema.Number), value)).toBe(finite)
    expect(written(Schema.optional(Schema.Number), value)).toBe(finite)
    expect(written(Schema.Number.pipe(Schema.brand("Amount")), value)).toBe(finite)
  })

  it("refuses to write a date that is none", () => {
    expect(written(Schema.DateFromSelf, new Date(Number.NaN))).toBe("a valid date; undefined")
  })

  it("names the schemas for what the driver gives as a date", () => {
    expect(read(Schema.Date, new Date(0))).toContain(
      "The driver gives a date for it: use Schema.DateFromSelf, Model.DateTimeFromDate"
    )
    expect(read(Stamped.fields.at, new Date(0))).toContain("Model.DateTimeInsertFromDate")
    expect(read(Schema.String, 1)).toBe("string; undefined")
  })

  it("encodes what needs an effect later, checked as well", async () => {
    const late = Schema.transformOrFail(Schema.Number, Schema.Number, {
      decode: (value) => Effect.succeed(value),
      encode: (value) => Effect.as(Effect.yieldNow(), value)
    })
    const plan = fieldPlan("f", late)
    const ended = (value: number) =>
      Effect.runPromise(
        Effect.either((plan.encode(value) as { readonly value: Effect.Effect<unknown, Mismatch> }).value)
      )
    expect(await ended(1)).toEqual(Either.right(1))
    expect(await ended(Number.NaN)).toMatchObject({ _tag: "Left", left: { expected: "a finite number" } })
  })
})
