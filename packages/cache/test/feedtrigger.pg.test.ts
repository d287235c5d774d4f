/** What a table's trigger tells of its keys: exactly what a program has under them, or the table. */
import { Model, SqlClient } from "@effect/sql"
import { PgClient } from "@effect/sql-pg"
import { describe, expect, layer } from "@effect/vitest"
import { ChangeFeed, RepoCache } from "@effecto/cache"
import { Repo, Table } from "@effecto/core"
import { EmbeddedPostgres } from "@effecto/core/testing"
import { Effect, Layer, Option, Schema, Stream } from "effect"

const UserId = Schema.transform(Schema.Number, Schema.String, {
  strict: true,
  decode: (n) => `user_${n}`,
  encode: (id) => Number(id.slice(5))
})
const fields = {
  string: Schema.String,
  uuid: Schema.UUID,
  literal: Schema.Literal("ab", "cd"),
  number: Schema.Number,
  whole: Schema.Int,
  digits: Schema.NumberFromString,
  bigint: Schema.BigIntFromSelf,
  bigDigits: Schema.BigInt,
  boolean: Schema.Boolean,
  user: UserId,
  lower: Schema.Lowercase,
  date: Schema.DateFromSelf
} as const

/** The field, the column's type, two keys as SQL, and whether it is told which of them was changed. */
const cases: ReadonlyArray<readonly [keyof typeof fields, type: string, key: string, other: string, isTold: boolean]> =
  [
    ["string", "text", "'ab'", "'cd'", true],
    ["string", "varchar(9)", "'ab '", "'ab'", true],
    ["string", "char(5)", "'ab'", "'cd'", true],
    ["string", "citext", "'aB'", "'c'", true],
    ["string", "uuid", "'0B5D27F4-7D1C-4C51-9A3A-0C7F6A2F3C11'", "gen_random_uuid()", true],
    ["uuid", "uuid", "'0B5D27F4-7D1C-4C51-9A3A-0C7F6A2F3C11'", "gen_random_uuid()", true],
    ["string", "inet", "'10.0.0.1'", "'10.0.0.2'", true],
    ["string", "numeric", "1.50", "2", true],
    ["string", "mood", "'ab'", "'cd'", true],
    ["literal", "mood", "'ab'", "'cd'", true],
    ["string", "short", "'ab'", "'cd'", true],
    ["string", "time", "'10:00'", "'11:00'", false],
    ["number", "int", "7", "8", true],
    ["number", "bigint", "7", "8", true],
    ["number", "numeric(9, 2)", "1.5", "8", true],
    ["number", "real", "0.1", "8", true],
    ["number", "text", "'7'", "'8'", false],
    ["whole", "int", "7", "8", true],
    ["digits", "text", "'7'", "'8'", false],
    ["digits", "bigint", "7", "8", true],
    ["bigint", "bigint", "9007199254740993", "8", true],
    ["bigDigits", "bigint", "9007199254740993", "8", true],
    ["bigDigits", "text", "'7'", "'8'", false],
    ["boolean", "boolean", "true", "false", true],
    ["user", "int", "1", "2", false],
    ["lower", "text", "'ab'", "'cd'", false],
    ["date", "timestamptz", "'2020-01-01'", "'2021-01-01'", false]
  ]

const TestRepo = Repo.layer().pipe(Layer.provideMerge(EmbeddedPostgres))

layer(TestRepo, { excludeTestServices: true })((it) => {
  describe("a row that is changed by hand", () => {
    for (const [place, [kind, type, key, other, isTold]] of cases.entries())
      it.scoped(`is forgotten: Schema ${kind} on ${type}, ${key}${isTold ? ", and no other" : ""}`, () =>
        Effect.gen(function* () {
          // Sound: each of the fields is a schema that goes with the type of its column.
          const id = Model.GeneratedByApp(fields[kind] as Schema.Schema<string>)
          class Thing extends Model.Class<Thing>("Thing")({ id, name: Schema.String }) {}
          // A name of its own: connections remember what the columns of a table were.
          const name = `things_${place}`
          const Things = Table.make(Thing, { name, key: "id" })
          const sql = yield* SqlClient.SqlClient
          yield* sql.unsafe(`
            create extension if not exists citext;
            drop table if exists ${name};
            drop type if exists mood, short cascade;
            create type mood as enum ('ab', 'cd');
            create domain short as varchar(5);
            create table ${name} (id ${type} primary key, name text not null);
            insert into ${name} values (${key}, 'old'), (${other}, 'other')`)
          yield* ChangeFeed.installTrigger(Things)
          const context = yield* Layer.build(RepoCache.layer(Things).pipe(Layer.provideMerge(ChangeFeed.layer())))
          return yield* Effect.gen(function* () {
            const cache = yield* RepoCache.of(Things)
            const feed = yield* ChangeFeed.ChangeFeed
            const rows = yield* Repo.all(Things)
            const kept = yield* Effect.forEach(rows, ({ id }) => cache.get(id))
            expect(kept.map((row) => Option.isSome(row))).toEqual([true, true])
            const heard = yield* feed.events.pipe(
              Stream.takeUntil((event) => event._tag === "Heard"),
              Stream.runDrain,
              Effect.fork
            )
            yield* Effect.yieldNow()
            yield* sql.unsafe(`update ${name} set name = 'new' where name = 'old'`)
            yield* heard.await
            const { size } = (yield* cache.stats).rows
            const names = yield* Effect.forEach(rows, ({ id }) =>
              Effect.map(cache.get(id), (row) => Option.getOrUndefined(row)?.name)
            )
            expect(names.sort()).toEqual(["new", "other"])
            expect(size).toBe(isTold ? 1 : 0)
          }).pipe(Effect.provide(context))
        })
      )
  })

  describe("a table that was renamed, or moved to another schema, behind its trigger", () => {
    class Thing extends Model.Class<Thing>("Thing")({ id: Model.GeneratedByApp(Schema.Number), name: Schema.String }) {}
    for (const [first, later, move] of [
      ["called", "renamed", "alter table called rename to renamed"],
      ["elsewhere.called", "elsewhere.renamed", "alter table elsewhere.called rename to renamed"],
      ["public.called", "elsewhere.called", "alter table public.called set schema elsewhere"]
    ] as const)
      it.scoped(`is told of by its name of now: ${later} was ${first}`, () =>
        Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          const named = (path: string) => {
            const [name = "", schema] = path.split(".").reverse()
            return schema === undefined
              ? Table.make(Thing, { name, key: "id" })
              : Table.make(Thing, { name, key: "id", schema })
          }
          yield* sql.unsafe(`
            drop table if exists called, renamed;
            drop schema if exists elsewhere cascade;
            create schema elsewhere;
            create table ${first} (id int primary key, name text not null);
            insert into ${first} values (1, 'old')`)
          yield* ChangeFeed.installTrigger(named(first))
          yield* sql.unsafe(move)
          const Things = named(later)
          const context = yield* Layer.build(RepoCache.layer(Things).pipe(Layer.provideMerge(ChangeFeed.layer())))
          const { name } = yield* Effect.gen(function* () {
            const cache = yield* RepoCache.of(Things)
            const feed = yield* ChangeFeed.ChangeFeed
            yield* cache.fetch(1)
            const heard = yield* feed.events.pipe(
              Stream.takeUntil((event) => event._tag === "Heard"),
              Stream.runDrain,
              Effect.fork
            )
            yield* Effect.yieldNow()
            yield* sql.unsafe(`update ${later} set name = 'new'`)
            yield* heard.await
            return yield* cache.fetch(1)
          }).pipe(Effect.provide(context))
          expect(name).toBe("new")
        })
      )
  })

  describe("a table whose schema is named in one place and not in another", () => {
    class Thing extends Model.Class<Thing>("Thing")({ id: Model.GeneratedByApp(Schema.Number), name: Schema.String }) {}
    // Of a name of its own: statements on the tables above are prepared with keys of other types.
    const Things = Table.make(Thing, { name: "numbered", key: "id" })
    const PublicThings = Table.make(Thing, { name: "numbered", key: "id", schema: "public" })
    for (const [held, told] of [
      [Things, PublicThings],
      [PublicThings, Things]
    ] as const)
      for (const by of ["a trigger", "a Repo"] as const)
        it.scoped(
          `is one when ${by} tells of ${told.schema ?? "none"} and the cache is of ${held.schema ?? "none"}`,
          () =>
            Effect.gen(function* () {
              const sql = yield* SqlClient.SqlClient
              yield* sql.unsafe(
                "drop table if exists numbered; create table numbered (id int primary key, name text not null); insert into numbered values (1, 'old')"
              )
              if (by === "a trigger") yield* ChangeFeed.installTrigger(told)
              const one = RepoCache.layer(held).pipe(Layer.provideMerge(ChangeFeed.layer()))
              const context = yield* Layer.build(one)
              const { config } = yield* PgClient.PgClient
              const other = yield* Layer.build(
                ChangeFeed.layer().pipe(
                  Layer.provideMerge(Repo.layer()),
                  Layer.provide(PgClient.layer({ ...config, maxConnections: 2 }))
                )
              )
              yield* Effect.gen(function* () {
                const cache = yield* RepoCache.of(held)
                const feed = yield* ChangeFeed.ChangeFeed
                const read = Effect.all([
                  Effect.map(cache.fetch(1), ({ name }) => name),
                  cache.getOrLoad(
                    "names",
                    Effect.map(Repo.all(held), (rows) => rows.map(({ name }) => name).join())
                  )
                ])
                expect(yield* read).toEqual(["old", "old"])
                const heard = yield* feed.events.pipe(
                  Stream.takeUntil((event) => event._tag === "Heard"),
                  Stream.runDrain,
                  Effect.fork
                )
                yield* Effect.yieldNow()
                yield* by === "a trigger"
                  ? sql`update numbered set name = 'new'`
                  : Effect.provide(Repo.update(told, 1, { name: "new" }), other)
                yield* heard.await
                expect(yield* read).toEqual(["new", "new"])
              }).pipe(Effect.provide(context))
            })
        )
  })
})
