import { describe, expect, it } from "vitest"
import { type Run, run } from "./program.js"

/** Times differ from run to run; everything else is the story. */
const timeless = (text: string): string =>
  text
    .replaceAll(/^\d\d:\d\d:\d\d\.\d{3} /gm, "")
    .replaceAll(/db=\d+\.\dms/g, "db=…")
    .replaceAll(/^ *\d+ ms {2}/gm, "… ms ")

const story = `# First let's check that there is nothing in the cache or the database.
effecto(1)> fallback.get(1)
[debug] Try to retrieve key {people, 1} from database
[debug] QUERY OK source="people" db=…
select "id", "first_name", "last_name", "age" from "people" where "id" = $1
none

# Create a person.
effecto(2)> Repo.insert(People, { firstName: "Carlos", lastName: "Bolanos", age: 33 })
[debug] QUERY OK source="people" db=…
insert into "people" ("first_name", "last_name", "age") values ($1, $2, $3) returning "id", "first_name", "last_name", "age"
Person { id: 1, firstName: 'Carlos', lastName: 'Bolanos', age: 33 }

# Now let's try to retrieve it from the cache: it comes from the database.
effecto(3)> fallback.get(1)
[debug] Try to retrieve key {people, 1} from database
[debug] QUERY OK source="people" db=…
select "id", "first_name", "last_name", "age" from "people" where "id" = $1
Person { id: 1, firstName: 'Carlos', lastName: 'Bolanos', age: 33 }

# At this point it should be cached already: no query.
effecto(4)> fallback.get(1)
Person { id: 1, firstName: 'Carlos', lastName: 'Bolanos', age: 33 }

# That was a hook of five lines. The everyday form is RepoCache: it takes the table, and nothing else.
effecto(5)> people.get(1)
[debug] QUERY OK source="people" db=…
select "id", "first_name", "last_name", "age" from "people" where "id" = $1
Person { id: 1, firstName: 'Carlos', lastName: 'Bolanos', age: 33 }

# Update the person in a transaction. Until it commits, another fiber still reads the old value, from the cache.
# People are forgotten by themselves; the cache with the hook is told what is written.
effecto(6)> Repo.transact(Effect.gen(function* () {
    yield* Repo.update(People, 1, { age: 34 }).pipe(fallback.evicting(1));
    yield* anotherFiberReads;
}))
[debug] QUERY OK db=…
begin
[debug] QUERY OK source="people" db=…
update "people" set "age" = $1 where "id" = $2 returning "id", "first_name", "last_name", "age"
effecto(7)> people.get(1)
Person { id: 1, firstName: 'Carlos', lastName: 'Bolanos', age: 33 }

[debug] QUERY OK db=…
commit

# After the commit the next read of either sees the new value.
effecto(8)> people.get(1)
[debug] QUERY OK source="people" db=…
select "id", "first_name", "last_name", "age" from "people" where "id" = $1
Person { id: 1, firstName: 'Carlos', lastName: 'Bolanos', age: 34 }

effecto(9)> fallback.get(1)
[debug] Try to retrieve key {people, 1} from database
[debug] QUERY OK source="people" db=…
select "id", "first_name", "last_name", "age" from "people" where "id" = $1
Person { id: 1, firstName: 'Carlos', lastName: 'Bolanos', age: 34 }

# An update that is rolled back invalidates nothing.
effecto(10)> Repo.transact(Effect.gen(function* () {
    yield* Repo.update(People, 1, { age: 99 }).pipe(fallback.evicting(1));
    return yield* Effect.fail("changed my mind");
}))
[debug] QUERY OK db=…
begin
[debug] QUERY OK source="people" db=…
update "people" set "age" = $1 where "id" = $2 returning "id", "first_name", "last_name", "age"
[debug] QUERY OK db=…
rollback
** failed: changed my mind

effecto(11)> people.get(1)
Person { id: 1, firstName: 'Carlos', lastName: 'Bolanos', age: 34 }

# A query is kept too: here for 10 seconds after it was last read. Time is TestClock's in this part.
effecto(12)> people.getOrLoad("capitals in Nu", capitals, { dependsOn: [Countries] })
[debug] QUERY OK source="countries" db=…
select "code", "name", "capital" from "countries"
[ 'Nuuk', "Nuku'alofa" ]

effecto(13)> TestClock.adjust("6 seconds")

# Read in time, and renewed by that ...
effecto(14)> people.getOrLoad("capitals in Nu", capitals, { dependsOn: [Countries] })
[ 'Nuuk', "Nuku'alofa" ]

effecto(15)> TestClock.adjust("6 seconds")

# ... it is still there after 12 seconds ...
effecto(16)> people.getOrLoad("capitals in Nu", capitals, { dependsOn: [Countries] })
[ 'Nuuk', "Nuku'alofa" ]

effecto(17)> TestClock.adjust("10 seconds")

# ... and gone after 10 more without a reader.
effecto(18)> people.getOrLoad("capitals in Nu", capitals, { dependsOn: [Countries] })
[debug] QUERY OK source="countries" db=…
select "code", "name", "capital" from "countries"
[ 'Nuuk', "Nuku'alofa" ]

# It depends on the countries: when one of them is written, it is forgotten at once.
effecto(19)> Repo.update(Countries, "KZ", { capital: "Nur-Sultan" })
[debug] QUERY OK source="countries" db=…
update "countries" set "capital" = $1 where "code" = $2 returning "code", "name", "capital"
Country { code: 'KZ', name: 'Kazakhstan', capital: 'Nur-Sultan' }

effecto(20)> people.getOrLoad("capitals in Nu", capitals, { dependsOn: [Countries] })
[debug] QUERY OK source="countries" db=…
select "code", "name", "capital" from "countries"
[ 'Nuuk', "Nuku'alofa", 'Nur-Sultan' ]

`

/** What is said of the lock: the statements of two connections come in whatever order they come. */
const lock = [
  "# Two fibers, each on a connection of its own, want one advisory lock: the second waits until the first commits.",
  "… ms the first has the lock",
  "… ms the second asks for it",
  "… ms PostgreSQL sees the second waiting",
  "… ms the first commits",
  "… ms the second has the lock"
]

const ending = `# The cache lives in a fiber that is watched. Crash it on purpose:
app rest_for_dependents, 0 of 3 restarts in 5 s
├─ repo up #1
├─ people up #1
├─ fallback up #1
└─ ingest up #1, one_for_one, 0 of 1 restarts in 60 s
   └─ feed up #1

effecto(21)> TestSupervision.crash("app/people")

effecto(22)> TestSupervision.awaitRestart("app/people").pipe(Effect.map((instance) => \`instance \${instance}\`))
[warn] "app/people" (instance 1) crashed: restarting it, 1 of 3 restarts in 5000 ms
instance 2

# The handle that was taken before the crash still answers, from a new and empty cache.
effecto(23)> people.get(1)
[debug] QUERY OK source="people" db=…
select "id", "first_name", "last_name", "age" from "people" where "id" = $1
Person { id: 1, firstName: 'Carlos', lastName: 'Bolanos', age: 34 }

app rest_for_dependents, 1 of 3 restarts in 5 s
├─ repo up #1
├─ people up #2, restarted 1×
├─ fallback up #1
└─ ingest up #1, one_for_one, 0 of 1 restarts in 60 s
   └─ feed up #1

# People also come in as lines of text. A line that is nobody crashes the worker that reads it;
# whoever waits for it is told, and the tree that the worker lives in starts another.
effecto(24)> feed.take("Ada Lovelace 36")
[debug] QUERY OK source="people" db=…
insert into "people" ("first_name", "last_name", "age") values ($1, $2, $3) returning "id", "first_name", "last_name", "age"
person 2

effecto(25)> feed.take("nobody").pipe(Effect.catchAllDefect(Effect.succeed))
[warn] "app/ingest/feed" (instance 1) crashed: restarting it, 1 of 1 restarts in 60000 ms
instance 1 of "app/ingest/feed" died before it answered this call; a new call reaches the next instance

effecto(26)> restarted("app/ingest/feed")
instance 2

# Once more within a minute is too much for that tree: it gives up. To the application's tree that is
# the end of one child, which it starts anew; all others, and the handle, stay as they are.
effecto(27)> feed.take("nobody").pipe(Effect.catchAllDefect(Effect.succeed))
[error] "app/ingest/feed" (instance 2) crashed: giving up, 2 of 1 restarts in 60000 ms
instance 1 of "app/ingest" died before it answered this call; a new call reaches the next instance

effecto(28)> restarted("app/ingest")
[warn] "app/ingest" (instance 1) ended: restarting it, 2 of 3 restarts in 5000 ms
instance 2

effecto(29)> feed.take("Grace Hopper 85")
[debug] QUERY OK source="people" db=…
insert into "people" ("first_name", "last_name", "age") values ($1, $2, $3) returning "id", "first_name", "last_name", "age"
person 3

app rest_for_dependents, 2 of 3 restarts in 5 s
├─ repo up #1
├─ people up #2, restarted 1×
├─ fallback up #1
└─ ingest up #2, restarted 1×, one_for_one, 0 of 1 restarts in 60 s
   └─ feed up #1

# That was:
queries   11 about people, 4 about countries
hits      2
misses    3
restarts  2
`

const expectOneLine = ({ exitCode, left, stderr }: Run, message: RegExp) => {
  expect(stderr).toMatch(message)
  expect(stderr.trim().split("\n")).toHaveLength(1)
  expect({ exitCode, left }).toEqual({ exitCode: 1, left: [] })
}

describe("npm start", () => {
  it("tells the whole story, on a server of its own, and leaves nothing behind", async () => {
    const { exitCode, left, stderr, stdout } = await run("main", { env: { DATABASE_URL: undefined } })
    const told = timeless(stdout)
    const [beforeLock, rest] = [told.slice(0, told.indexOf(lock[0] ?? "")), told.slice(told.indexOf(lock[0] ?? ""))]
    const [aboutLock, afterLock] = [
      rest.slice(0, rest.indexOf("# The cache lives")),
      rest.slice(rest.indexOf("# The cache lives"))
    ]
    expect(beforeLock).toBe(story)
    expect(aboutLock.split("\n").filter((line) => /^(#|…)/.test(line))).toEqual(lock)
    expect(afterLock).toBe(ending)
    expect({ exitCode, left, stderr }).toEqual({ exitCode: 0, left: [], stderr: "" })
  })

  it("tells the same in a database of its own on the server that DATABASE_URL names", async () => {
    const { exitCode, left, stdout } = await run("main")
    expect(timeless(stdout).endsWith(ending)).toBe(true)
    expect({ exitCode, left }).toEqual({ exitCode: 0, left: [] })
  })

  it("says in one line that DATABASE_URL is not an address", async () => {
    expectOneLine(
      await run("main", { env: { DATABASE_URL: "somewhere" } }),
      /^effecto: DATABASE_URL is not a URL\. It has to look like/m
    )
  })

  it("says in one line that nothing listens where DATABASE_URL points", async () => {
    const result = await run("main", { env: { DATABASE_URL: "postgresql://app:secret@127.0.0.1:1/shop" } })
    expectOneLine(
      result,
      /could not connect to PostgreSQL at 127\.0\.0\.1:1\/shop: nothing listens there\. Start the server/
    )
    expect(result.stderr).not.toContain("secret")
  })

  it("says in one line that the server was killed in the middle of the story, and leaves nothing behind", async () => {
    let killed = false
    const result = await run("main", {
      env: { DATABASE_URL: undefined },
      onOutput: (stdout, running) => {
        if (killed || !stdout.includes("effecto(5)>")) return
        killed = true
        process.kill(running.server(), "SIGKILL")
      }
    })
    expectOneLine(result, /^effecto: could not .*: .*(connection to PostgreSQL was lost|PostgreSQL cannot be reached)/m)
    expect(result.stdout).not.toContain("unhandled")
  })

  it("shows the whole cause only when DEBUG asks for it", async () => {
    const { exitCode, stderr } = await run("main", { env: { DATABASE_URL: "somewhere", DEBUG: "1" } })
    expect(stderr).toMatch(/\n {4}at /)
    expect(exitCode).toBe(1)
  })

  it("ends on Ctrl-C and leaves nothing behind", async () => {
    let interrupted = false
    const { exitCode, left, stderr } = await run("main", {
      env: { DATABASE_URL: undefined },
      onOutput: (stdout, running) => {
        if (interrupted || !stdout.includes("effecto(5)>")) return
        interrupted = true
        running.signal("SIGINT")
      }
    })
    expect({ exitCode, left, stderr }).toEqual({ exitCode: 130, left: [], stderr: "" })
  })
})

describe("npm run console", () => {
  it("has the application in scope, awaits at top level, and cleans up at the end", async () => {
    const { exitCode, left, stdout } = await run("console", {
      env: { DATABASE_URL: undefined },
      input: [
        'const carlos = await run(repo.insert(People, { firstName: "Carlos", lastName: "Bolanos", age: 33 }))',
        "await run(fallback.get(carlos.id))",
        "await run(people.get(carlos.id))",
        "await run(Repo.count(People))",
        ""
      ].join("\n")
    })
    expect(stdout).toContain("Try to retrieve key {people, 1} from database")
    expect(stdout).toContain("Person { id: 1, firstName: 'Carlos', lastName: 'Bolanos', age: 33 }")
    expect({ exitCode, left }).toEqual({ exitCode: 0, left: [] })
  })

  it("says in one line that there is no server", async () => {
    expectOneLine(await run("console", { env: { DATABASE_URL: "somewhere" } }), /^effecto: DATABASE_URL is not a URL/m)
  })
})
