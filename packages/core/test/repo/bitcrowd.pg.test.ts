/**
 * What BitcrowdEcto's Repo promises, and what ours answers: the ids are those of its tests (BE-T) and of what was learned from running it (BE-D). Where our
 * answer is another one, the name says so. Its locks and transactions are in the tests of those.
 */
import { Model, SqlClient } from "@effect/sql"
import { describe, expect, layer } from "@effect/vitest"
import { Cause, Effect, Option, Schema } from "effect"
import * as Repo from "../../src/repo/Repo.js"
import * as Table from "../../src/repo/Table.js"
import { TestRepo } from "./people.js"
import { pool } from "./pools.js"

class Thing extends Model.Class<Thing>("Thing")({ id: Schema.UUID, name: Schema.NullOr(Schema.String) }) {}
const Things = Table.make(Thing, { name: "things", key: "id" })
const Theirs = Things.pipe(Table.inSchema("tenant"))

class Serial extends Model.Class<Serial>("Serial")({ id: Model.Generated(Schema.Number), name: Schema.String }) {}
const Serials = Table.make(Serial, { name: "serials", key: "id" })

class Named extends Model.Class<Named>("Named")({ code: Schema.String, thingId: Schema.UUID }) {}
const NamedThings = Table.make(Named, { name: "named", key: "code" })

class Pair extends Model.Class<Pair>("Pair")({ left: Schema.Number, right: Schema.Number }) {}
const Pairs = Table.make(Pair, { name: "pairs", key: ["left", "right"] })

const id = "c7c5d9a0-8f6e-4b1a-9f1e-000000000001"
const other = "c7c5d9a0-8f6e-4b1a-9f1e-000000000002"

const fresh = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  yield* sql`drop table if exists things, serials, named, pairs cascade`
  yield* sql`drop schema if exists tenant cascade`
  yield* sql`create schema tenant`
  yield* sql`create table things (id uuid primary key, name text)`
  yield* sql`create table tenant.things (id uuid primary key, name text)`
  yield* sql`create table serials (id serial primary key, name text not null)`
  yield* sql`create table named (code text primary key, thing_id uuid not null)`
  yield* sql`create table pairs ("left" int, "right" int, primary key ("left", "right"))`
  return sql
})

const thing = { id, name: "a" }

/** What somebody else gets who does not want to wait for the row. */
const attempt = (mode: "update" | "key share") =>
  Effect.flatMap(pool(1), ({ repo }) =>
    Effect.either(repo.transact(repo.fetch(Things, id, { lock: mode, wait: "nowait" })))
  )

const defect = <A, E, R>(self: Effect.Effect<A, E, R>) =>
  Effect.map(Effect.flip(Effect.sandbox(self)), (cause) => String(Cause.squash(cause)))

describe("count", () => {
  layer(TestRepo, { excludeTestServices: true })((it) => {
    it.effect("BE-T1: counts the rows of a table, and of a query that matches none", () =>
      Effect.gen(function* () {
        const sql = yield* fresh
        yield* Repo.insert(Things, thing)
        expect(yield* Repo.count(Things)).toBe(1)
        expect(yield* Repo.count(Things, sql`false`)).toBe(0)
      })
    )

    it.effect("BE-T2: counts in the schema of the table: a prefix is another table here", () =>
      Effect.gen(function* () {
        yield* fresh
        yield* Repo.insert(Theirs, thing)
        expect([yield* Repo.count(Things), yield* Repo.count(Theirs)]).toEqual([0, 1])
      })
    )
  })
})

describe("fetch", () => {
  layer(TestRepo, { excludeTestServices: true })((it) => {
    it.effect("BE-T3: gives the row with that key", () =>
      Effect.gen(function* () {
        yield* fresh
        const row = yield* Repo.insert(Things, thing)
        expect(yield* Repo.fetch(Things, id)).toEqual(row)
      })
    )

    it.effect("BE-T4: says of a key that does not fit that there is no such row", () =>
      Effect.gen(function* () {
        yield* fresh
        expect(yield* Effect.flip(Repo.fetch(Things, "doesnotcast"))).toMatchObject({
          _tag: "NotFound",
          table: "things"
        })
      })
    )

    it.effect("BE-T5: takes a serial key", () =>
      Effect.gen(function* () {
        yield* fresh
        const row = yield* Repo.insert(Serials, { name: "a" })
        expect((yield* Repo.fetch(Serials, row.id)).name).toBe("a")
      })
    )

    it.effect("BE-T6: takes a key that is not called id", () =>
      Effect.gen(function* () {
        yield* fresh
        yield* Repo.insert(NamedThings, { code: "x", thingId: id })
        expect((yield* Repo.fetch(NamedThings, "x")).thingId).toBe(id)
      })
    )

    it.effect("BE-T7, another answer: a key of two fields is an object of both, where the seed refuses it", () =>
      Effect.gen(function* () {
        yield* fresh
        yield* Repo.insert(Pairs, { left: 1, right: 2 })
        expect(yield* Repo.fetch(Pairs, { left: 1, right: 2 })).toEqual(new Pair({ left: 1, right: 2 }))
        expect(yield* Effect.flip(Repo.fetch(Pairs, 1 as never))).toMatchObject({ _tag: "NotFound" })
      })
    )

    it.effect("BE-T8: says which table has no such row", () =>
      Effect.gen(function* () {
        yield* fresh
        const failure = yield* Effect.flip(Repo.fetch(Things, other))
        expect(failure).toMatchObject({ _tag: "NotFound", table: "things", by: other })
        expect(failure.message).toBe("there is no row in things with that id")
      })
    )

    it.effect("BE-T9: reads in the schema of the table", () =>
      Effect.gen(function* () {
        yield* fresh
        yield* Repo.insert(Theirs, thing)
        expect(yield* Repo.get(Things, id)).toEqual(Option.none())
        expect((yield* Repo.fetch(Theirs, id)).name).toBe("a")
      })
    )

    it.effect("BE-T10 and BE-T11, another answer: the tag is the error's own, and mapError makes it another", () =>
      Effect.gen(function* () {
        yield* fresh
        const bare = Effect.catchTag(Repo.fetch(Things, other), "NotFound", () => Effect.fail("not_found" as const))
        expect(yield* Effect.flip(bare)).toBe("not_found")
      })
    )

    it.scoped("BE-T14: the lock update keeps out everybody who wants any lock", () =>
      Effect.gen(function* () {
        yield* fresh
        yield* Repo.insert(Things, thing)
        yield* Repo.transact(
          Effect.gen(function* () {
            expect((yield* Repo.fetch(Things, id, { lock: "update" })).id).toBe(id)
            expect(yield* attempt("key share")).toMatchObject({ left: { _tag: "LockTimeout" } })
          })
        )
        expect((yield* attempt("update"))._tag).toBe("Right")
      })
    )

    it.scoped("BE-T15: the lock no key update lets others refer to the row, and no more", () =>
      Effect.gen(function* () {
        yield* fresh
        yield* Repo.insert(Things, thing)
        yield* Repo.transact(
          Effect.gen(function* () {
            expect((yield* Repo.fetch(Things, id, { lock: "no key update" })).id).toBe(id)
            expect((yield* attempt("key share"))._tag).toBe("Right")
            expect(yield* attempt("update")).toMatchObject({ left: { _tag: "LockTimeout" } })
          })
        )
      })
    )

    it.effect("BE-T19: refuses a lock that there is not, before anything is sent", () =>
      Effect.gen(function* () {
        yield* fresh
        expect(yield* defect(Repo.fetch(Things, id, { lock: "exclusive" as never }))).toContain("there is no lock")
      })
    )

    it.effect("BE-T55: preloads what belongs to the row", () =>
      Effect.gen(function* () {
        yield* fresh
        yield* Repo.insert(Things, thing)
        yield* Repo.insertAll(NamedThings, [
          { code: "x", thingId: id },
          { code: "y", thingId: id }
        ])
        const names = Table.hasMany(NamedThings, "thingId", { thing: Table.belongsTo(Things, "thingId") })
        const row = yield* Repo.fetch(Things, id, { preload: { names } })
        expect(row.names.map(({ code, thing }) => [code, thing?.name])).toEqual([
          ["x", "a"],
          ["y", "a"]
        ])
        const all = yield* Repo.all(Things, undefined, { preload: { names } })
        expect(all[0]?.names.length).toBe(2)
        const found = yield* Repo.getBy(Things, { name: "a" }, { preload: { names } })
        expect(Option.map(found, (one) => one.names.length)).toEqual(Option.some(2))
      })
    )

    it.effect("runs afterGet of the row once when it preloads, and of the children before nothing else", () =>
      Effect.gen(function* () {
        yield* fresh
        yield* Repo.insert(Things, thing)
        yield* Repo.insert(NamedThings, { code: "x", thingId: id })
        const calls: Array<unknown> = []
        const noting = <T extends Table.Any>(table: T) =>
          table.pipe(
            Table.hooks({
              afterGet: (rows: ReadonlyArray<Table.Row<T>>, { call, table: { name } }) => {
                calls.push([name, call])
                return Effect.succeed(rows)
              }
            })
          )
        const names = Table.hasMany(noting(NamedThings), "thingId")
        yield* Repo.fetch(noting(Things), id, { preload: { names } })
        expect(calls).toEqual([
          ["things", "fetch"],
          ["named", "preload"]
        ])
      })
    )
  })
})

describe("fetchBy", () => {
  layer(TestRepo, { excludeTestServices: true })((it) => {
    it.effect("BE-T12: gives the row whose fields have these values", () =>
      Effect.gen(function* () {
        yield* fresh
        yield* Repo.insert(Things, thing)
        expect((yield* Repo.fetchBy(Things, { id, name: "a" })).id).toBe(id)
      })
    )

    it.effect("BE-T13: a query without clauses is one of the row that a fragment finds", () =>
      Effect.gen(function* () {
        const sql = yield* fresh
        yield* Repo.insert(Things, thing)
        expect(Option.map(yield* Repo.one(Things, sql`name = 'a'`), ({ name }) => name)).toEqual(Option.some("a"))
        expect((yield* Repo.fetchBy(Things, {})).id).toBe(id)
      })
    )

    it.effect("BE-T16 and BE-T17: a value that does not fit finds nothing, and is InvalidInput when strict", () =>
      Effect.gen(function* () {
        yield* fresh
        expect(yield* Effect.flip(Repo.fetchBy(Things, { id: "nope" }))).toMatchObject({ _tag: "NotFound" })
        expect(yield* Effect.flip(Repo.fetch(Things, "nope"))).toMatchObject({ _tag: "NotFound" })
        expect(yield* Effect.flip(Repo.fetchBy(Things, { id: "nope" }, { strict: true }))).toMatchObject({
          _tag: "InvalidInput",
          table: "things",
          field: "id"
        })
        expect(yield* Effect.flip(Repo.fetch(Things, "nope", { strict: true }))).toMatchObject({ _tag: "InvalidInput" })
      })
    )

    it.effect("BE-T18 and BE-T20: says which fields were asked for, and keeps their values to code", () =>
      Effect.gen(function* () {
        yield* fresh
        const failure = yield* Effect.flip(Repo.fetchBy(Things, { id: other, name: "secret" }))
        expect(failure).toMatchObject({ _tag: "NotFound", table: "things", fields: ["id", "name"] })
        expect(failure.message).not.toContain("secret")
        expect(JSON.stringify(failure)).not.toContain("secret")
      })
    )

    it.effect("BE-T21: reads in the schema of the table", () =>
      Effect.gen(function* () {
        yield* fresh
        yield* Repo.insert(Theirs, thing)
        expect((yield* Repo.fetchBy(Theirs, { name: "a" })).id).toBe(id)
        expect(yield* Effect.flip(Repo.fetchBy(Things, { name: "a" }))).toMatchObject({ _tag: "NotFound" })
      })
    )

    it.effect("BE-D4: refuses undefined; null is a value like others here, where the seed refuses it", () =>
      Effect.gen(function* () {
        yield* fresh
        yield* Repo.insert(Things, { id, name: null })
        expect(yield* defect(Repo.fetchBy(Things, { name: undefined } as never))).toContain(
          "is undefined in a condition"
        )
        expect((yield* Repo.fetchBy(Things, { name: null })).id).toBe(id)
        expect(yield* Effect.flip(Repo.fetch(Things, null as never))).toMatchObject({ _tag: "NotFound" })
      })
    )

    it.effect("BE-D5: fails when there are several", () =>
      Effect.gen(function* () {
        yield* fresh
        yield* Repo.insertAll(Things, [thing, { id: other, name: "a" }])
        const failure = yield* Effect.flip(Repo.fetchBy(Things, { name: "a" }))
        expect(failure).toMatchObject({ _tag: "MultipleResults", table: "things" })
        expect(yield* Effect.flip(Repo.fetchBy(Things, {}))).toMatchObject({ _tag: "MultipleResults" })
      })
    )

    it.effect("BE-D6, another answer: an option that does not exist is refused, where the seed ignores it", () =>
      Effect.gen(function* () {
        yield* fresh
        expect(yield* defect(Repo.fetch(Things, id, { lok: "update" } as never))).toContain('there is no option "lok"')
        expect(yield* defect(Repo.count(Things, {}, { withDelete: true } as never))).toContain("there is no option")
      })
    )

    it.effect("BE-D10, another answer: a row whose field is NULL is found", () =>
      Effect.gen(function* () {
        yield* fresh
        yield* Repo.insert(Things, { id, name: null })
        expect((yield* Repo.fetch(Things, id)).name).toBe(null)
      })
    )

    it.effect("a schema without the table is a DbError that names it, and not a row that is missing", () =>
      Effect.gen(function* () {
        yield* fresh
        const failure = yield* Effect.flip(Repo.fetch(Things.pipe(Table.inSchema("nowhere")), id))
        expect(failure).toMatchObject({ _tag: "DbError", code: "42P01" })
        expect(failure.message).toContain("nowhere.things")
      })
    )
  })
})
