/** Which statements by hand may write. */
import { describe, expect, it } from "vitest"
import { mayWrite } from "../../src/repo/maywrite.js"

describe("mayWrite", () => {
  it.each([
    "insert into notes values (1)",
    "select note_it(1)",
    "select note_it /* in a moment */ (1)",
    "select note_it/* a /* b */ c */(1)",
    "select note_it -- soon\n (1)",
    "select ä(1)",
    'select "note_it"(1)',
    "with one as (delete from notes returning 1) select 1 from one"
  ])("says so of %j", (text) => expect(mayWrite(text)).toBe(true))

  it.each([
    "select 1",
    "select count (*) from notes where id in (select max(id) from notes) and (true)",
    "SELECT Lower /* it */ (text) from notes",
    "select 'note_it(1)', $$ note_it(2) $$ -- note_it(3)\n from notes",
    "values (1), (2)"
  ])("does not of %j", (text) => expect(mayWrite(text)).toBe(false))

  it("reads a long text once", () => expect(mayWrite(`select '${"a".repeat(200_000)}' from notes`)).toBe(false))
})
