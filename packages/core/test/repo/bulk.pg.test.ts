/** Writes that read first, and writes of many rows. */
import { inspect } from "node:util"
import { Model, SqlClient } from "@effect/sql"
import { describe, expect, layer } from "@effect/vitest"
import { Cause, Effect, Option, Schema } from "effect"
import * as Announcement from "../../src/repo/Announcement.js"
import * as Repo from "../../src/repo/Repo.js"
import * as Table from "../../src/repo/Table.js"
import * as Transaction from "../../src/repo/Transaction.js"
import { logged, TestRepo } from "./people.js"
import { pool } from "./pools.js"

class Entry extends Model.Class<Entry>("Entry")({
  id: Model.Generated(Schema.Number),
  name: Schema.String,
  amount: Schema.Number,
  comment: Model.Field({
    select: Schema.String,
    insert: Schema.optional(Schema.String),
    update: Schema.String,
    json: Schema.String
  }),
  lockVersion: Model.Generated(Schema.Number),
  deletedAt: Model.Generated(Schema.NullOr(Schema.DateFromSelf)),
  updatedAt: Model.DateTimeUpdateFromDate
}) {}
const Entries = Table.make(Entry, {
  name: "entries",
  key: "id",
  version: "lockVersion",
  softDelete: "deletedAt",
  constraints: { entries_name_key: Table.unique("name") }
})

class Plain extends Model.Class<Plain>("Plain")({ id: Schema.Number, tag: Schema.String }) {}
const Plains = Table.make(Plain, { name: "plains", key: "id" })

const fresh = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  yield* sql`drop table if exists entries, plains`
  yield* sql`create table entries (
    id serial primary key, name text not null constraint entries_name_key unique, amount int not null,
    comment text not null default 'none', lock_version int not null default 1, deleted_at timestamptz, updated_at timestamptz not null
  )`
  yield* sql`create table plains (id int primary key, tag text not null)`
  return sql
})

const entries = (count: number) => Array.from({ length: count }, (_, at) => ({ name: `n${at}`, amount: at }))

const defect = <A, E, R>(self: Effect.Effect<A, E, R>) =>
  Effect.map(Effect.flip(Effect.sandbox(self)), (cause) => String(Cause.squash(cause)))

describe("modify", () => {
  layer(TestRepo, { excludeTestServices: true })((it) => {
    it.effect("loses no change, however many modify one row at once", () =>
      Effect.gen(function* () {
        yield* fresh
        yield* Repo.insert(Entries, { name: "a", amount: 0 })
        yield* Effect.all(
          Array.from({ length: 12 }, () =>
            Repo.modify(Entries, 1, ({ amount }) => Effect.succeed({ amount: amount + 1 }))
          ),
          { concurrency: "unbounded" }
        )
        expect(yield* Repo.fetch(Entries, 1)).toMatchObject({ amount: 12, lockVersion: 13 })
      })
    )

    it.effect("is in a transaction with its function: a failure undoes what that did", () =>
      Effect.gen(function* () {
        yield* fresh
        yield* Repo.insert(Entries, { name: "a", amount: 0 })
        const failure = yield* Effect.flip(
          Repo.modify(Entries, 1, () =>
            Effect.gen(function* () {
              expect(yield* Transaction.inTransaction).toBe(true)
              yield* Repo.insert(Plains, { id: 1, tag: "x" })
              return yield* Effect.fail("no" as const)
            })
          )
        )
        expect(failure).toBe("no")
        expect(yield* Repo.count(Plains)).toBe(0)
        expect(yield* Effect.flip(Repo.modify(Entries, 9, () => Effect.succeed({})))).toMatchObject({
          _tag: "NotFound"
        })
      })
    )

    it.effect("of nothing writes nothing, and its violations are those of an update", () =>
      Effect.gen(function* () {
        yield* fresh
        yield* Repo.insertAll(Entries, entries(2))
        const same = yield* Repo.modify(Entries, 1, () => Effect.succeed({}))
        expect(same.lockVersion).toBe(1)
        expect(yield* Effect.flip(Repo.modify(Entries, 1, () => Effect.succeed({ name: "n1" })))).toMatchObject({
          _tag: "UniqueViolation",
          constraint: "entries_name_key"
        })
      })
    )

    it.scoped("waits no longer than it is told to", () =>
      Effect.gen(function* () {
        yield* fresh
        yield* Repo.insert(Entries, { name: "a", amount: 0 })
        const other = yield* pool(1)
        yield* other.sql.withTransaction(
          Effect.gen(function* () {
            yield* other.sql`select from entries for update`
            const failure = yield* Effect.flip(
              Repo.modify(Entries, 1, () => Effect.succeed({ amount: 1 }), { wait: "nowait" })
            )
            expect(failure).toMatchObject({ _tag: "LockTimeout" })
          })
        )
      })
    )
  })
})

describe("insertAll", () => {
  layer(TestRepo, { excludeTestServices: true })((it) => {
    it.effect("inserts more rows than one statement takes, in one transaction", () =>
      Effect.gen(function* () {
        yield* fresh
        const { lines, result } = yield* logged(Repo.insertAll(Entries, entries(30_000)))
        expect(result).toBe(30_000)
        const inserts = lines.filter((line) => line.includes("insert into"))
        expect(inserts.length).toBe(15)
        expect([lines[0], lines.at(-1)].map((line) => line?.split("\n")[1])).toEqual(["begin", "commit"])
        expect(yield* Repo.count(Entries)).toBe(30_000)
        const rest = [...entries(30_001).slice(30_000), { name: "n5", amount: 1 }]
        expect(yield* Effect.flip(Repo.insertAll(Entries, rest))).toMatchObject({ _tag: "UniqueViolation" })
        expect(yield* Repo.count(Entries)).toBe(30_000)
        const many = [...entries(33_000).slice(30_000), { name: "n5", amount: 1 }]
        expect(yield* Effect.flip(Repo.insertAll(Entries, many))).toMatchObject({ _tag: "UniqueViolation" })
        expect(yield* Repo.count(Entries)).toBe(30_000)
      })
    )

    it.effect("gives rows back in their order, with the defaults of fields that some of them lack", () =>
      Effect.gen(function* () {
        yield* fresh
        const rows = yield* Repo.insertAll(
          Entries,
          [
            { name: "a", amount: 1 },
            { name: "b", amount: 2, comment: "mine" },
            { name: "c", amount: 3 }
          ],
          { returning: true }
        )
        expect(rows.map(({ comment, id, name }) => [id, name, comment])).toEqual([
          [1, "a", "none"],
          [2, "b", "mine"],
          [3, "c", "none"]
        ])
        expect(rows[0]).toBeInstanceOf(Entry)
        expect(yield* Repo.insertAll(Entries, [])).toBe(0)
        expect(yield* Repo.insertAll(Entries, [], { returning: true })).toEqual([])
      })
    )

    it.effect("says nothing of what rows hold when it fails", () =>
      Effect.gen(function* () {
        yield* fresh
        const secret = { name: "secret-name", amount: 1 }
        const violation = yield* Effect.flip(Repo.insertAll(Entries, [secret, secret]))
        expect(violation.message).toBe(
          "could not insert into entries: key (name) already exists (constraint entries_name_key)"
        )
        const tooLarge = yield* Effect.flip(Repo.insertAll(Entries, [{ name: "secret-name", amount: 2 ** 40 }]))
        expect(tooLarge).toMatchObject({ _tag: "DbError", code: "22003" })
        const invalid = yield* Effect.flip(Repo.insertAll(Entries, [{ name: 31415926 as never, amount: 1 }]))
        for (const error of [violation, tooLarge, invalid])
          expect(`${error.message}${inspect(error)}${JSON.stringify(error)}`).not.toMatch(
            /secret-name|1099511627776|31415926/
          )
      })
    )

    it.effect("sends nothing when a value does not fit", () =>
      Effect.gen(function* () {
        yield* fresh
        const { lines, result } = yield* logged(
          Effect.flip(Repo.insertAll(Entries, [...entries(3), { name: "x", amount: Number.NaN }]))
        )
        expect(result).toMatchObject({ _tag: "InvalidInput", field: "amount" })
        expect(lines).toEqual([])
      })
    )

    it.effect("leaves out or replaces rows that are there already, and runs no hooks of rows", () =>
      Effect.gen(function* () {
        yield* fresh
        const Hooked = Entries.pipe(Table.hooks({ beforeInsert: () => Effect.fail("hook" as const) }))
        yield* Repo.insertAll(Hooked, entries(2))
        const target = ["name"] as const
        expect(yield* Repo.insertAll(Entries, entries(4), { onConflict: { target, action: "nothing" } })).toBe(2)
        const replaced = yield* Repo.insertAll(Entries, [{ name: "n0", amount: 50 }], {
          onConflict: { target, action: { replace: ["amount"] } },
          returning: true
        })
        expect(replaced[0]).toMatchObject({ id: 1, amount: 50, lockVersion: 2 })
      })
    )
  })
})

describe("updateAll", () => {
  layer(TestRepo, { excludeTestServices: true })((it) => {
    it.effect("changes what a condition holds for, versions and generated fields too, deleted rows not", () =>
      Effect.gen(function* () {
        const sql = yield* fresh
        const rows = yield* Repo.insertAll(Entries, entries(5), { returning: true })
        yield* Repo.delete(Entries, 1)
        expect(yield* Repo.updateAll(Entries, { id: [1, 2, 3] }, { comment: "x" })).toBe(2)
        expect(yield* Repo.updateAll(Entries, sql`amount >= ${3} and comment <> '$1' -- those`, { comment: "y" })).toBe(
          2
        )
        const changed = yield* Repo.updateAll(Entries, Repo.everything, { amount: 7 }, { returning: true })
        expect(changed.map(({ lockVersion }) => lockVersion)).toEqual([3, 3, 3, 3])
        expect(changed.every(({ amount }) => amount === 7)).toBe(true)
        expect(rows.length).toBe(5)
        expect(yield* Repo.updateAll(Entries, { id: 2 }, {})).toBe(0)
        expect(yield* Repo.updateAll(Entries, { id: Number.NaN }, { amount: 1 })).toBe(0)
        expect(yield* Effect.flip(Repo.updateAll(Entries, { id: [2, 3] }, { name: "same" }))).toMatchObject({
          _tag: "UniqueViolation"
        })
        expect(yield* Effect.flip(Repo.updateAll(Entries, { id: 2 }, { amount: Number.NaN }))).toMatchObject({
          _tag: "InvalidInput"
        })
      })
    )

    it.effect("refuses a condition that says nothing", () =>
      Effect.gen(function* () {
        yield* fresh
        yield* Repo.insertAll(Entries, entries(2))
        const refusal = "which would be every row: say Repo.everything if that is meant"
        expect(yield* defect(Repo.updateAll(Entries, {} as never, { amount: 1 }))).toContain(refusal)
        expect(yield* defect(Repo.deleteAll(Entries, undefined as never))).toContain(refusal)
        expect(yield* defect(Repo.deleteAll(Entries, { name: undefined } as never))).toContain(
          "is undefined in a condition"
        )
        expect(yield* Repo.count(Entries)).toBe(2)
      })
    )
  })
})

describe("deleteAll", () => {
  layer(TestRepo, { excludeTestServices: true })((it) => {
    it.effect("deletes, or marks where the table says so", () =>
      Effect.gen(function* () {
        const sql = yield* fresh
        yield* Repo.insertAll(Entries, entries(3))
        expect(yield* Repo.deleteAll(Entries, { name: "n0" })).toBe(1)
        expect((yield* Repo.deleteAll(Entries, Repo.everything, { returning: true })).length).toBe(2)
        expect(yield* Repo.count(Entries)).toBe(0)
        expect(yield* Repo.count(Entries, undefined, { withDeleted: true })).toBe(3)
        yield* Repo.insertAll(Plains, [
          { id: 1, tag: "a" },
          { id: 2, tag: "b" }
        ])
        expect(yield* Repo.deleteAll(Plains, sql`id < ${2}`)).toBe(1)
        expect(yield* sql`select id from plains`).toEqual([{ id: 2 }])
      })
    )

    it.scoped("and the others announce the table, with keys where rows come back", () =>
      Effect.gen(function* () {
        yield* fresh
        const events: Array<unknown> = []
        yield* Announcement.listen(({ changes }) => {
          events.push(...changes.map(({ keys, table }) => [table, keys]))
        })
        yield* Repo.insertAll(Plains, [{ id: 1, tag: "a" }])
        yield* Repo.updateAll(Plains, { id: 1 }, { tag: "b" }, { returning: true })
        yield* Repo.updateAll(Plains, { id: 5 }, { tag: "b" })
        yield* Repo.deleteAll(Plains, Repo.everything)
        expect(events).toEqual([
          ["plains", "all"],
          ["plains", [1]],
          ["plains", "all"]
        ])
      })
    )
  })
})

describe("upsert", () => {
  layer(TestRepo, { excludeTestServices: true })((it) => {
    it.effect("inserts, or replaces what is there; told which fields, only those", () =>
      Effect.gen(function* () {
        yield* fresh
        const target = ["name"] as const
        expect(yield* Repo.upsert(Entries, { name: "a", amount: 1, comment: "x" }, { target })).toMatchObject({
          id: 1,
          lockVersion: 1
        })
        expect(yield* Repo.upsert(Entries, { name: "a", amount: 2, comment: "y" }, { target })).toMatchObject({
          amount: 2,
          comment: "y",
          lockVersion: 2
        })
        const kept = yield* Repo.upsert(
          Entries,
          { name: "a", amount: 3, comment: "z" },
          { target, action: { replaceAllExcept: ["comment"] } }
        )
        expect(kept).toMatchObject({ id: 1, amount: 3, comment: "y", lockVersion: 3 })
      })
    )

    it.effect("counts the version up and takes the mark of deletion away, where the model inserts them too", () =>
      Effect.gen(function* () {
        class Given extends Model.Class<Given>("Given")({
          id: Model.Generated(Schema.Number),
          name: Schema.String,
          amount: Schema.Number,
          lockVersion: Schema.Number,
          deletedAt: Model.FieldOption(Schema.DateFromSelf),
          updatedAt: Model.DateTimeUpdateFromDate
        }) {}
        const Givens = Table.make(Given, {
          name: "entries",
          key: "id",
          version: "lockVersion",
          softDelete: "deletedAt"
        })
        yield* fresh
        const row = { name: "a", amount: 1, lockVersion: 7, deletedAt: Option.some(new Date()) }
        const target = ["name"] as const
        expect(yield* Repo.upsert(Givens, row, { target })).toMatchObject({
          lockVersion: 7,
          deletedAt: Option.some({})
        })
        for (const [at, action] of (
          ["replace", { replace: ["amount", "lockVersion", "deletedAt"] }, { replaceAllExcept: ["updatedAt"] }] as const
        ).entries())
          expect(yield* Repo.upsert(Givens, { ...row, amount: at }, { target, action })).toMatchObject({
            amount: at,
            lockVersion: 8 + at,
            deletedAt: Option.none()
          })
        expect(
          yield* Repo.insertAll(Givens, [row], { onConflict: { target, action: "replace" }, returning: true })
        ).toMatchObject([{ lockVersion: 11, deletedAt: Option.none() }])
      })
    )

    it.effect("and updates find a version that the model has in another form", () =>
      Effect.gen(function* () {
        const Version = Schema.transform(Schema.Number, Schema.Number, {
          strict: true,
          decode: (stored) => stored * 10,
          encode: (shown) => shown / 10
        })
        class Formed extends Model.Class<Formed>("Formed")({
          id: Model.Generated(Schema.Number),
          name: Schema.String,
          amount: Schema.Number,
          lockVersion: Model.Generated(Version),
          updatedAt: Model.DateTimeUpdateFromDate
        }) {}
        const Formeds = Table.make(Formed, { name: "entries", key: "id", version: "lockVersion" })
        yield* fresh
        const row = yield* Repo.upsert(Formeds, { name: "a", amount: 1 }, { target: ["name"] })
        expect(yield* Repo.update(Formeds, row, { amount: 2 })).toMatchObject({ lockVersion: 20 })
        expect(yield* Effect.flip(Repo.delete(Formeds, row))).toMatchObject({ _tag: "StaleRow" })
      })
    )

    it.effect("refuses to replace the key, under which others know the row", () =>
      Effect.gen(function* () {
        yield* fresh
        const action = { replace: ["amount", "id"] } as const
        expect(yield* defect(Repo.upsert(Entries, { name: "a", amount: 1 }, { target: ["name"], action }))).toContain(
          "onConflict for entries replaces its key id"
        )
      })
    )

    it.effect("of many rows keeps what a row was not given, and gives them back in their order", () =>
      Effect.gen(function* () {
        yield* fresh
        const onConflict = { target: ["name"], action: "replace" } as const
        yield* Repo.insertAll(Entries, [
          { name: "a", amount: 1, comment: "A" },
          { name: "b", amount: 1, comment: "B" }
        ])
        const rows = [
          { name: "c", amount: 2 },
          { name: "b", amount: 2, comment: "new" },
          { name: "a", amount: 2 },
          { name: "d", amount: 2, comment: "D" }
        ]
        const written = yield* Repo.insertAll(Entries, rows, { onConflict, returning: true })
        expect(written.map(({ amount, comment, name }) => [name, amount, comment])).toEqual([
          ["c", 2, "none"],
          ["b", 2, "new"],
          ["a", 2, "A"],
          ["d", 2, "D"]
        ])
        expect(yield* Repo.insertAll(Entries, rows, { onConflict })).toBe(4)
      })
    )
  })
})
