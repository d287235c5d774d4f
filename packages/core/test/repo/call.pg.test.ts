/** Our own statements as they go to PostgreSQL and come back: it alone knows whether what was sent is what was meant. */
import { Model, SqlClient } from "@effect/sql"
import { describe, expect, layer } from "@effect/vitest"
import { Effect, Schema } from "effect"
import * as Table from "../../src/repo/Table.js"
import { EmbeddedPostgres } from "../../src/testing.js"
import { pool, sendingPool } from "./pools.js"

class Note extends Model.Class<Note>("Note")({
  id: Schema.Number,
  text: Schema.NullOr(Schema.String),
  texts: Schema.Array(Schema.NullOr(Schema.String)),
  numbers: Schema.Array(Schema.Number),
  half: Schema.Number,
  large: Schema.BigIntFromSelf,
  isOpen: Schema.Boolean,
  at: Schema.NullOr(Schema.DateFromSelf)
}) {}

const Notes = Table.make(Note, { name: "notes", key: "id", constraints: { notes_pkey: Table.unique("id") } })

const fresh = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  yield* sql`drop table if exists notes`
  yield* sql`create table notes (id int primary key, text text, texts text[] not null, numbers float8[] not null, half float8 not null, large numeric not null, is_open bool not null, at timestamptz)`
})

const note = {
  id: 1,
  text: null,
  texts: [],
  numbers: [],
  half: -0.5,
  large: -(2n ** 70n),
  isOpen: true,
  at: null
} satisfies typeof Notes.model.insert.Type

/** Around the length from which a text is written otherwise, with one byte and with several for a character. */
const texts = [
  "",
  "a",
  "x".repeat(24),
  "y".repeat(25),
  "z".repeat(10_000),
  "ä".repeat(12),
  "ä".repeat(13),
  "中文 😀",
  'quoted "twice" \\ {a,b}',
  "it's",
  "NULL",
  "line\nline\r\ttab",
  "\u0001"
]

describe("a statement", () => {
  layer(EmbeddedPostgres, { excludeTestServices: true })((it) => {
    it.scoped("stores texts as they are, alone and in arrays", () =>
      Effect.gen(function* () {
        yield* fresh
        const { repo } = yield* pool(1)
        for (const [id, text] of texts.entries()) {
          const stored = yield* repo.insert(Notes, { ...note, id, text, texts: [text, null, text] })
          expect([stored.text, stored.texts]).toEqual([text, [text, null, text]])
        }
        const all = yield* repo.all(Notes, { id: texts.map((_, id) => id) })
        expect(new Set(all.map(({ text }) => text))).toEqual(new Set(texts))
        expect((yield* repo.all(Notes, { text: texts })).length).toBe(texts.length)
      })
    )

    it.scoped("stores numbers, bigints, booleans, nothing and dates as they are", () =>
      Effect.gen(function* () {
        yield* fresh
        const { repo } = yield* pool(1)
        const numbers = [0, -1.5, 1e300, 2 ** 53 - 1, 1e-9]
        expect(yield* repo.insert(Notes, { ...note, numbers })).toMatchObject({ ...note, numbers })
        const at = new Date("2026-03-29T01:30:00.123Z")
        // A date is for the driver to write: one statement is sent in both ways.
        expect((yield* repo.insert(Notes, { ...note, id: 2, at })).at).toEqual(at)
        expect((yield* repo.insert(Notes, { ...note, id: 3 })).at).toBe(null)
        expect((yield* repo.insert(Notes, { ...note, id: 4, at })).at).toEqual(at)
      })
    )

    it.scoped("can fail at first and succeed then, on one connection", () =>
      Effect.gen(function* () {
        yield* fresh
        const { repo } = yield* pool(1)
        const misses = { ...note, half: "none" as never }
        expect((yield* Effect.flip(repo.insert(Notes, misses)))._tag).toBe("InvalidInput")
        yield* repo.insert(Notes, note)
        expect((yield* Effect.flip(repo.insert(Notes, note)))._tag).toBe("UniqueViolation")
        expect((yield* repo.insert(Notes, { ...note, id: 2 })).id).toBe(2)
        expect((yield* repo.fetch(Notes, 2)).large).toBe(note.large)
      })
    )

    it.scoped(
      "has as many parameters as PostgreSQL takes; one with more is refused, and its connection is as good as before",
      () =>
        Effect.gen(function* () {
          yield* fresh
          const { repo, sql } = yield* pool(1)
          const among = (count: number) =>
            repo.count(Notes, sql`id in ${sql.in(Array.from({ length: count }, (_, at) => at))}`)
          const inTransaction = (count: number) => repo.transact(Effect.ensuring(among(count), Effect.exit(among(1))))
          yield* repo.insert(Notes, note)
          for (const run of [among, inTransaction]) {
            expect(yield* run(32_767)).toBe(1)
            expect(yield* run(32_768)).toBe(1)
            expect(yield* run(65_535)).toBe(1)
            const error = yield* Effect.flip(run(65_536))
            expect([error._tag, error.message]).toEqual(["DbError", expect.stringContaining("65536 parameters")])
            expect(yield* run(1)).toBe(0)
          }
        })
    )

    it.scoped("is itself where its connection has another under its name, as of a second copy of this library", () =>
      Effect.gen(function* () {
        yield* fresh
        const { repo, sql } = yield* pool(1)
        yield* repo.insert(Notes, { ...note, text: "its own" })
        yield* repo.fetch(Notes, 1)
        const names = sql<{
          readonly name: string
        }>`select name from pg_prepared_statements where statement like 'select%'`
        const name = (yield* names)[0]?.name ?? ""
        const other = yield* pool(1)
        const text = "select 1, 'another''s' where $1 = 1"
        yield* Effect.scoped(
          Effect.flatMap(other.sql.reserve, (connection) =>
            connection.executeRaw({ name, text, values: [1] } as never, undefined as never)
          )
        )
        expect((yield* other.repo.fetch(Notes, 1)).text).toBe("its own")
        expect((yield* other.repo.fetch(Notes, 1)).text).toBe("its own")
        expect(yield* other.sql`select statement from pg_prepared_statements where name = ${name}`).toEqual([
          { statement: text }
        ])
      })
    )

    it.scoped("says what reading its values threw, and leaves its connection as good as it was", () =>
      Effect.gen(function* () {
        yield* fresh
        let breaks = false
        const { repo } = yield* pool(1, {
          types: {
            getTypeParser: () => (value: string) => {
              if (breaks) throw new Error("that cannot be read")
              return value
            }
          } as never
        })
        const sql = yield* SqlClient.SqlClient
        yield* sql`insert into notes values (1, 'a', '{}', '{}', 0, 0, true, null), (2, 'b', '{}', '{}', 0, 0, true, null)`
        breaks = true
        const error = yield* Effect.flip(repo.all(Notes))
        expect([error._tag, error.message]).toEqual(["DbError", expect.stringContaining("that cannot be read")])
        breaks = false
        expect(yield* repo.exists(Notes)).toBe(false)
      })
    )

    it.scoped("fails, and nothing but that, where what gives the readers of values throws", () =>
      Effect.gen(function* () {
        yield* fresh
        let isThere = true
        const getTypeParser = () => {
          if (!isThere) throw new Error("there are no types")
          return String
        }
        // Sound: it gives what reads a value.
        const { repo } = yield* pool(1, { types: { getTypeParser } as never })
        isThere = false
        expect((yield* Effect.flip(repo.all(Notes))).message).toMatch(/there are no types/)
        isThere = true
        expect(yield* repo.all(Notes)).toEqual([])
      })
    )

    it.scoped("answers with many rows as with each of them alone, whatever comes in between", () =>
      Effect.gen(function* () {
        yield* fresh
        const { repo, sql } = yield* pool(1)
        yield* sql`insert into notes select i, case when i % 7 > 0 then repeat('ä', i % 50) end, array['a', null], array[i, -i], i / 3.0, i, i % 2 = 0, now() from generate_series(-400, 400) i`
        yield* sql`insert into notes values (1000, repeat('long ', 100000), '{}', '{}', 0, 0, true, null)`
        yield* sql`create or replace function noisy(i int) returns bool language plpgsql as $$ begin raise notice 'a notice of %', i; return true; end $$`
        const [all, noisy] = [yield* repo.all(Notes), yield* repo.all(Notes, sql`noisy(id) order by id desc`)]
        expect([all.length, noisy.length]).toEqual([802, 802])
        for (const row of all) if (row.id % 20 === 0) expect(row).toEqual(yield* repo.fetch(Notes, row.id))
        expect([...noisy].reverse()).toEqual([...all].sort((one, other) => one.id - other.id))
      })
    )

    it.scoped(
      "is answered with its own rows where its connection is still at what the program sent when it was made",
      () =>
        Effect.gen(function* () {
          yield* fresh
          const sql = yield* SqlClient.SqlClient
          yield* sql`insert into notes values (1, 'a', '{}', '{}', 0, 0, true, null)`
          const repo = yield* sendingPool(3, (client) => client.query("set search_path = public"))
          for (let round = 0; round < 3; round += 1) {
            const found = yield* Effect.all(
              Array.from({ length: 6 }, () => repo.fetch(Notes, 1)),
              { concurrency: "unbounded" }
            )
            expect(found.map(({ text }) => text)).toEqual(["a", "a", "a", "a", "a", "a"])
          }
        })
    )

    it.scoped("says what fails in the midst of many rows, and leaves its connection as good as it was", () =>
      Effect.gen(function* () {
        yield* fresh
        let reads = 0
        let breaks = Number.POSITIVE_INFINITY
        const { repo, sql } = yield* pool(1, {
          types: {
            getTypeParser: (type: number) => (value: string) => {
              reads += 1
              if (reads > breaks) throw new Error("that cannot be read")
              return type === 23 ? -Number(value) : type === 16 ? value === "t" : value.startsWith("{") ? [] : value
            }
          } as never
        })
        yield* sql`insert into notes select i, 'text', '{}', '{}', 0, 0, true, null from generate_series(1, 900) i`
        const all = repo.all(Notes, sql`100 / (850 - id) is not null order by id`)
        expect((yield* Effect.flip(all)).message).toContain("division by zero")
        const some = repo.all(Notes, sql`id < 850 order by id`)
        expect((yield* some).map(({ id }) => -id)).toEqual(Array.from({ length: 849 }, (_, at) => at + 1))
        breaks = reads + 1000
        expect((yield* Effect.flip(some)).message).toContain("that cannot be read")
        breaks = Number.POSITIVE_INFINITY
        expect((yield* some).length).toBe(849)
      })
    )
  })
})
