import { describe, expect, it } from "@effect/vitest"
import { quoted, snakeCase } from "../../src/repo/columnnames.js"

describe("snakeCase", () => {
  it.each([
    ["id", "id"],
    ["createdAt", "created_at"],
    ["userID", "user_id"],
    ["HTMLBody", "html_body"],
    ["address2Line", "address2_line"],
    ["already_snake", "already_snake"],
    ["A", "a"]
  ])("of %j is %j", (name, column) => {
    expect(snakeCase(name)).toBe(column)
  })
})

describe("quoted", () => {
  it("doubles quotes, so that no name can end its own quoting", () => {
    expect(quoted('a"; drop table people; --')).toBe('"a""; drop table people; --"')
  })
})
