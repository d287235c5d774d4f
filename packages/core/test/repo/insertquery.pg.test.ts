/** Rows that a query inserts: `insert … select`. */
import { Model, SqlClient } from "@effect/sql"
import { describe, expect, layer } from "@effect/vitest"
import { Cause, DateTime, Effect, Exit, Schema } from "effect"
import * as Repo from "../../src/repo/Repo.js"
import * as Table from "../../src/repo/Table.js"
import { TestRepo } from "./people.js"

class Member extends Model.Class<Member>("Member")({
  id: Model.Generated(Schema.Number),
  tenantId: Schema.Number,
  fullName: Schema.String,
  createdAt: Model.DateTimeInsertFromDate
}) {}

const Members = Table.make(Member, {
  name: "members",
  key: "id",
  constraints: { members_name_key: Table.unique("fullName") }
})

class Token extends Model.Class<Token>("Token")({
  id: Schema.String.pipe(
    Schema.propertySignature,
    Schema.withConstructorDefault(() => "always the same")
  ),
  name: Schema.String
}) {}

const Tokens = Table.make(Token, { name: "tokens", key: "id" })

const fresh = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  yield* sql`drop table if exists members, staging`
  yield* sql`create table members (id serial primary key, tenant_id int not null, full_name text not null constraint members_name_key unique, created_at timestamptz not null)`
  yield* sql`create table staging (name text, tenant int)`
  yield* sql`insert into staging values ('Ada', 1), ('Grace', 2), ('Joan', 2)`
  return sql
})

const names = Effect.map(Repo.all(Members), (rows) =>
  rows.map(({ fullName, tenantId }) => `${fullName} ${tenantId}`).toSorted()
)

const defect = <A, E, R>(self: Effect.Effect<A, E, R>) =>
  Effect.map(Effect.exit(self), (exit) => (Exit.isFailure(exit) ? String(Cause.squash(exit.cause)) : "it succeeded"))

describe("insertAll of a query", () => {
  layer(TestRepo, { excludeTestServices: true })((it) => {
    it.effect(
      "inserts its rows by the names of their columns, says how many or gives them, and makes what the model makes",
      () =>
        Effect.gen(function* () {
          const sql = yield* fresh
          const query = sql`select tenant as tenant_id, name as full_name, 1 as other from staging where name < ${"H"} -- these`
          expect(yield* Repo.insertAll(Members, { fields: ["fullName", "tenantId"], query })).toBe(2)
          expect(yield* names).toEqual(["Ada 1", "Grace 2"])
          const rest = sql`select name as full_name from staging where name > ${"H"} order by name`
          const given = yield* Repo.insertAll(
            Members,
            { fields: ["fullName"], query: rest, values: { tenantId: 7 } },
            { returning: true }
          )
          expect(given).toHaveLength(1)
          expect(given[0]).toBeInstanceOf(Member)
          expect(given[0]).toMatchObject({ fullName: "Joan", tenantId: 7 })
          expect(DateTime.isDateTime(given[0]?.createdAt)).toBe(true)
        })
    )

    it.effect("meets conflicts and constraints as other rows do", () =>
      Effect.gen(function* () {
        const sql = yield* fresh
        const query = sql`select tenant as tenant_id, name as full_name from staging`
        const all = { fields: ["fullName", "tenantId"], query } as const
        yield* Repo.insertAll(Members, all)
        expect((yield* Effect.flip(Repo.insertAll(Members, all)))._tag).toBe("UniqueViolation")
        const nothing = { onConflict: { target: ["fullName"], action: "nothing" } } as const
        expect(yield* Repo.insertAll(Members, all, nothing)).toBe(0)
        const moved = {
          fields: ["fullName"],
          query: sql`select name as full_name from staging`,
          values: { tenantId: 9 }
        } as const
        const replaced = yield* Repo.insertAll(Members, moved, {
          onConflict: { target: { constraint: "members_name_key" }, action: { replace: ["tenantId"] } }
        })
        expect(replaced).toBe(3)
        expect(yield* names).toEqual(["Ada 9", "Grace 9", "Joan 9"])
        const unknown = yield* Effect.flip(Repo.insertAll(Members, { ...all, query: sql`select name from staging` }))
        expect(unknown).toMatchObject({ _tag: "DbError", code: "42703" })
        const invalid = yield* Effect.flip(Repo.insertAll(Members, { ...moved, values: { tenantId: "x" as never } }))
        expect(invalid).toMatchObject({ _tag: "InvalidInput", field: "tenantId" })
      })
    )

    it.effect("runs the hooks behind it, and is refused where hooks want to see its rows before", () =>
      Effect.gen(function* () {
        const sql = yield* fresh
        const events: Array<unknown> = []
        const all = {
          fields: ["fullName", "tenantId"],
          query: sql`select tenant as tenant_id, name as full_name from staging`
        } as const
        const After = Members.pipe(
          Table.hooks({
            afterInsertAll: (rows) =>
              Effect.as(
                Effect.sync(() => events.push(rows.length)),
                rows
              )
          })
        )
        expect(yield* Repo.insertAll(After, all)).toBe(3)
        expect(events).toEqual([3])
        const Before = Members.pipe(Table.hooks({ beforeInsertAll: (rows) => Effect.succeed(rows) }))
        const refused = yield* Effect.flip(Repo.insertAll(Before, all))
        expect(refused).toMatchObject({ _tag: "DbError", kind: "refused" })
        expect(refused.message).toContain("beforeInsertAll")
        yield* sql`delete from members`
        expect(yield* Repo.disableHooks(Repo.insertAll(Before, all))).toBe(3)
      })
    )

    it.effect("gives its rows to the tenant that a middleware narrows it to, and lets it name none itself", () =>
      Effect.gen(function* () {
        const sql = yield* fresh
        const Tenancy = Repo.middleware((_, next) => next({ where: { tenantId: 5 } }))
        const query = sql`select tenant as tenant_id, name as full_name from staging`
        yield* Effect.gen(function* () {
          expect(yield* Repo.insertAll(Members, { fields: ["fullName"], query })).toBe(3)
          for (const stray of [
            { fields: ["fullName", "tenantId"], query },
            { fields: ["fullName"], query, values: { tenantId: 1 } }
          ] as const)
            expect(yield* Effect.flip(Repo.insertAll(Members, stray))).toMatchObject({
              _tag: "DbError",
              kind: "refused"
            })
        }).pipe(Effect.provide(Tenancy))
        expect(yield* names).toEqual(["Ada 5", "Grace 5", "Joan 5"])
        const named = sql`select 'on conflict (id) do update' as full_name -- on conflict do update`
        yield* Effect.provide(Repo.insertAll(Members, { fields: ["fullName"], query: named }), Tenancy)
        expect((yield* names).length).toBe(4)
      })
    )

    it.effect("takes one query, and fields that are the table's", () =>
      Effect.gen(function* () {
        const sql = yield* fresh
        const insert = (rows: unknown) => defect(Repo.insertAll(Members, rows as never))
        const query = sql`select 1`
        expect(yield* insert({ fields: ["fullName"], query: sql`select 1) as x; drop table staging --` })).toContain(
          "closes a parenthesis"
        )
        expect(yield* insert({ fields: ["nobody"], query })).toContain("has no field nobody")
        expect(yield* insert({ fields: ["id"], query })).toContain("has no field id")
        expect(yield* insert({ fields: [], query })).toContain("insertAll of members takes")
        expect(yield* insert({ fields: ["fullName"], query: "select 1" })).toContain("insertAll of members takes")
        expect(yield* insert({ fields: ["fullName"], query, values: { fullName: "a" } })).toContain("fullName")
        expect(yield* insert({ fields: ["fullName"], query, value: {} })).toContain("insertAll of members takes")
        expect(yield* defect(Repo.insertAll(Tokens, { fields: ["name"], query } as never))).toContain(
          "each row needs an id of its own"
        )
      })
    )
  })
})
