/** Fields that are stored as JSON. */
import { Model, SqlClient } from "@effect/sql"
import { describe, expect, layer } from "@effect/vitest"
import { Effect, Option, Schema } from "effect"
import * as Repo from "../../src/repo/Repo.js"
import * as Table from "../../src/repo/Table.js"
import { TestRepo } from "./people.js"

describe("json", () => {
  layer(TestRepo, { excludeTestServices: true })((it) => {
    it.effect("stores whatever JSON can say in json and jsonb, and reads it back", () =>
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        yield* sql`create table documents (id serial primary key, text jsonb, list jsonb, free json, maybe jsonb)`
        class Document extends Model.Class<Document>("Document")({
          id: Model.Generated(Schema.Number),
          text: Table.json(Schema.String),
          list: Table.json(Schema.Array(Schema.NumberFromString)),
          free: Table.json(Schema.Unknown),
          maybe: Table.json(Schema.OptionFromNullOr(Schema.Struct({ big: Schema.BigInt })))
        }) {}
        const Documents = Table.make(Document, { name: "documents", key: "id" })
        const row = yield* Repo.insert(Documents, {
          text: 'a "text"',
          list: [1, 2],
          free: { a: [null] },
          maybe: Option.some({ big: 2n ** 70n })
        })
        expect({ ...row }).toEqual({
          id: 1,
          text: 'a "text"',
          list: [1, 2],
          free: { a: [null] },
          maybe: Option.some({ big: 2n ** 70n })
        })
        expect(yield* sql`select jsonb_typeof(text) as text, jsonb_typeof(list) as list, maybe from documents`).toEqual(
          [{ text: "string", list: "array", maybe: { big: String(2n ** 70n) } }]
        )
        expect(yield* Repo.fetch(Documents, 1)).toEqual(row)
        expect(yield* Repo.count(Documents, { text: 'a "text"', list: [1, 2] })).toBe(1)
        const emptied = yield* Repo.update(Documents, 1, { list: [], free: "x", maybe: Option.none() })
        expect([emptied.list, emptied.free, emptied.maybe]).toEqual([[], "x", Option.none()])
        expect(yield* Repo.count(Documents, { maybe: null })).toBe(1)
      })
    )

    it.effect("refuses what JSON cannot say", () =>
      Effect.gen(function* () {
        class Any extends Model.Class<Any>("Any")({ id: Schema.Number, any: Table.json(Schema.Unknown) }) {}
        const Anys = Table.make(Any, { name: "anys", key: "id" })
        for (const any of [1n, undefined, { a: 1n }])
          expect(yield* Effect.flip(Repo.insert(Anys, { id: 1, any }))).toMatchObject({
            _tag: "InvalidInput",
            field: "any"
          })
      })
    )
  })
})
