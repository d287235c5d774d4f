/** docs/cache-promises.md names a test for what the cache promises: each of them has to exist. */
import { existsSync, readFileSync } from "node:fs"
import { describe, expect, it } from "vitest"

const page = new URL("../../../docs/cache-promises.md", import.meta.url)

/** `[races.test.ts](…) “one test”, “another”`. */
const claims = (text: string) =>
  [...text.matchAll(/\]\(([^)]+\.test\.ts)\)((?:,? ?“[^”]+”)+)/g)].flatMap(([, file = "", names = ""]) =>
    [...names.matchAll(/“([^”]+)”/g)].map(([, name = ""]) => ({ file, name }))
  )

describe("the page of promises", () => {
  const text = readFileSync(page, "utf8")

  it("names tests that exist", () => {
    const missing = claims(text).filter(({ file, name }) => {
      const test = new URL(file, page)
      return !existsSync(test) || !readFileSync(test, "utf8").includes(name)
    })
    expect(missing).toEqual([])
    expect(claims(text).length).toBeGreaterThan(70)
  })

  it("leaves no link to a test without the name of one", () => {
    const links = [...text.matchAll(/\]\([^)]+\.test\.ts\)/g)].length
    const named = [...text.matchAll(/\]\([^)]+\.test\.ts\) “/g)].length
    expect(named).toBe(links)
  })

  it("has every number of the goals, once", () => {
    const numbers = [...text.matchAll(/^\| (\d+(?:, \d+)*) \|/gm)].flatMap(([, list = ""]) =>
      list.split(", ").map(Number)
    )
    expect(numbers.sort((one, other) => one - other)).toEqual(Array.from({ length: 48 }, (_, index) => index + 1))
  })
})
