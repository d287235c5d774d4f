/** Where the parts of a text of SQL begin and end. */
import { describe, expect, it } from "vitest"
import { controls, fault, onlyInserts, setOperation } from "../../src/repo/sqltext.js"

describe("fault", () => {
  it.each([
    "age > $1 and (name = $2 or true)",
    "name = ')' or name = '(' or name = ''')('",
    "name = E'\\')' and (true)",
    'n."a)b" = 1 and "c""(" = 2',
    "true -- ) or (\n",
    "true /* ) /* ( */ ; */ and (true)",
    "name = $$)($$ or name = $a$ ) $$ ; $a$",
    "a$b$ = ($1) and (c$b$ = 2)",
    "name = U&'\\0028' and (true)",
    "path = 'C:\\' or path = 'a)'",
    "(select count(*) from pets where owner_id = people.id) > 1 order by age limit 3"
  ])("finds none in %j", (text) => expect(fault(text)).toBeUndefined())

  it.each([
    ["true) or (true", "closes a parenthesis", 5],
    ["name = '(' )", "closes a parenthesis", 12],
    ["$$($$ )", "closes a parenthesis", 7],
    ["'--' ) or (true", "closes a parenthesis", 6],
    ["-- it's\n) or (true", "closes a parenthesis", 9],
    ["-- it's\r) or (true", "closes a parenthesis", 9],
    ["/* ' */ ) or (", "closes a parenthesis", 9],
    ["a$b$) or ($b$", "closes a parenthesis", 5],
    ["name = '\\') or (true or name = '", "closes a parenthesis", 11],
    ["name = '\\'') or (true --'", "closes a parenthesis", 12],
    ["(true", "does not close a parenthesis", 1],
    ["true; delete from people", "begins another", 5],
    ["name = 'Ada", "does not close a quote", 8],
    ["true /* and so on", "does not close a comment", 6],
    ["name = $a$ Ada $$", "does not close a quote", 8],
    // A string that goes on in another line is of one kind.
    ["name = E'a'\n'\\'' or name = '\\') or (true -- '", "closes a parenthesis", 31],
    ["name = E'a' -- and\n -- so on\n '\\'' or name = '\\') or (true -- '", "closes a parenthesis", 49],
    ["true \0 and so on", "ends every text", 6]
  ])("finds what is wrong with %j", (text, reason, place) => {
    const found = fault(text)
    expect(found?.reason).toContain(reason)
    expect(found?.place).toBe(place)
  })
})

describe("setOperation", () => {
  it("is found outside of parentheses, quotes and comments only", () => {
    expect(setOperation("id in (select 1 union select 2) and name = 'union' -- except\n")).toBeUndefined()
    expect(setOperation('reunion = 1 and "union" = 2')).toBeUndefined()
    expect(setOperation("true UNION ALL select * from notes")).toBe("union")
    expect(setOperation("true except select 1")).toBe("except")
    expect(setOperation("name = '\\'' union select 1 --'")).toBe("union")
    expect(setOperation("name = E'a'\n'\\'' or name = '\\' union select 1 -- '")).toBe("union")
    expect(setOperation("name = E'a'\n-- b\n'\\'' or name = '\\' union select 1 -- '")).toBe("union")
    expect(setOperation("name = E'a' '\\'' union select 1 -- '")).toBe("union")
    // Before its fifteenth version, PostgreSQL takes these apart.
    expect(setOperation("1 = 1union select 1")).toBe("union")
    expect(setOperation("age = $1except select 1")).toBe("except")
  })
})

describe("controls", () => {
  it.each([
    "select 1; commit; begin",
    "select 1;\n-- and\n/* then /* it */ */ END;",
    "-- it looks harmless\rcommit",
    "insert into notes values (';'); rollback",
    "select 1; rollback and chain",
    "select 1; rollback work; begin",
    "select $$;$$; start transaction",
    "select '\\''; commit; begin; select '\\''",
    "select E'\\''; abort",
    "create function f() returns int begin atomic select case when true then 1 end; end; commit",
    "select 1; prepare transaction 'x'",
    "select E'a'\n'\\'', '\\'; rollback and chain; select 1 -- '",
    "create function f(begin int) returns int return begin; rollback and chain",
    "create function f(begin atomic) returns int return 1; rollback and chain",
    "create function f() returns int begin atomic select 1 case; end; rollback and chain",
    "create function f() returns int begin atomic select begin from notes; end; rollback and chain",
    "create function f() returns int begin atomic end; rollback and chain"
  ])("finds the end of a transaction in %j", (text) => expect(controls(text, "any")).toBe(true))

  it.each([
    "select 'a; commit; b', $$; commit;$$, \"; commit;\" -- ; commit;\n /* ; commit; */",
    "savepoint mine; rollback to mine; rollback work to savepoint mine; release mine",
    "do $$ begin perform 1; end $$; select 1",
    "create function f(begin int) returns int begin atomic insert into notes values (1); select 1 as end; select begin; end; select 1",
    "create function f() returns int language sql begin atomic select 1; select case when true then 1 else 2 end; end; select 1",
    "select 1; prepare one as select 1; select commit from notes",
    "create table starts (commit text); insert into starts values ('begin')"
  ])("finds none in %j", (text) => expect(controls(text, "any")).toBe(false))

  it("looks at the first statement alone when that is what was asked", () => {
    expect(controls("select 1; begin; select 2; commit", "first")).toBe(false)
    expect(controls(" ;; /* x */ begin; commit", "first")).toBe(true)
  })
})

describe("onlyInserts", () => {
  it.each([
    "insert into people (name) values ($1) on conflict (name) do nothing returning id",
    "insert into people (name) select name from (select 'on conflict do update' as name) as rows",
    'insert into "on conflict do update" (name) values ($1) -- on conflict (id) do update',
    "insert into people select * from (select conflict, case when on_it then do end update from notes) as rows"
  ])("is true of %j", (text) => expect(onlyInserts(text)).toBe(true))

  it.each([
    "insert into people (name) values ($1) on conflict (name) do update set name = $1",
    "insert into people (name) values ('a\\') ON CONFLICT (lower(name)) where (true) /* ' */ DO\nUPDATE set name = $1",
    "update people set name = 'insert'",
    "insert into people values ('on conflict"
  ])("is false of %j", (text) => expect(onlyInserts(text)).toBe(false))
})
