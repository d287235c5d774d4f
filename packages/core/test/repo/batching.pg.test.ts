/** Gets that are asked for at the same time, as one statement. */
import { Model, SqlClient } from "@effect/sql"
import { describe, expect, layer } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Layer, Option, Schema } from "effect"
import * as Repo from "../../src/repo/Repo.js"
import * as Table from "../../src/repo/Table.js"
import { EmbeddedPostgres } from "../../src/testing.js"
import { logged } from "./people.js"
import { pool } from "./pools.js"

class Item extends Model.Class<Item>("Item")({ id: Schema.Number, name: Schema.String }) {}
const Items = Table.make(Item, { name: "items", key: "id" })

class Article extends Model.Class<Article>("Article")({ id: Schema.Number, name: Schema.String }) {}
const Articles = Table.make(Article, { name: "items", key: "id" })

class Thing extends Model.Class<Thing>("Thing")({ id: Schema.String, name: Schema.String }) {}
const Things = Table.make(Thing, { name: "things", key: "id" })

const TestRepo = Layer.unwrapEffect(
  Effect.map(
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      yield* sql`create table items (id int primary key, name text not null)`
      yield* sql`insert into items select i, 'item ' || i from generate_series(1, 100) i`
      yield* sql`create table things (id uuid primary key, name text not null)`
      yield* sql`insert into things values ('a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 'one'), ('b0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 'two')`
    }),
    () => Repo.layer()
  )
).pipe(Layer.provideMerge(EmbeddedPostgres))

const atOnce = { concurrency: "unbounded" } as const
const { withBatching } = Repo

const names = (rows: ReadonlyArray<Option.Option<{ readonly name: string }>>) =>
  rows.map(Option.match({ onNone: () => "none", onSome: ({ name }) => name }))

const one = `QUERY OK source="items"\nselect "id", "name" from "items" where "id" = $1`
const many = `QUERY OK source="items"\nselect "id", "name" from "items" where "id" = any($1)`

describe("get with batching", () => {
  layer(TestRepo, { excludeTestServices: true })((it) => {
    it.effect(
      "is one statement for all who ask at once: twice for one row, for one that is not there, for no key",
      () =>
        Effect.gen(function* () {
          const keys = [3, 1, 3, 999, 2, Number.NaN]
          const { lines, result } = yield* logged(
            withBatching(Effect.forEach(keys, (key) => Repo.get(Items, key), atOnce))
          )
          expect(names(result)).toEqual(["item 3", "item 1", "item 3", "none", "item 2", "none"])
          expect(lines).toEqual([many])
        })
    )

    it.effect("gives everybody a row of their own", () =>
      Effect.gen(function* () {
        const rows = yield* withBatching(Effect.forEach([7, 7], (key) => Repo.fetch(Items, key), atOnce))
        expect(rows[0]).toEqual(rows[1])
        expect(rows[0]).not.toBe(rows[1])
        expect(rows[0]).toBeInstanceOf(Item)
      })
    )

    it.effect("gives everybody an instance of the model that they asked by, where two are read by one text", () =>
      Effect.gen(function* () {
        const both = Effect.all([Repo.fetch(Items, 7), Repo.fetch(Articles, 7), Repo.fetch(Articles, 8)], atOnce)
        const { lines, result } = yield* logged(withBatching(both))
        expect(result.map(({ constructor }) => constructor)).toEqual([Item, Article, Article])
        expect(lines).toEqual([many])
      })
    )

    it.effect("fails with NotFound for exactly those who fetch what is not there", () =>
      Effect.gen(function* () {
        const results = yield* withBatching(
          Effect.forEach(
            [5, 777],
            (key) => Effect.merge(Effect.map(Repo.fetch(Items, key), ({ name }) => name)),
            atOnce
          )
        )
        expect(results).toMatchObject(["item 5", { _tag: "NotFound", by: 777 }])
      })
    )

    it.effect("is on by request only, and works for who was not forked there", () =>
      Effect.gen(function* () {
        const gets = Effect.forEach([1, 2], (key) => Repo.get(Items, key), { concurrency: 2 })
        expect((yield* logged(gets)).lines).toEqual([one, one])
        expect((yield* logged(withBatching(gets))).lines).toEqual([many])
      })
    )

    it.effect("never is a get with a lock", () =>
      Effect.gen(function* () {
        const gets = Effect.forEach([1, 2], (key) => Repo.get(Items, key, { lock: "share" }), atOnce)
        const { lines } = yield* logged(Repo.transact(withBatching(gets)))
        expect(lines.filter((line) => line.includes("items"))).toEqual([`${one} for share`, `${one} for share`])
      })
    )

    it.effect("runs the hooks of each get, once for its row", () =>
      Effect.gen(function* () {
        const seen: Array<string> = []
        const Hooked = Items.pipe(
          Table.hooks({
            afterGet: (rows) =>
              Effect.sync(() => {
                seen.push(rows.map(({ name }) => name).join())
                return rows.map((row) => new Item({ ...row, name: row.name.toUpperCase() }))
              })
          })
        )
        const rows = yield* withBatching(Effect.forEach([4, 4, 888, 6], (key) => Repo.get(Hooked, key), atOnce))
        expect(names(rows)).toEqual(["ITEM 4", "ITEM 4", "none", "ITEM 6"])
        expect(seen).toEqual(["item 4", "item 4", "item 6"])
      })
    )

    it.effect("finds text that is another spelling of a key", () =>
      Effect.gen(function* () {
        const id = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"
        const keys = [id, id.toUpperCase(), id.replace("a0", "b0"), id.replace("a0", "c0")]
        expect(names(yield* withBatching(Effect.forEach(keys, (key) => Repo.get(Things, key), atOnce)))).toEqual([
          "one",
          "one",
          "two",
          "none"
        ])
      })
    )

    it.effect("fails everybody with the statement's error", () =>
      Effect.gen(function* () {
        const Gone = Table.make(Item, { name: "gone", key: "id" })
        const errors = yield* withBatching(Effect.forEach([1, 2], (key) => Effect.flip(Repo.get(Gone, key)), atOnce))
        expect(errors).toMatchObject([
          { _tag: "DbError", code: "42P01" },
          { _tag: "DbError", code: "42P01" }
        ])
      })
    )

    it.effect("fails who asks by a key that the column cannot hold, and nobody else", () =>
      Effect.gen(function* () {
        const tags = (exits: ReadonlyArray<Exit.Exit<Option.Option<{ readonly name: string }>, unknown>>) =>
          exits.map((exit) => (Exit.isSuccess(exit) ? names([exit.value])[0] : "failed"))
        const items = Effect.forEach([1, 3e10, 1.5, 2], (key) => Effect.exit(Repo.get(Items, key)), atOnce)
        expect(tags(yield* withBatching(items))).toEqual(["item 1", "failed", "failed", "item 2"])
        const things = Effect.forEach(
          ["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "nope"],
          (key) => Effect.exit(Repo.get(Things, key)),
          atOnce
        )
        expect(tags(yield* withBatching(things))).toEqual(["one", "failed"])
        const { lines } = yield* logged(withBatching(Effect.exit(Repo.get(Things, "nope"))))
        // Who is alone in it does not ask alone once more.
        const queries = lines.filter((line) => line.startsWith("QUERY"))
        expect(queries.length).toBeGreaterThan(0)
        expect(queries.filter((line) => !line.includes("any($1)"))).toEqual([])
      })
    )

    it.effect("fails who asks for a row that does not fit the model, and nobody else", () =>
      Effect.gen(function* () {
        class Strict extends Model.Class<Strict>("Strict")({
          id: Schema.Number,
          name: Schema.String.pipe(Schema.filter((name) => name !== "item 8"))
        }) {}
        const Stricts = Table.make(Strict, { name: "items", key: "id" })
        const results = yield* withBatching(
          Effect.forEach([8, 9], (key) => Effect.exit(Repo.get(Stricts, key)), atOnce)
        )
        expect(results.map(Exit.isSuccess)).toEqual([false, true])
      })
    )
  })
})

describe("get with batching, in transactions", () => {
  layer(TestRepo, { excludeTestServices: true })((it) => {
    it.effect("sees what its own transaction did, and those outside do not", () =>
      Effect.gen(function* () {
        const changed = yield* Deferred.make<void>()
        const inside = Repo.transact(
          Effect.gen(function* () {
            yield* Repo.update(Items, 1, { name: "changed" })
            yield* Deferred.succeed(changed, undefined)
            const rows = yield* withBatching(Effect.forEach([1, 2], (key) => Repo.get(Items, key), atOnce))
            return yield* Effect.fail(names(rows))
          })
        )
        const outside = Effect.zipRight(
          Deferred.await(changed),
          withBatching(Effect.forEach([1, 2], (key) => Repo.get(Items, key), atOnce))
        )
        const [own, others] = yield* Effect.all([Effect.flip(inside), outside], { concurrency: 2 })
        expect([own, names(others)]).toEqual([
          ["changed", "item 2"],
          ["item 1", "item 2"]
        ])
      })
    )
  })
})

describe("get with batching, in sessions", () => {
  layer(TestRepo, { excludeTestServices: true })((it) => {
    it.scoped("gives nobody outside what a session sees, nor a session what others do", () =>
      Effect.gen(function* () {
        const { repo, sql } = yield* pool(3)
        yield* sql`create schema tenant; create table tenant.items (id int primary key, name text not null);
          insert into tenant.items values (1, 'secret')`
        const ready = yield* Effect.makeSemaphore(0)
        const go = yield* Deferred.make<void>()
        const get = Effect.zipRight(
          Effect.zipRight(ready.release(1), Deferred.await(go)),
          withBatching(repo.get(Items, 1))
        )
        const inside = yield* Effect.fork(repo.session(Effect.zipRight(sql`set search_path = tenant`, get)))
        const other = yield* Effect.fork(repo.session(get))
        const outside = yield* Effect.fork(get)
        yield* ready.take(3)
        yield* Deferred.succeed(go, undefined)
        expect(names(yield* Effect.all([inside, other, outside].map(Fiber.join)))).toEqual([
          "secret",
          "item 1",
          "item 1"
        ])
      })
    )
  })
})

describe("get with batching, interrupted", () => {
  layer(TestRepo, { excludeTestServices: true })((it) => {
    /** How many wait for a lock on the table. */
    const waiting = Effect.flatMap(SqlClient.SqlClient, (sql) =>
      Effect.map(
        sql<{ pid: number }>`select pid from pg_locks where not granted and relation = 'items'::regclass`,
        (rows) => rows.length
      )
    )

    /** Nobody can read the table while `use` runs. */
    const locked = <A, E, R>(use: Effect.Effect<A, E, R>) =>
      Effect.flatMap(SqlClient.SqlClient, (sql) =>
        Repo.transact(Effect.zipRight(sql`lock table items in access exclusive mode`, use))
      )

    it.scoped("leaves those who go on waiting alone", () =>
      Effect.gen(function* () {
        const { repo } = yield* pool(2)
        const get = (key: number) => Effect.fork(withBatching(repo.get(Items, key)))
        const [first, second] = yield* locked(
          Effect.gen(function* () {
            const fibers = [yield* get(1), yield* get(2)] as const
            yield* Effect.repeat(waiting, { until: (count) => count === 1 })
            expect(Exit.isInterrupted(yield* Fiber.interrupt(fibers[0]))).toBe(true)
            expect(yield* waiting).toBe(1)
            return fibers
          })
        )
        expect(Exit.isInterrupted(yield* Fiber.await(first))).toBe(true)
        expect(names([yield* Fiber.join(second)])).toEqual(["item 2"])
      })
    )

    it.scoped("stops the statement when nobody waits for it any more", () =>
      Effect.gen(function* () {
        const { repo } = yield* pool(2)
        yield* locked(
          Effect.gen(function* () {
            const fiber = yield* Effect.fork(
              withBatching(Effect.forEach([1, 2], (key) => repo.get(Items, key), atOnce))
            )
            yield* Effect.repeat(waiting, { until: (count) => count === 1 })
            yield* Fiber.interrupt(fiber)
            expect(yield* waiting).toBe(0)
          })
        )
      })
    )

    it.scoped("sends nothing when nobody waits by the end of the turn, and serves who comes then", () =>
      Effect.gen(function* () {
        const fiber = yield* Effect.fork(withBatching(Repo.get(Items, 1)))
        const { lines } = yield* logged(
          Effect.gen(function* () {
            yield* Effect.yieldNow()
            yield* Fiber.interrupt(fiber)
            yield* Effect.promise(() => new Promise(setImmediate))
          })
        )
        expect(lines).toEqual([])
        expect(names(yield* withBatching(Effect.forEach([1, 2], (key) => Repo.get(Items, key), atOnce)))).toEqual([
          "item 1",
          "item 2"
        ])
      })
    )

    it.scoped("loses nobody and no connection, whenever it happens", () =>
      Effect.gen(function* () {
        const { repo, sql } = yield* pool(1)
        for (let operations = 10; operations <= 60; operations += 2)
          for (const yields of [0, 1, 2, 4, 8, 16]) {
            const get = (key: number) =>
              Effect.fork(Effect.withMaxOpsBeforeYield(withBatching(repo.get(Items, key)), operations))
            const fibers = [yield* get(1), yield* get(2), yield* get(3)] as const
            for (let each = 0; each < yields; each++) yield* Effect.promise(() => new Promise(setImmediate))
            yield* Effect.all([Fiber.interrupt(fibers[0]), Fiber.interrupt(fibers[2])], { concurrency: 2 })
            expect(names([yield* Fiber.join(fibers[1])])).toEqual(["item 2"])
          }
        expect(yield* sql`select 1 as one`).toEqual([{ one: 1 }])
      })
    )
  })
})

describe("get with batching, through middleware", () => {
  const mine = Repo.middleware((call, next) => next({ where: { name: String(call.annotations.name) } })).pipe(
    Layer.provideMerge(TestRepo)
  )
  layer(mine, { excludeTestServices: true })((it) => {
    it.effect("that narrows it shows nobody the rows of another", () =>
      Effect.gen(function* () {
        const get = (key: number, name: string) => Repo.get(Items, key).pipe(Repo.annotate({ name }))
        const rows = yield* withBatching(
          Effect.all([get(1, "item 1"), get(1, "item 2"), get(2, "item 2"), get(2, "item 1")], atOnce)
        )
        expect(names(rows)).toEqual(["item 1", "none", "item 2", "none"])
      })
    )
  })
})
