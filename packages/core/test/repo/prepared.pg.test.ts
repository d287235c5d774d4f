/** Statements that were prepared before their table was altered. */
import { Model, SqlClient } from "@effect/sql"
import { describe, expect, layer } from "@effect/vitest"
import { Effect, Option, Schema } from "effect"
import * as Table from "../../src/repo/Table.js"
import { EmbeddedPostgres } from "../../src/testing.js"
import { ada, freshTables, People, PersonId } from "./people.js"
import { pool } from "./pools.js"

const id = PersonId.make(1)

/** `code` is text to the model, whatever it is in the table. */
class Code extends Model.Class<Code>("Code")({
  id: Schema.Number,
  code: Schema.String,
  at: Schema.NullOr(Schema.DateFromSelf)
}) {}
const Codes = Table.make(Code, { name: "codes", key: "id" })

/** A column's types before and after, a value of the former, and one that only the latter takes. */
const retyped = [
  ["bigint", "text", "1", "one"],
  ["uuid", "text", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "one"]
] as const

const prepared = Effect.gen(function* () {
  yield* freshTables
  const one = yield* pool(1)
  yield* one.repo.insert(People, { ...ada, nickName: Option.none() })
  yield* one.repo.get(People, id)
  return one
})

describe("a table that is altered", () => {
  layer(EmbeddedPostgres, { excludeTestServices: true })((it) => {
    it.scoped("by the transaction itself can be read before and after, in savepoints too", () =>
      Effect.gen(function* () {
        const { repo, sql } = yield* prepared
        const found = yield* repo.transact(
          Effect.gen(function* () {
            yield* repo.fetch(People, id)
            yield* sql`alter table people alter column age type bigint`
            const inner = yield* repo.transact(repo.fetch(People, id))
            return [inner.age, (yield* repo.fetch(People, id)).age]
          })
        )
        expect(found).toEqual([36, 36])
        expect((yield* repo.fetch(People, id)).age).toBe(36)
      })
    )

    it.scoped("elsewhere fails a transaction in a way that can be run again, and retry does", () =>
      Effect.gen(function* () {
        const { repo } = yield* prepared
        const outside = yield* SqlClient.SqlClient
        yield* outside`alter table people alter column age type bigint`
        const error = yield* Effect.flip(repo.transact(repo.fetch(People, id)))
        expect(error).toMatchObject({ _tag: "DbError", code: "0A000", retryable: true })
        expect(error.message).toContain("its table was altered after it had been prepared")
        yield* outside`alter table people alter column age type int`
        const found = yield* repo.transact(repo.fetch(People, id), { retry: { times: 1, base: 1 } })
        expect(found.age).toBe(36)
      })
    )

    it.scoped("elsewhere is nothing that a statement outside of a transaction notices", () =>
      Effect.gen(function* () {
        const { repo } = yield* prepared
        const outside = yield* SqlClient.SqlClient
        yield* outside`alter table people alter column age type bigint`
        expect((yield* repo.fetch(People, id)).age).toBe(36)
      })
    )

    it.scoped(
      "elsewhere, so that a parameter has another type, is nothing that is noticed outside of a transaction",
      () =>
        Effect.gen(function* () {
          const { repo } = yield* pool(1)
          const outside = yield* SqlClient.SqlClient
          for (const [from, to, former, value] of retyped) {
            yield* outside`drop table if exists codes`
            yield* outside.unsafe(`create table codes (id int primary key, code ${from}, at timestamptz)`)
            const sent = [null, new Date(0)]
            for (const [id, at] of sent.entries()) yield* repo.insert(Codes, { id, code: former, at })
            expect((yield* repo.all(Codes, { code: former })).length).toBe(2)
            yield* outside.unsafe(`alter table codes alter column code type ${to}`)
            expect(yield* repo.all(Codes, { code: value })).toEqual([])
            for (const [id, at] of sent.entries()) yield* repo.insert(Codes, { id: id + 2, code: value, at })
            expect((yield* repo.all(Codes, { code: value })).map(({ id }) => id)).toEqual([2, 3])
          }
        })
    )

    it.scoped("elsewhere, so that a parameter has another type, fails one transaction and no other", () =>
      Effect.gen(function* () {
        const { repo } = yield* pool(1)
        const outside = yield* SqlClient.SqlClient
        yield* outside`drop table if exists codes`
        yield* outside`create table codes (id int primary key, code bigint, at timestamptz)`
        yield* repo.insert(Codes, { id: 1, code: "1", at: null })
        yield* outside`alter table codes alter column code type text`
        const insert = (id: number) => repo.transact(repo.insert(Codes, { id, code: "one", at: null }))
        expect((yield* Effect.flip(insert(2))).message).toContain("codes")
        expect((yield* insert(2)).code).toBe("one")
      })
    )

    it.scoped("is not suspected for long where values are wrong, and nothing is run twice but what had failed", () =>
      Effect.gen(function* () {
        const { repo, sql } = yield* pool(1)
        const outside = yield* SqlClient.SqlClient
        yield* outside`drop table if exists codes`
        yield* outside`create table codes (id int primary key, code bigint, at timestamptz)`
        yield* repo.insert(Codes, { id: 1, code: "1", at: null })
        const wrong = repo.insert(Codes, { id: 2, code: "one", at: null })
        for (const run of [wrong, repo.transact(wrong)])
          for (let time = 0; time < 8; time += 1)
            expect(yield* Effect.flip(run)).toMatchObject({ _tag: "DbError", code: "22P02" })
        expect((yield* repo.insert(Codes, { id: 2, code: "2", at: null })).id).toBe(2)
        expect(yield* outside`select id from codes order by id`).toEqual([{ id: 1 }, { id: 2 }])
        const texts =
          yield* sql`select statement from pg_prepared_statements where statement like 'insert into "codes"%'`
        expect(texts.length).toBeLessThanOrEqual(6)
      })
    )

    it.scoped("is not suspected where a function of the database has failed: what that did is not done again", () =>
      Effect.gen(function* () {
        const { repo, sql } = yield* prepared
        yield* sql`drop sequence if exists calls`
        yield* sql`create sequence calls`
        yield* sql`create or replace function fails() returns trigger language plpgsql as $$ begin
          if new.age < 100 then return new; end if;
          perform nextval('calls');
          if new.age = 100 then raise exception 'too old' using errcode = '22023'; end if;
          new.age = new.first_name::int;
          return new;
        end $$`
        yield* sql`create trigger fails before insert or update on people for each row execute function fails()`
        yield* repo.update(People, id, { age: 1 })
        expect(yield* Effect.flip(repo.update(People, id, { age: 100 }))).toMatchObject({ code: "22023" })
        expect(yield* Effect.flip(repo.update(People, id, { age: 101 }))).toMatchObject({ code: "22P02" })
        expect(yield* sql`select last_value::int as n from calls`).toEqual([{ n: 2 }])
      })
    )

    it.scoped("and names that were discarded are made again", () =>
      Effect.gen(function* () {
        const { repo, sql } = yield* prepared
        yield* sql`discard all`
        expect((yield* repo.fetch(People, id)).age).toBe(36)
        yield* sql`discard all`
        const found = yield* repo.transact(repo.fetch(People, id), { retry: { times: 1, base: 1 } })
        expect(found.age).toBe(36)
      })
    )
  })
})
