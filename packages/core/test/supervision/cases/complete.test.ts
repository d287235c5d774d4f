import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { describe, expect, it } from "vitest"

const range = (from: number, to: number, without: ReadonlyArray<number>): ReadonlyArray<number> =>
  Array.from({ length: to - from + 1 }, (_, i) => from + i).filter((n) => !without.includes(n))

/** What a port of OTP's supervisors has to get right, by number: a supervisor's cases, a dynamic one's, and those of Effect. */
const cases = [...range(1, 90, [57, 58, 60, 66, 75, 77, 83, 87]), ...range(91, 105, []), ...range(176, 205, [184, 202])]

/** Numbers of things that are not promised, though some of them are there: task supervisors, registries, actors and so on. */
const others = range(106, 175, [])

const core = fileURLToPath(new URL("../../..", import.meta.url))
const page = fileURLToPath(new URL("../../../../../docs/otp-cases.md", import.meta.url))

const numbers = (list: string): ReadonlyArray<number> => list.split(", ").map(Number)

/** Names that begin with numbers: `"47: the third crash ..."`. */
const tested = [join(core, "test/supervision"), join(core, "typetest")].flatMap((folder) =>
  readdirSync(folder, { recursive: true, encoding: "utf8" })
    .filter((file) => /\.(test|tst)\.ts$/.test(file))
    .flatMap((file) =>
      Array.from(readFileSync(join(folder, file), "utf8").matchAll(/["`](\d+(?:, \d+)*): [^"`]/g), (match) => ({
        file,
        numbers: numbers(match[1] ?? "")
      }))
    )
)

/** Rows that begin with numbers: `| 2 | ... |`. */
const excused = Array.from(readFileSync(page, "utf8").matchAll(/^\| (\d+(?:, \d+)*) \|/gm), (match) =>
  numbers(match[1] ?? "")
).flat()

describe("the cases of OTP", () => {
  it("are each the name of a test, or stand in docs/otp-cases.md", () => {
    const known = new Set([...tested.flatMap((name) => name.numbers), ...excused])
    expect(cases.filter((n) => !known.has(n))).toEqual([])
  })

  it("are not named by a number that does not exist", () => {
    expect(tested.filter((name) => name.numbers.some((n) => !cases.includes(n) && !others.includes(n)))).toEqual([])
    expect(excused.filter((n) => !cases.includes(n))).toEqual([])
  })
})
