/** Every numbered case of EctoHooks and BitcrowdEcto is in the name of a test, or in docs/seed-cases.md with our answer. */
import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { describe, expect, it } from "vitest"

const root = fileURLToPath(new URL("../../../..", import.meta.url))

/** `EH-T1..T126`, `EH-T132/T133` and `EH-T7` mean what a reader takes them for. */
const casesIn = (text: string): ReadonlySet<string> => {
  const found = new Set<string>()
  for (const [, seed = "", list = ""] of text.matchAll(/\b(EH|BE)-((?:[TD]\d+(?:\.\.|\/)?)+)/g)) {
    let from: { readonly kind: string; readonly number: number } | undefined
    for (const [, kind = "", digits = "", separator = ""] of list.matchAll(/([TD])(\d+)(\.\.|\/)?/g)) {
      const number = Number(digits)
      const first = from?.kind === kind ? from.number : number
      for (let one = first; one <= number; one += 1) found.add(`${seed}-${kind}${one}`)
      from = separator === ".." ? { kind, number } : undefined
    }
  }
  return found
}

const range = (name: string, first: number, last: number) =>
  Array.from({ length: last - first + 1 }, (_, at) => `${name}${first + at}`)

/** EH-D3 and BE-D7 to D9 were never given. */
const cases = [
  ...range("EH-T", 1, 206),
  ...range("EH-D", 1, 2),
  ...range("EH-D", 4, 11),
  ...range("BE-T", 1, 55),
  ...range("BE-D", 1, 6),
  "BE-D10"
]

const sources = readdirSync(join(root, "packages"), { withFileTypes: true })
  .filter((entry) => entry.isDirectory())
  .flatMap(({ name }) => {
    try {
      const folder = join(root, "packages", name, "test")
      return readdirSync(folder, { recursive: true, encoding: "utf8" })
        .filter((file) => file.endsWith(".test.ts") && !file.endsWith("seedcases.test.ts"))
        .map((file) => readFileSync(join(folder, file), "utf8"))
    } catch {
      // A package without tests.
      return []
    }
  })

/** What tests are called: the first text behind `it`, whichever `it` that is. */
const names = sources.flatMap((source) =>
  [...source.matchAll(/\b(?:it|test)(?:\.\w+)*(?:\(\[[\s\S]*?\]\))?\(\s*(["'`])([\s\S]*?)\1/g)].map(
    ([, , name]) => name ?? ""
  )
)

describe("the cases of EctoHooks and BitcrowdEcto", () => {
  it("are all in the name of a test, or in the table with our answer", () => {
    const document = readFileSync(join(root, "docs", "seed-cases.md"), "utf8")
    const rows = document.split("\n").flatMap((line) => /^\| ([^|]+) \|/.exec(line)?.[1] ?? [])
    const known = new Set([...casesIn(names.join("\n")), ...casesIn(rows.join("\n"))])
    expect(cases.filter((one) => !known.has(one))).toEqual([])
    // A number that does not exist is a mistake in a test's name or in the table.
    expect([...known].filter((one) => !cases.includes(one))).toEqual([])
  })

  it("are read as ranges, lists and single ones", () => {
    expect([...casesIn("EH-T1..T3 BE-D1/D2, EH-D4")]).toEqual(["EH-T1", "EH-T2", "EH-T3", "BE-D1", "BE-D2", "EH-D4"])
  })

  it("are mostly tests: more than a table could be filled with", () => {
    expect(casesIn(names.join("\n")).size).toBeGreaterThan(100)
  })
})
