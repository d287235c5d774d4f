/** Reads of many rows, of rows that were read already, and of what is worked out from rows. */
import { Model, SqlClient } from "@effect/sql"
import { describe, expect, layer } from "@effect/vitest"
import { BigDecimal, Cause, Chunk, Deferred, Effect, Exit, Fiber, Option, Schema, Stream } from "effect"
import * as Repo from "../../src/repo/Repo.js"
import * as Table from "../../src/repo/Table.js"
import { terminated } from "./backends.js"
import { logged, TestRepo } from "./people.js"
import { pool } from "./pools.js"

class Item extends Model.Class<Item>("Item")({
  id: Schema.Number,
  label: Schema.String,
  rank: Schema.NullOr(Schema.Number),
  size: Schema.BigIntFromSelf,
  price: Schema.BigDecimal,
  weight: Model.FieldOption(Schema.Number),
  madeAt: Schema.DateFromSelf
}) {}
const Items = Table.make(Item, { name: "items", key: "id" })

class Seat extends Model.Class<Seat>("Seat")({ row: Schema.Number, place: Schema.Number, guest: Schema.String }) {}
const Seats = Table.make(Seat, { name: "seats", key: ["row", "place"] })

const fresh = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  yield* sql`drop table if exists items, seats`
  yield* sql`create table items (
    id int primary key, label text not null, rank int, size bigint not null, price numeric not null,
    weight double precision, made_at timestamptz not null
  )`
  yield* sql`create table seats (row int, place int, guest text not null, primary key (row, place))`
  return sql
})

const insertItems = (sql: SqlClient.SqlClient, count: number) =>
  sql`insert into items select n, 'item ' || n, case when n % 3 = 0 then null else n % 4 end, 9007199254740993, n * 0.1, n / 2.0,
    timestamptz '2024-01-01' + n * interval '1 microsecond' from generate_series(1, ${count}) as n`

const ids = (rows: ReadonlyArray<{ readonly id: number }>) => rows.map(({ id }) => id)

describe("reload", () => {
  layer(TestRepo, { excludeTestServices: true })((it) => {
    it.effect("keeps the order, repeats what is repeated, and has none for what is gone", () =>
      Effect.gen(function* () {
        const sql = yield* fresh
        yield* insertItems(sql, 3)
        const rows = yield* Repo.all(Items, sql`true order by id`)
        const [one, two, three] = rows
        if (one === undefined || two === undefined || three === undefined) throw new Error("three rows")
        yield* Repo.delete(Items, 2)
        yield* Repo.update(Items, 1, { label: "changed" })
        const { lines, result } = yield* logged(Repo.reload(Items, [three, one, two, three]))
        expect(result.map(Option.map(({ label }) => label))).toEqual([
          Option.some("item 3"),
          Option.some("changed"),
          Option.none(),
          Option.some("item 3")
        ])
        expect(lines.length).toBe(1)
        expect(Option.map(yield* Repo.reload(Items, one), ({ label }) => label)).toEqual(Option.some("changed"))
        expect(yield* Repo.reload(Items, two)).toEqual(Option.none())
        expect(yield* Repo.reload(Items, [])).toEqual([])
      })
    )

    it.effect("takes keys of several fields, and runs afterGet", () =>
      Effect.gen(function* () {
        yield* fresh
        yield* Repo.insertAll(Seats, [
          { row: 1, place: 1, guest: "ada" },
          { row: 1, place: 2, guest: "grace" }
        ])
        const calls: Array<unknown> = []
        const Hooked = Seats.pipe(
          Table.hooks({
            afterGet: (rows, delta) => {
              calls.push([delta.call, rows.length])
              return Effect.succeed(rows)
            }
          })
        )
        const rows = yield* Repo.all(Seats)
        const gone = new Seat({ row: 9, place: 9, guest: "nobody" })
        const found = yield* Repo.reload(Hooked, [...rows, gone])
        expect(found.map(Option.isSome)).toEqual([true, true, false])
        expect(calls).toEqual([["reload", 2]])
      })
    )
  })
})

describe("aggregate", () => {
  layer(TestRepo, { excludeTestServices: true })((it) => {
    it.effect("gives what the field holds, exactly, and none of nothing", () =>
      Effect.gen(function* () {
        const sql = yield* fresh
        expect(yield* Repo.aggregate(Items, "sum", "id")).toEqual(Option.none())
        expect(yield* Repo.aggregate(Items, "max", "label")).toEqual(Option.none())
        expect(yield* Repo.aggregate(Items, "count", "rank")).toBe(0)
        yield* insertItems(sql, 4)
        expect(yield* Repo.aggregate(Items, "count", "rank")).toBe(3)
        expect(yield* Repo.aggregate(Items, "sum", "rank")).toEqual(Option.some(3))
        expect(yield* Repo.aggregate(Items, "avg", "id")).toEqual(Option.some(2.5))
        expect(yield* Repo.aggregate(Items, "sum", "size")).toEqual(Option.some(36028797018963972n))
        expect(yield* Repo.aggregate(Items, "max", "size")).toEqual(Option.some(9007199254740993n))
        const price = yield* Repo.aggregate(Items, "sum", "price")
        expect(Option.map(price, (value) => BigDecimal.equals(value, BigDecimal.unsafeFromString("1")))).toEqual(
          Option.some(true)
        )
        expect(yield* Repo.aggregate(Items, "min", "weight")).toEqual(Option.some(0.5))
        expect(yield* Repo.aggregate(Items, "sum", "weight")).toEqual(Option.some(5))
        expect(yield* Repo.aggregate(Items, "max", "madeAt")).toEqual(Option.some(new Date("2024-01-01T00:00:00.000Z")))
        expect(yield* Repo.aggregate(Items, "max", "label", { id: [1, 2] })).toEqual(Option.some("item 2"))
        expect(yield* Repo.aggregate(Items, "sum", "id", sql`true order by id desc limit 2`)).toEqual(Option.some(7))
        expect(yield* Repo.aggregate(Items, "min", "id", { id: Number.NaN })).toEqual(Option.none())
      })
    )

    it.effect("fails where a number cannot hold the sum, and refuses what is no aggregate", () =>
      Effect.gen(function* () {
        const sql = yield* fresh
        class Big extends Model.Class<Big>("Big")({ id: Schema.Number, size: Schema.Number }) {}
        const Bigs = Table.make(Big, { name: "items", key: "id" })
        yield* sql`insert into items select n, '', null, 9007199254740991, 0, null, now() from generate_series(1, 3) as n`
        const failure = yield* Effect.flip(Repo.aggregate(Bigs, "sum", "size"))
        expect(failure.message).toBe(
          "could not work out the sum of size in items: a JavaScript number cannot hold the result exactly. Use Schema.BigIntFromSelf or Schema.BigDecimal for the field, or add up in SQL."
        )
        const refused = yield* Effect.flip(Effect.sandbox(Repo.aggregate(Items, "sum(1); --" as never, "id" as never)))
        expect(Cause.pretty(refused)).toContain("the aggregate of items cannot be")
        expect((yield* Repo.all(Bigs)).length).toBe(3)
      })
    )
  })
})

describe("page", () => {
  layer(TestRepo, { excludeTestServices: true })((it) => {
    const allPages = (options: Omit<Repo.PageOptions<typeof Items>, "after">) =>
      Effect.gen(function* () {
        const pages: Array<ReadonlyArray<number>> = []
        let after: string | undefined
        do {
          const found: Repo.Page<Item> = yield* Repo.page(Items, { ...options, after })
          pages.push(ids(found.rows))
          after = Option.getOrUndefined(found.next)
        } while (after !== undefined)
        return pages
      })

    it.effect("goes through all rows once, by the key when nothing is said", () =>
      Effect.gen(function* () {
        const sql = yield* fresh
        yield* insertItems(sql, 7)
        expect(yield* allPages({ first: 3 })).toEqual([[1, 2, 3], [4, 5, 6], [7]])
        expect(yield* allPages({ first: 7 })).toEqual([[1, 2, 3, 4, 5, 6, 7]])
        expect(yield* allPages({ first: 5, where: { id: [1, 2, 9] } })).toEqual([[1, 2]])
        expect(yield* allPages({ first: 1, where: sql`id > ${5} -- only these` })).toEqual([[6], [7]])
        expect(yield* allPages({ first: 1, where: { id: Number.NaN } })).toEqual([[]])
      })
    )

    it.effect("orders by several fields, up and down, nulls and equals among them, as PostgreSQL does", () =>
      Effect.gen(function* () {
        const sql = yield* fresh
        yield* insertItems(sql, 13)
        const orders: ReadonlyArray<readonly [Repo.PageOptions<typeof Items>["orderBy"], string]> = [
          [["rank"], "rank, id"],
          [[["rank", "desc"]], "rank desc, id"],
          [
            [
              ["rank", "desc"],
              ["id", "desc"]
            ],
            "rank desc, id desc"
          ],
          [["rank", ["label", "desc"]], "rank, label desc, id"],
          [["label"], "label, id"],
          [
            [
              ["label", "desc"],
              ["id", "desc"]
            ],
            "label desc, id desc"
          ],
          [[["madeAt", "desc"]], "made_at desc, id"],
          [["weight"], "weight, id"]
        ]
        for (const [orderBy, text] of orders) {
          const expected = ids(yield* Repo.all(Items, sql`true order by ${sql.unsafe(text)}`))
          for (const first of [1, 2, 5]) expect((yield* allPages({ first, orderBy })).flat()).toEqual(expected)
        }
      })
    )

    it.effect("does not move when rows are inserted and deleted before it", () =>
      Effect.gen(function* () {
        const sql = yield* fresh
        yield* insertItems(sql, 6)
        const first = yield* Repo.page(Items, { first: 3 })
        yield* Repo.deleteAll(Items, { id: [1, 3] })
        const second = yield* Repo.page(Items, { first: 3, after: Option.getOrUndefined(first.next) })
        expect(ids(second.rows)).toEqual([4, 5, 6])
      })
    )

    it.effect("says how many there are in all when asked", () =>
      Effect.gen(function* () {
        const sql = yield* fresh
        yield* insertItems(sql, 6)
        const found = yield* Repo.page(Items, { first: 2, total: true, where: sql`id > 1` })
        expect([found.rows.length, found.total]).toEqual([2, Option.some(5)])
        expect((yield* Repo.page(Items, { first: 2 })).total).toEqual(Option.none())
      })
    )

    it.effect("refuses cursors that are none, of another order, or forged", () =>
      Effect.gen(function* () {
        const sql = yield* fresh
        yield* insertItems(sql, 3)
        const { next } = yield* Repo.page(Items, { first: 1 })
        const cursors = [
          { first: 1, after: "" },
          { first: 1, after: "nonsense" },
          { first: 1, after: Option.getOrUndefined(next), orderBy: ["label" as const] },
          { first: 1, after: Option.getOrUndefined(next), orderBy: [["id", "desc"] as const] },
          { first: 1, after: Buffer.from(JSON.stringify(['"id"', ["x"]])).toString("base64url") },
          { first: 1, after: Buffer.from(JSON.stringify(['"id"', [{}]])).toString("base64url") }
        ]
        for (const options of cursors)
          expect(yield* Effect.flip(Repo.page(Items, options))).toMatchObject({ _tag: "InvalidInput", field: "after" })
        for (const first of [0, -1, 1.5, Number.NaN])
          expect(yield* Effect.flip(Repo.page(Items, { first }))).toMatchObject({
            _tag: "InvalidInput",
            field: "first"
          })
      })
    )

    it.effect(
      "does not spoil the transaction it is asked for in with such a cursor, nor blame it for what is not its own",
      () =>
        Effect.gen(function* () {
          const sql = yield* fresh
          yield* insertItems(sql, 3)
          const forged = Buffer.from(JSON.stringify(['"id"', ["99999999999999"]])).toString("base64url")
          yield* Repo.transact(
            Effect.gen(function* () {
              yield* Repo.update(Items, 1, { label: "kept" })
              expect(yield* Effect.flip(Repo.page(Items, { first: 1, after: forged }))).toMatchObject({
                field: "after"
              })
            })
          )
          expect((yield* Repo.fetch(Items, 1)).label).toBe("kept")
          const after = Option.getOrUndefined((yield* Repo.page(Items, { first: 1 })).next)
          expect(
            yield* Effect.flip(Repo.page(Items, { first: 1, after, where: sql`1 / (rank - rank) = 1` }))
          ).toMatchObject({
            _tag: "DbError",
            code: "22012"
          })
        })
    )
  })
})

describe("stream", () => {
  layer(TestRepo, { excludeTestServices: true })((it) => {
    it.effect("gives every row, in chunks, with afterGet on each chunk", () =>
      Effect.gen(function* () {
        const sql = yield* fresh
        yield* insertItems(sql, 1200)
        const sizes: Array<number> = []
        const Hooked = Items.pipe(
          Table.hooks({
            afterGet: (rows, { call }) => {
              expect(call).toBe("stream")
              sizes.push(rows.length)
              return Effect.succeed(rows)
            }
          })
        )
        const rows = yield* Stream.runCollect(Repo.stream(Hooked, sql`true order by id`))
        expect(ids(Chunk.toReadonlyArray(rows)).slice(0, 3)).toEqual([1, 2, 3])
        expect(rows.length).toBe(1200)
        expect(sizes.length).toBeGreaterThan(2)
        expect(sizes.reduce((sum, size) => sum + size, 0)).toBe(1200)
        expect(yield* Stream.runCount(Repo.stream(Items, { id: [1, 5] }))).toBe(2)
        expect(yield* Stream.runCount(Repo.stream(Items, { id: Number.NaN }))).toBe(0)
      })
    )

    it.effect("gives as many rows at a time as it is asked to, in a transaction and outside", () =>
      Effect.gen(function* () {
        const sql = yield* fresh
        yield* insertItems(sql, 25)
        const sizes = Effect.map(
          Stream.runCollect(Stream.chunks(Repo.stream(Items, undefined, { chunkSize: 10 }))),
          (chunks) => Chunk.toReadonlyArray(Chunk.map(chunks, Chunk.size))
        )
        expect(yield* sizes).toEqual([10, 10, 5])
        expect(yield* Repo.transact(sizes)).toEqual([10, 10, 5])
        const all = Stream.runCount(Repo.stream(Items, undefined, { chunkSize: Number.MAX_SAFE_INTEGER }))
        expect(yield* all).toBe(25)
        for (const options of [{ chunkSize: 0 }, { chunkSize: 1.5 }, { chunksize: 5 }, { lock: "update" }]) {
          const exit = yield* Effect.exit(Stream.runDrain(Repo.stream(Items, undefined, options as never)))
          expect(Exit.isFailure(exit) && Cause.isDie(exit.cause)).toBe(true)
        }
      })
    )

    it.effect("lets other statements of its transaction in between, a write for each row", () =>
      Effect.gen(function* () {
        const sql = yield* fresh
        yield* insertItems(sql, 700)
        yield* Repo.stream(Items).pipe(
          Stream.runForEach((item) => Repo.update(Items, item, { label: "seen" })),
          Repo.transact()
        )
        expect(yield* Repo.count(Items, { label: "seen" })).toBe(700)
      })
    )

    it.effect("closes its cursor when it is left, and the transaction goes on", () =>
      Effect.gen(function* () {
        const sql = yield* fresh
        yield* insertItems(sql, 1000)
        const seen = yield* Repo.transact(
          Effect.gen(function* () {
            yield* Stream.runDrain(Stream.take(Repo.stream(Items), 3))
            const failed = yield* Effect.flip(
              Stream.runDrain(
                Stream.mapEffect(Repo.stream(Items), ({ id }) => (id > 2 ? Effect.fail("left") : Effect.void))
              )
            )
            const two = yield* Stream.runCollect(
              Stream.zip(Repo.stream(Items, sql`true order by id`), Repo.stream(Items, sql`true order by id desc`))
            )
            const cursors = yield* sql`select name from pg_cursors where name <> ''`
            return [failed, two.length, cursors.length, yield* Repo.count(Items)]
          })
        )
        expect(seen).toEqual(["left", 1000, 0, 1000])
      })
    )

    it.effect("is interrupted while it waits for its turn, and the transaction goes on", () =>
      Effect.gen(function* () {
        const sql = yield* fresh
        yield* insertItems(sql, 3)
        const seen = yield* Repo.transact(
          Effect.gen(function* () {
            const begun = yield* Deferred.make<void>()
            const gate = yield* Deferred.make<void>()
            const other = yield* Effect.fork(
              Repo.transact(Effect.zipRight(Deferred.succeed(begun, undefined), Deferred.await(gate)))
            )
            yield* Deferred.await(begun)
            const stream = yield* Effect.fork(Stream.runDrain(Repo.stream(Items)))
            yield* Effect.yieldNow()
            const exit = yield* Fiber.interrupt(stream)
            yield* Deferred.succeed(gate, undefined)
            yield* Fiber.join(other)
            return [Exit.isInterrupted(exit), yield* Stream.runCount(Repo.stream(Items))]
          })
        )
        expect(seen).toEqual([true, 3])
      })
    )

    it.scoped("gives its connection back when it is interrupted, left early, or fails", () =>
      Effect.gen(function* () {
        const sql = yield* fresh
        yield* insertItems(sql, 1000)
        const { repo } = yield* pool(1)
        for (let round = 0; round < 3; round += 1) {
          const fiber = yield* Effect.fork(Stream.runDrain(Stream.tap(repo.stream(Items), () => Effect.never)))
          yield* Effect.yieldNow()
          yield* Fiber.interrupt(fiber)
          yield* Stream.runDrain(Stream.take(repo.stream(Items), 1))
          yield* Effect.flip(Stream.runDrain(Stream.mapEffect(repo.stream(Items), () => Effect.fail("no"))))
          const bad = Table.make(Item, { name: "absent", key: "id" })
          const failure = yield* Effect.flip(Stream.runDrain(repo.stream(bad)))
          expect(failure.message).toContain("could not stream absent:")
        }
        expect(yield* repo.count(Items)).toBe(1000)
      })
    )
  })
})

describe("stream, outside of a transaction", () => {
  layer(TestRepo, { excludeTestServices: true })((it) => {
    it.scoped("fails when its backend is gone, and the next one gets another", () =>
      Effect.gen(function* () {
        const sql = yield* fresh
        yield* insertItems(sql, 1200)
        const { repo } = yield* pool(1, { applicationName: "streams" })
        const end = Effect.flatMap(
          sql<{ readonly pid: number }>`select pid from pg_stat_activity where application_name = 'streams'`,
          (rows) => Effect.forEach(rows, ({ pid }) => terminated(sql, pid), { discard: true })
        )
        const failure = yield* repo.stream(Items).pipe(
          Stream.tap(({ id }) => Effect.when(end, () => id === 3)),
          Stream.runDrain,
          Effect.flip
        )
        expect(failure).toMatchObject({ _tag: "DbError", kind: "connection" })
        expect(yield* Stream.runCount(repo.stream(Items))).toBe(1200)
      })
    )

    it.scoped("is interrupted while its statement waits", () =>
      Effect.gen(function* () {
        const sql = yield* fresh
        yield* insertItems(sql, 3)
        const { repo } = yield* pool(1)
        const waiting = Effect.map(
          sql<{ pid: number }>`select pid from pg_locks where not granted and relation = 'items'::regclass`,
          (rows) => rows.length
        )
        yield* Repo.transact(
          Effect.gen(function* () {
            yield* sql`lock table items in access exclusive mode`
            for (const streams of [
              repo.stream(Items),
              repo.session(repo.transact(Stream.runDrain(repo.stream(Items))))
            ]) {
              const fiber = yield* Effect.fork(Effect.isEffect(streams) ? streams : Stream.runDrain(streams))
              yield* Effect.repeat(waiting, { until: (count) => count === 1 })
              expect(Exit.isInterrupted(yield* Fiber.interrupt(fiber))).toBe(true)
              expect(yield* waiting).toBe(0)
            }
          })
        )
        expect(yield* repo.count(Items)).toBe(3)
      })
    )

    it.scoped("keeps what its statement did when it was read to the end, and only then", () =>
      Effect.gen(function* () {
        const looker = yield* fresh
        const { sql } = yield* pool(1)
        yield* sql`create function note(id int) returns int language sql as 'insert into items values (id, ''noted'', 1, 1, 1, 1, now()) returning id'`
        const left = (count: number) =>
          Stream.runDrain(Stream.take(sql`select note(i) from generate_series(1, 9) i`.stream, count))
        const noted = Effect.map(looker`select 1 from items`, (rows) => rows.length)
        yield* left(2)
        expect(yield* noted).toBe(0)
        yield* left(20)
        expect(yield* noted).toBe(9)
        yield* Stream.runDrain(sql`delete from items where id < 5 returning id`.stream)
        expect(yield* noted).toBe(5)
      })
    )
  })
})

describe("decode", () => {
  layer(TestRepo, { excludeTestServices: true })((it) => {
    it.effect("makes instances of rows, whatever read them and however their columns are called", () =>
      Effect.gen(function* () {
        const sql = yield* fresh
        yield* insertItems(sql, 2)
        const rows = yield* Repo.decode(Items, sql`select *, 1 as more from items order by id`)
        expect(rows[0]).toBeInstanceOf(Item)
        expect(rows[0]?.madeAt).toBeInstanceOf(Date)
        const renamed = yield* Effect.map(sql<Record<string, unknown>>`select * from items where id = 2`, (all) =>
          all.map(({ made_at, ...rest }) => ({ ...rest, madeAt: made_at }))
        )
        expect(ids(yield* Repo.decode(Items, renamed))).toEqual([2])
      })
    )

    it.effect("fails with what the statement fails with, typed, and says which column is missing", () =>
      Effect.gen(function* () {
        const sql = yield* fresh
        yield* insertItems(sql, 1)
        expect(yield* Effect.flip(Repo.decode(Items, sql`select * from absent`))).toMatchObject({
          _tag: "DbError",
          code: "42P01"
        })
        expect((yield* Effect.flip(Repo.decode(Items, sql`select id, label from items`))).message).toBe(
          "could not read items: a row has no column rank, which field rank of the model is read from. Select it, or all columns of items."
        )
        expect(yield* Effect.flip(Repo.decode(Items, Effect.fail("mine" as const)))).toBe("mine")
      })
    )
  })
})
