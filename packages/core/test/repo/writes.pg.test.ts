/** What writes say when they, or what comes after them, go wrong; and what stays unsaid. */
import { inspect } from "node:util"
import { Model, SqlClient } from "@effect/sql"
import { PgClient } from "@effect/sql-pg"
import { describe, expect, layer } from "@effect/vitest"
import { Cause, Context, Effect, Layer, Logger, Option, Schema } from "effect"
import * as Repo from "../../src/repo/Repo.js"
import { isRetryable } from "../../src/repo/RepoError.js"
import * as Table from "../../src/repo/Table.js"
import { ada, freshTables, People, TestRepo } from "./people.js"

class Amount extends Model.Class<Amount>("Amount")({ id: Model.Generated(Schema.Number), value: Schema.Number }) {}
const Amounts = Table.make(Amount, { name: "amounts", key: "id" })

const freshAmounts = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  yield* sql`drop table if exists amounts`
  yield* sql`create table amounts (id serial primary key, value numeric)`
  return sql
})

class Wanted extends Context.Tag("Wanted")<Wanted, string>() {}

describe("a write", () => {
  layer(TestRepo, { excludeTestServices: true })((it) => {
    it.effect("whose row cannot be read says that it was done, and which column does not fit", () =>
      Effect.gen(function* () {
        const sql = yield* freshAmounts
        yield* sql`create or replace function text_value() returns trigger language plpgsql as
          $$ begin new.value := 12345678901234567890.5; return new; end $$`
        yield* sql`create trigger text_value before insert or update on amounts for each row execute function text_value()`
        const inserted = yield* Effect.flip(Repo.insert(Amounts, { value: 1 }))
        expect(inserted).toMatchObject({ _tag: "DbError", kind: "decode", retryable: false })
        expect(inserted.message).toBe(
          "could not read what was inserted into amounts: column value holds a string, but field value of the model expects number. A JavaScript number cannot hold that value exactly: use Schema.BigIntFromSelf, Schema.BigDecimal or Schema.String (Schema.NumberFromString rounds it). The row was inserted all the same, unless a transaction around it is rolled back."
        )
        expect(yield* Repo.count(Amounts)).toBe(1)
        expect((yield* Effect.flip(Repo.update(Amounts, 1, { value: 2 }))).message).toContain(
          "The row was changed all the same"
        )
        const deleted = yield* Effect.flip(Repo.delete(Amounts, 1))
        expect(deleted.message).toContain("could not read what was deleted from amounts: column value")
        expect(deleted.message).toContain("The row was deleted all the same")
        expect(yield* Repo.count(Amounts)).toBe(0)
      })
    )

    it.effect("of a number that is not finite fails with InvalidInput; what the database holds can be read", () =>
      Effect.gen(function* () {
        const sql = yield* freshAmounts
        expect(yield* Effect.flip(Repo.insert(Amounts, { value: Number.NaN }))).toMatchObject({
          _tag: "InvalidInput",
          field: "value",
          expected: "a finite number"
        })
        yield* sql`insert into amounts (value) values ('NaN')`
        expect((yield* Repo.fetch(Amounts, 1)).value).toBeNaN()
        expect(yield* Repo.get(Amounts, Number.NaN)).toEqual(Option.none())
      })
    )

    it.effect("of nothing runs no hooks, whose errors and needs are not in its type", () =>
      Effect.gen(function* () {
        yield* freshAmounts
        const { id } = yield* Repo.insert(Amounts, { value: 1 })
        const Hooked = Amounts.pipe(
          Table.hooks({ afterGet: (rows) => Effect.flatMap(Wanted, () => Effect.fail(`no ${rows.length}`)) })
        )
        expect((yield* Repo.update(Hooked, id, {})).value).toBe(1)
        const Emptied = Hooked.pipe(Table.hooks({ beforeUpdate: () => Effect.succeed({}) }))
        expect((yield* Repo.update(Emptied, id, { value: 2 })).value).toBe(1)
        expect(yield* Effect.flip(Repo.update(Amounts, 99, {}))).toMatchObject({ _tag: "NotFound" })
        expect(yield* Effect.flip(Repo.update(Amounts, "x" as never, {}))).toMatchObject({ _tag: "NotFound" })
      })
    )

    it.effect("that found no connection free can be tried again: it was never sent", () =>
      Effect.gen(function* () {
        yield* freshAmounts
        const { config } = yield* PgClient.PgClient
        const narrow = Layer.provideMerge(
          Repo.layer(),
          PgClient.layer({ ...config, maxConnections: 1, connectTimeout: "200 millis" })
        )
        const error = yield* Effect.gen(function* () {
          const outside = yield* Effect.context<Repo.Repo>()
          return yield* Repo.transact(
            Effect.mapInputContext(
              Effect.flip(Repo.insert(Amounts, { value: 1 })),
              (_: Context.Context<never>) => outside
            )
          )
        }).pipe(Effect.provide(narrow))
        expect(error.message).toContain("no connection was free in time")
        expect(error.message).not.toContain("not known")
        expect(isRetryable(error)).toBe(true)
      })
    )

    it.effect("that a trigger refuses does not show what the trigger says: it may name values", () =>
      Effect.gen(function* () {
        const sql = yield* freshTables
        yield* sql`create or replace function refuse() returns trigger language plpgsql as $$ begin
          if new.age = 1 then raise exception 'bad value %', new.email; end if;
          raise exception 'bad value %', new.email using errcode = 'check_violation';
        end $$`
        yield* sql`create trigger refuse before insert on people for each row execute function refuse()`
        for (const [age, code] of [
          [1, "P0001"],
          [2, "23514"]
        ] as const) {
          const error = yield* Effect.flip(Repo.insert(People, { ...ada, age, nickName: Option.none() }))
          expect(error).toMatchObject({ _tag: "DbError", code })
          expect(error.message).toContain("a function or trigger of the database raised an exception")
          expect(error.message).toContain("server's log")
          expect(inspect(error, { depth: 10, showHidden: true })).not.toContain(ada.email)
          expect(JSON.stringify(error)).not.toContain(ada.email)
        }
      })
    )
  })
})

describe("NotFound", () => {
  layer(TestRepo, { excludeTestServices: true })((it) => {
    it.effect("lets code read what was looked for, and shows it to nobody else", () =>
      Effect.gen(function* () {
        yield* freshTables
        const secret = "s3cr3t-token"
        const error = yield* Effect.flip(Repo.fetchBy(People, { email: secret }))
        if (error._tag !== "NotFound") throw error
        expect(error.by).toEqual({ email: secret })
        const lines: Array<string> = []
        yield* Effect.logError("failed", error, Cause.fail(error)).pipe(
          Effect.provide(
            Logger.replace(
              Logger.defaultLogger,
              Logger.make((entry) => {
                for (const logger of [Logger.stringLogger, Logger.logfmtLogger, Logger.jsonLogger])
                  lines.push(String(logger.log(entry)))
              })
            )
          )
        )
        lines.push(inspect(error, { depth: 10, showHidden: true }), JSON.stringify(error), String(error.stack))
        expect(lines.filter((line) => line.includes(secret))).toEqual([])
        expect(JSON.parse(JSON.stringify(error))).toMatchObject({
          _tag: "NotFound",
          table: "people",
          fields: ["email"]
        })
      })
    )
  })
})

describe("a table", () => {
  layer(TestRepo, { excludeTestServices: true })((it) => {
    it("with two fields for one column is refused", () => {
      class Twice extends Model.Class<Twice>("Twice")({
        id: Schema.Number,
        userId: Schema.Number,
        userID: Schema.Number
      }) {}
      expect(() => Table.make(Twice, { name: "twice", key: "id" })).toThrow(
        "table twice: its fields userId and userID are both column user_id: name another for one of them in Table.make's columns"
      )
      expect(Table.make(Twice, { name: "twice", key: "id", columns: { userID: "other" } }).name).toBe("twice")
    })
  })
})
