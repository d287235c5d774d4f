// @effect-diagnostics *:off
import { Model } from "@effect/sql"
import { Context, Data, Effect, Schema } from "effect"
import { describe, expect, it } from "tstyche"
import type * as RepoError from "../src/repo/RepoError.js"
import * as Table from "../src/repo/Table.js"

class Person extends Model.Class<Person>("Person")({
  id: Model.Generated(Schema.Number),
  email: Schema.String,
  nick: Model.FieldOption(Schema.String),
  createdAt: Model.DateTimeInsert
}) {}

class Refused extends Data.TaggedError("Refused") {}

const People = Table.make(Person, { name: "people", key: "id" })

type None = (typeof People)["constraints"]

describe("Table", () => {
  it("knows its name, key and constraints literally", () => {
    expect(People).type.toBe<Table.Table<"people", typeof Person, "id">>()
    expect<Table.Key<typeof People>>().type.toBe<number>()
    expect<Table.Row<typeof People>>().type.toBe<Person>()
    expect(
      Table.make(Person, { name: "people", key: "id", constraints: { people_email_key: Table.unique("email") } })
    ).type.toBe<Table.Table<"people", typeof Person, "id", { readonly people_email_key: Table.Constraint<"unique"> }>>()
  })

  it("refuses a key that the model does not have", () => {
    expect(Table.make).type.not.toBeCallableWith(Person, { name: "people", key: "uuid" })
  })

  it("hooks say in its type which operation fails with what", () => {
    expect(People.pipe(Table.hooks({ beforeInsert: () => Effect.fail(new Refused()) }))).type.toBe<
      Table.Table<"people", typeof Person, "id", None, Table.Hook<"insert", Refused, never>>
    >()
    expect(
      People.pipe(
        Table.hooks((table) => ({
          afterGet: (rows) => Effect.as(Effect.log(table.name), rows)
        }))
      )
    ).type.toBe<Table.Table<"people", typeof Person, "id", None, Table.Hook<"get", never, never>>>()
  })

  it("gives hooks the types of its rows", () => {
    People.pipe(
      Table.hooks({
        beforeInsert: (row) => {
          expect(row.email).type.toBe<string>()
          return Effect.succeed(row)
        },
        afterGet: (rows, delta) => {
          expect(rows).type.toBe<ReadonlyArray<Person>>()
          expect(delta.table.name).type.toBe<"people">()
          return Effect.succeed(rows)
        }
      })
    )
  })

  it("hooks add what their rule for hooks inside of hooks can fail with", () => {
    const get = { afterGet: (rows: ReadonlyArray<Person>) => Effect.succeed(rows) } as const
    expect(People.pipe(Table.hooks({ ...get, reentry: "run" }))).type.toBe<
      Table.Table<"people", typeof Person, "id", None, Table.Hook<"get", RepoError.HookLoop, never>>
    >()
    expect(People.pipe(Table.hooks({ ...get, reentry: "fail" }))).type.toBe<
      Table.Table<"people", typeof Person, "id", None, Table.Hook<"get", RepoError.HookReentry, never>>
    >()
    expect(People.pipe(Table.hooks({ ...get, reentry: "skip" }))).type.toBe<
      Table.Table<"people", typeof Person, "id", None, Table.Hook<"get", never, never>>
    >()
    // @ts-expect-error Type '"never"' is not assignable
    People.pipe(Table.hooks({ ...get, reentry: "never" }))
  })

  it("hooks that stop the operation say so", () => {
    const Closed = People.pipe(Table.hooks({ beforeInsert: (_, delta) => delta.abort("closed") }))
    expect<Table.HookError<typeof Closed, "insert">>().type.toBe<RepoError.HookAbort<"people">>()
  })

  it("hooks after a commit are about every write, cannot fail, and are not in the transaction", () => {
    class Mailer extends Context.Tag("Mailer")<Mailer, { readonly send: Effect.Effect<void> }>() {}
    const Mailing = People.pipe(
      Table.hooks({
        reentry: "run",
        afterCommit: (changes) => {
          expect(changes).type.toBe<ReadonlyArray<Table.Change<typeof People>>>()
          return Effect.flatMap(Mailer, ({ send }) => send)
        }
      })
    )
    expect<Table.HookContext<typeof Mailing, "insert">>().type.toBe<Mailer>()
    expect<Table.HookContext<typeof Mailing, "update">>().type.toBe<Mailer>()
    expect<Table.HookContext<typeof Mailing, "delete">>().type.toBe<Mailer>()
    expect<Table.HookContext<typeof Mailing, "get">>().type.toBe<never>()
    expect<Table.HookError<typeof Mailing, "delete">>().type.toBe<never>()
    // @ts-expect-error Type 'Refused' is not assignable to type 'never'
    People.pipe(Table.hooks({ afterCommit: () => Effect.fail(new Refused()) }))
  })

  it("hooks of calls for many rows are in the types of those calls only", () => {
    class Mailer extends Context.Tag("Mailer")<Mailer, { readonly send: Effect.Effect<void> }>() {}
    const Many = People.pipe(
      Table.hooks({
        bulk: true,
        beforeInsertAll: (_, delta) => delta.abort("no"),
        afterCommit: () => Effect.flatMap(Mailer, ({ send }) => send)
      })
    )
    expect<Table.HookError<typeof Many, "insertAll">>().type.toBe<RepoError.HookAbort<"people">>()
    expect<Table.HookError<typeof Many, "insert">>().type.toBe<never>()
    expect<Table.HookContext<typeof Many, "deleteAll">>().type.toBe<Mailer>()
    const Single = People.pipe(Table.hooks({ afterCommit: () => Effect.flatMap(Mailer, ({ send }) => send) }))
    expect<Table.HookContext<typeof Single, "deleteAll">>().type.toBe<never>()
  })

  it("refuses a hook that gives something else than a row", () => {
    expect(People.pipe).type.not.toBeCallableWith(Table.hooks({ beforeInsert: () => Effect.succeed(1) }))
  })

  it("refuses a misspelt hook, beside others too", () => {
    // @ts-expect-error Object literal may only specify known properties
    People.pipe(Table.hooks({ beforeInsrt: () => Effect.succeed(1) }))
    const misspelt = {
      afterGet: (rows: ReadonlyArray<Person>) => Effect.succeed(rows),
      afterGte: (rows: ReadonlyArray<Person>) => Effect.succeed(rows)
    }
    // @ts-expect-error is not assignable to type 'never'
    People.pipe(Table.hooks(misspelt))
  })
})
