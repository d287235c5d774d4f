import { existsSync, readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { describe, expect, it } from "vitest"
import { mutants } from "../scripts/mutants/list.mjs"

const cache = fileURLToPath(new URL("../packages/cache/", import.meta.url))

describe("the mutants of npm run mutants", () => {
  it("still find what they break, once, and the tests that are to miss it", () => {
    const lost = mutants.filter(
      ({ file, from, test }) =>
        !existsSync(`${cache}test/${test}`) || readFileSync(`${cache}src/${file}`, "utf8").split(from).length !== 2
    )
    expect(lost).toEqual([])
  })

  it("break something", () => {
    expect(mutants.filter(({ from, to }) => from === to)).toEqual([])
  })
})
