/** Keys of rows, and which tables a change is about. */
import { describe, expect, it } from "@effect/vitest"
import { BigDecimal, Data, DateTime, Equal, Hash } from "effect"
import { comparable, given, hasOneSpelling } from "../src/rowkey.js"
import { meet, type Named, tagsChanged, tagsRead } from "../src/tabletags.js"

describe("a row's key", () => {
  const pairs: ReadonlyArray<readonly [string, () => unknown, unknown]> = [
    ["a number", () => 1, 2],
    ["a text", () => "a", "b"],
    ["a date", () => new Date(1), new Date(2)],
    ["a DateTime", () => DateTime.unsafeMake(1), DateTime.unsafeMake(2)],
    ["a BigDecimal", () => BigDecimal.unsafeFromString("1.50"), BigDecimal.unsafeFromString("1.5001")],
    ["bytes", () => new Uint8Array([1, 2]), new Uint8Array([12])],
    ["a Buffer", () => Buffer.from([1, 2]), new Uint8Array([1, 2, 0])],
    ["no bytes", () => new Uint8Array(), new Uint8Array([0])],
    ["fields", () => ({ hall: "a", no: 1n }), { hall: "a", no: 2n }],
    [
      "fields with bytes",
      () => ({ id: new Uint8Array([1]), at: new Date(1) }),
      { id: new Uint8Array([2]), at: new Date(1) }
    ],
    ["nested fields", () => ({ a: { b: [1, { c: 2 }] } }), { a: { b: [1, { c: 3 }] } }]
  ]
  for (const [what, make, other] of pairs) {
    it(`of ${what} is one key each time, and no other`, () => {
      expect(Equal.equals(comparable(make()), comparable(make()))).toBe(true)
      expect(Hash.hash(comparable(make()))).toBe(Hash.hash(comparable(make())))
      expect(Equal.equals(comparable(comparable(make())), comparable(make()))).toBe(true)
      expect(Equal.equals(comparable(make()), comparable(other))).toBe(false)
      expect(given(comparable(make()))).toEqual(what === "a Buffer" ? new Uint8Array([1, 2]) : make())
    })
  }

  it("does not change when its bytes do", () => {
    const bytes = new Uint8Array([1])
    const key = comparable(bytes)
    bytes[0] = 2
    expect(Equal.equals(key, comparable(new Uint8Array([1])))).toBe(true)
    expect(given(key)).toEqual(new Uint8Array([1]))
  })

  it("with an equality or a class of its own is handed on as it is", () => {
    for (const key of [DateTime.unsafeMake(1), BigDecimal.unsafeFromString("1.5"), new Date(1), new Map()]) {
      expect(comparable(key)).toBe(key)
      expect(given(key)).toBe(key)
    }
  })

  it("has one spelling if it is a number, a bigint, a boolean, or fields of such", () => {
    const one = [1, -0.5, 1n, true, Data.struct({ hall: 1, no: 2n })]
    const several = [
      "a",
      new Date(1),
      Data.struct({ hall: "a", no: 2n }),
      comparable(new Uint8Array([1])),
      null,
      undefined
    ]
    expect(one.map(hasOneSpelling)).toEqual(one.map(() => true))
    expect(several.map(hasOneSpelling)).toEqual(several.map(() => false))
  })
})

describe("a table without a schema", () => {
  const tables: ReadonlyArray<Named> = ["a", "b"].flatMap((name) =>
    [undefined, "public", "tenant"].map((schema) => ({ name, schema }))
  )
  it("meets those of its name in every schema, by itself and by its tags", () => {
    const met = tables.map((changed) => tables.filter((read) => meet(changed, read)))
    expect(met.map((all) => all.length)).toEqual([3, 2, 2, 3, 2, 2])
    expect(
      tables.map((changed) => tables.filter((read) => tagsChanged(changed).some((tag) => tagsRead(read).includes(tag))))
    ).toEqual(met)
    expect(met[1]).toEqual([
      { name: "a", schema: undefined },
      { name: "a", schema: "public" }
    ])
  })
})
