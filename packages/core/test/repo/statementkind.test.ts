/** What a statement's text says at a glance. */
import { describe, expect, it } from "vitest"
import { isControl } from "../../src/repo/statementkind.js"

describe("isControl", () => {
  it.each(["begin", " ; COMMIT", "-- a\nend", "/* a */ /* b /* c */ */abort", "start/**/transaction", "rollback"])(
    "finds what begins or ends a transaction in %j",
    (text) => expect(isControl(text)).toBe(true)
  )

  it.each([
    "select 1",
    "rollback to mine",
    "rollback work to mine",
    "/* a */ rollback /* b */ to mine",
    "prepare a as select 1"
  ])("finds nothing in %j", (text) => expect(isControl(text)).toBe(false))

  it("reads a text of many comments once", () => {
    const comments = "/* a */ -- b\n".repeat(1000)
    expect([isControl(`${comments}select 1`), isControl(`${comments}commit`)]).toEqual([false, true])
  })
})
