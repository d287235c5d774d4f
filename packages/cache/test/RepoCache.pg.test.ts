/** A cache before tables, on a real PostgreSQL: what commits, roll-backs and lost connections mean for it. */
import { Model, SqlClient } from "@effect/sql"
import { describe, expect, layer } from "@effect/vitest"
import { RepoCache } from "@effecto/cache"
import { Announcement, Repo, Table, Transaction } from "@effecto/core"
import { NotFound } from "@effecto/core/RepoError"
import { EmbeddedPostgres } from "@effecto/core/testing"
import { Context, Deferred, Effect, Fiber, Layer, Metric, Option, Schema } from "effect"

class Person extends Model.Class<Person>("Person")({
  id: Model.GeneratedByApp(Schema.Number),
  name: Schema.String
}) {}
class Country extends Model.Class<Country>("Country")({
  code: Model.GeneratedByApp(Schema.String),
  name: Schema.String
}) {}
class Seat extends Model.Class<Seat>("Seat")({
  hall: Model.GeneratedByApp(Schema.String),
  number: Model.GeneratedByApp(Schema.Number),
  taken: Schema.Boolean
}) {}

class Device extends Model.Class<Device>("Device")({
  id: Model.GeneratedByApp(Schema.String),
  name: Schema.String
}) {}
const Devices = Table.make(Device, { name: "devices", key: "id" })
const People = Table.make(Person, { name: "people", key: "id" })
const Countries = Table.make(Country, { name: "countries", key: "code" })
const Seats = Table.make(Seat, { name: "seats", key: ["hall", "number"] })

const TestRepo = Repo.layer().pipe(Layer.provideMerge(EmbeddedPostgres))

const fixture = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  yield* sql`drop table if exists people, countries, seats cascade`
  yield* sql`create table people (id int primary key, name text not null)`
  yield* sql`create table countries (code text primary key, name text not null)`
  yield* sql`create table seats (hall text, number int, taken boolean not null, primary key (hall, number))`
  yield* sql`insert into people values (1, 'Ada'), (2, 'Bob')`
  yield* sql`insert into countries values ('de', 'Germany')`
  yield* sql`insert into seats values ('a', 1, false)`
  const people = yield* RepoCache.make(People)
  /** The names of these people, and how many statements it took to tell. */
  const names = (...ids: ReadonlyArray<number>) =>
    Effect.gen(function* () {
      const before = (yield* Metric.value(Repo.queries)).count
      const found: Array<string | undefined> = []
      for (const id of ids) found.push(Option.getOrUndefined(yield* people.get(id))?.name)
      return [...found, (yield* Metric.value(Repo.queries)).count - before]
    })
  return { sql, people, names }
})

const asAnother = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  // A fiber of its own, started outside of the transaction: as another request would be.
  Effect.flatMap(Effect.context<R>(), (context) => {
    const outside = Context.omit(
      Transaction.Transaction,
      SqlClient.TransactionConnection
    )(context as Context.Context<R | Transaction.Transaction | SqlClient.TransactionConnection>) as Context.Context<R>
    return Effect.promise(() => Effect.runPromise(Effect.provide(effect, outside)))
  })

layer(TestRepo, { excludeTestServices: true })((it) => {
  describe("the options of reads", () => {
    it.scoped("keep a failure for as long as they say, and forget it when the table is written", () =>
      Effect.gen(function* () {
        const { sql } = yield* fixture
        const people = yield* RepoCache.make(People, { failed: "1 hour" })
        yield* sql`alter table people rename to persons`
        const first = yield* Effect.flip(people.get(1))
        yield* sql`alter table persons rename to people`
        expect(yield* Effect.flip(people.get(1))).toBe(first)
        yield* Announcement.touch(People, [1])
        expect(yield* people.get(1)).toEqual(Option.some(new Person({ id: 1, name: "Ada" })))
      })
    )

    it.scoped("bound how many rows one statement asks for", () =>
      Effect.gen(function* () {
        yield* fixture
        const people = yield* RepoCache.make(People, { batchSize: 2 })
        const before = (yield* Metric.value(Repo.queries)).count
        expect((yield* people.getAll([1, 2, 3, 4, 5])).filter(Option.isSome)).toHaveLength(2)
        expect((yield* Metric.value(Repo.queries)).count - before).toBe(3)
      })
    )
  })

  describe("get and fetch", () => {
    it.scoped("read a row once, and say like the Repo that there is none", () =>
      Effect.gen(function* () {
        const { names, people } = yield* fixture
        expect(yield* names(1, 1, 2, 1)).toEqual(["Ada", "Ada", "Bob", "Ada", 2])
        expect(yield* people.fetch(1)).toBeInstanceOf(Person)
        const failure = yield* Effect.flip(people.fetch(3))
        expect(failure).toBeInstanceOf(NotFound)
        expect(failure.message).toBe("there is no row in people with that id")
        expect((failure as NotFound).by).toBe(3)
        expect(yield* people.stats).toMatchObject({ rows: { size: 2, loads: 3 }, queries: { size: 0 } })
      })
    )

    it.scoped("getAll reads what is missing in one statement, in the order of the keys", () =>
      Effect.gen(function* () {
        const { people } = yield* fixture
        yield* people.get(2)
        const before = (yield* Metric.value(Repo.queries)).count
        const found = yield* people.getAll([3, 2, 1])
        expect(found.map((row) => Option.getOrUndefined(row)?.name)).toEqual([undefined, "Bob", "Ada"])
        expect((yield* Metric.value(Repo.queries)).count - before).toBe(1)
      })
    )

    it.scoped("never keep a row under another spelling of its key, for a commit names it by its own", () =>
      Effect.gen(function* () {
        const { sql } = yield* fixture
        yield* sql`drop table if exists devices`
        yield* sql`create table devices (id uuid primary key, name text not null)`
        const id = "0b5d27f4-7d1c-4c51-9a3a-0c7f6a2f3c11"
        yield* Repo.insert(Devices, { id, name: "old" })
        const devices = yield* RepoCache.make(Devices)
        const upper = id.toUpperCase()
        expect((yield* devices.fetch(upper)).name).toBe("old")
        expect((yield* devices.getAll([upper, id])).map((row) => Option.getOrUndefined(row)?.name)).toEqual([
          "old",
          "old"
        ])
        yield* Repo.update(Devices, id, { name: "new" })
        expect((yield* devices.fetch(upper)).name).toBe("new")
        expect((yield* devices.getAll([upper, id])).map((row) => Option.getOrUndefined(row)?.name)).toEqual([
          "new",
          "new"
        ])
        expect((yield* devices.stats).rows.size).toBe(1)
      })
    )

    it.scoped("are found by the tag of the table, also through the module's own functions", () =>
      Effect.gen(function* () {
        yield* fixture
        const program = Effect.gen(function* () {
          const cache = yield* RepoCache.of(People)
          return [
            (yield* cache.fetch(1)).name,
            (yield* RepoCache.fetch(People, 1)).name,
            Option.isSome(yield* RepoCache.get(People, 9)),
            (yield* RepoCache.getAll(People, [1])).length,
            yield* RepoCache.getOrLoad(People, "count", Effect.succeed(2)),
            (yield* cache.stats).rows.loads
          ]
        })
        expect(yield* Effect.provide(program, RepoCache.layer(People, { idle: "10 minutes" }))).toEqual([
          "Ada",
          "Ada",
          false,
          1,
          2,
          2
        ])
      })
    )

    it.scoped("take keys of several fields, whoever made the object and in whatever order", () =>
      Effect.gen(function* () {
        yield* fixture
        const seats = yield* RepoCache.make(Seats)
        expect((yield* seats.fetch({ hall: "a", number: 1 })).taken).toBe(false)
        yield* seats.fetch({ number: 1, hall: "a" })
        expect((yield* seats.stats).rows.loads).toBe(1)
        yield* Repo.update(Seats, { hall: "a", number: 1 }, { taken: true })
        expect((yield* seats.fetch({ hall: "a", number: 1 })).taken).toBe(true)
        expect(
          (yield* seats.getAll([
            { hall: "a", number: 1 },
            { hall: "b", number: 1 }
          ])).map(Option.isSome)
        ).toEqual([true, false])
      })
    )
  })

  describe("a write", () => {
    it.scoped("is seen by the next read: update, delete, insert of what was known to be absent, upsert", () =>
      Effect.gen(function* () {
        yield* fixture
        const people = yield* RepoCache.make(People, { absent: "1 hour" })
        const name = (id: number) => Effect.map(people.get(id), (row) => Option.getOrUndefined(row)?.name)
        expect([yield* name(1), yield* name(3)]).toEqual(["Ada", undefined])
        yield* Repo.update(People, 1, { name: "Ada L." })
        expect(yield* name(1)).toBe("Ada L.")
        yield* Repo.insert(People, { id: 3, name: "Cyd" })
        expect(yield* name(3)).toBe("Cyd")
        yield* Repo.upsert(People, { id: 3, name: "Cid" }, { target: ["id"] })
        expect(yield* name(3)).toBe("Cid")
        yield* Repo.delete(People, 3)
        expect(yield* name(3)).toBe(undefined)
      })
    )

    it.scoped("forgets the row it changed and no other", () =>
      Effect.gen(function* () {
        const { names } = yield* fixture
        yield* names(1, 2)
        yield* Repo.update(People, 1, { name: "Eve" })
        yield* Repo.update(Countries, "de", { name: "Deutschland" })
        expect(yield* names(2, 1)).toEqual(["Bob", "Eve", 1])
      })
    )

    it.scoped("of many rows forgets what it may have changed", () =>
      Effect.gen(function* () {
        const { names, sql } = yield* fixture
        yield* names(1, 2)
        yield* Repo.updateAll(People, { name: "Bob" }, { name: "Rob" })
        expect(yield* names(1, 2)).toEqual(["Ada", "Rob", 2])
        yield* Repo.insertAll(People, [{ id: 3, name: "Cyd" }])
        yield* Repo.deleteAll(People, { id: [1, 3] })
        expect(yield* names(1, 2, 3)).toEqual([undefined, "Rob", undefined, 3])
        // By hand: only after it has been said.
        yield* sql`update people set name = 'by hand'`
        expect(yield* names(2)).toEqual(["Rob", 0])
        yield* Announcement.touch(People)
        expect(yield* names(2)).toEqual(["by hand", 1])
      })
    )

    it.scoped("does not let a load that began before it be kept after it", () =>
      Effect.gen(function* () {
        const { sql } = yield* fixture
        const gate = yield* Deferred.make<void>()
        const read = yield* Deferred.make<void>()
        let slow = true
        const Slow = People.pipe(
          Table.hooks({
            afterGet: (rows) =>
              Effect.suspend(() =>
                slow
                  ? Effect.as(Effect.zipRight(Deferred.succeed(read, undefined), Deferred.await(gate)), rows)
                  : Effect.succeed(rows)
              )
          })
        )
        const people = yield* RepoCache.make(Slow)
        const early = yield* Effect.fork(people.get(1))
        yield* Deferred.await(read)
        slow = false
        yield* Repo.update(People, 1, { name: "Eve" })
        yield* Deferred.succeed(gate, undefined)
        expect(Option.getOrThrow(yield* Fiber.join(early)).name).toBe("Ada")
        expect(Option.getOrThrow(yield* people.get(1)).name).toBe("Eve")
        yield* sql`select 1`
      })
    )
  })

  describe("a transaction", () => {
    it.scoped("reads its own writes, others read what is committed, and all of them the new after the commit", () =>
      Effect.gen(function* () {
        const { names } = yield* fixture
        yield* names(1)
        const seen: Array<unknown> = []
        yield* Repo.transact(
          Effect.gen(function* () {
            yield* Repo.update(People, 1, { name: "Eve" })
            seen.push(yield* names(1, 1))
            seen.push(yield* asAnother(names(1)))
          })
        )
        seen.push(yield* names(1))
        seen.push(yield* names(1))
        expect(seen).toEqual([
          ["Eve", "Eve", 2],
          ["Ada", 0],
          ["Eve", 1],
          ["Eve", 0]
        ])
      })
    )

    it.scoped("is served what it has not changed, and keeps for others nothing that it reads itself", () =>
      Effect.gen(function* () {
        const { names, people } = yield* fixture
        yield* names(2)
        yield* Repo.transact(
          Effect.gen(function* () {
            yield* Repo.update(People, 1, { name: "Eve" })
            expect(yield* names(2)).toEqual(["Bob", 0])
            yield* Repo.insert(People, { id: 3, name: "Cyd" })
            expect(yield* names(3)).toEqual(["Cyd", 1])
            const all = yield* people.getAll([1, 2, 3])
            expect(all.map((row) => Option.getOrUndefined(row)?.name)).toEqual(["Eve", "Bob", "Cyd"])
            expect(yield* asAnother(names(3, 1))).toEqual([undefined, "Ada", 2])
          })
        )
        expect(yield* names(3)).toEqual(["Cyd", 1])
      })
    )

    it.scoped("that is rolled back forgets nothing, and nobody ever reads what it wrote", () =>
      Effect.gen(function* () {
        const { names } = yield* fixture
        yield* names(1)
        const failed = Repo.transact(
          Effect.gen(function* () {
            yield* Repo.update(People, 1, { name: "Eve" })
            expect(yield* names(1)).toEqual(["Eve", 1])
            return yield* Effect.fail("no" as const)
          })
        )
        expect(yield* Effect.flip(failed)).toBe("no")
        expect(yield* names(1)).toEqual(["Ada", 0])
      })
    )

    it.scoped("forgets by savepoints: what was rolled back to one is still served, in it and after it", () =>
      Effect.gen(function* () {
        const { names } = yield* fixture
        yield* names(1, 2)
        const seen: Array<unknown> = []
        yield* Repo.transact(
          Effect.gen(function* () {
            yield* Effect.ignore(
              Repo.transact(
                Effect.gen(function* () {
                  yield* Repo.update(People, 1, { name: "Eve" })
                  yield* Effect.ignore(
                    Repo.transact(Effect.zipRight(Repo.update(People, 2, { name: "Mallory" }), Effect.fail("inner")))
                  )
                  seen.push(yield* names(1, 2))
                  return yield* Effect.fail("outer")
                })
              )
            )
            seen.push(yield* names(1, 2))
            yield* Repo.transact(Repo.update(People, 2, { name: "Rob" }))
            seen.push(yield* names(1, 2))
            seen.push(yield* asAnother(names(1, 2)))
          })
        )
        seen.push(yield* names(1, 2))
        expect(seen).toEqual([
          ["Eve", "Bob", 1],
          ["Ada", "Bob", 0],
          ["Ada", "Rob", 1],
          ["Ada", "Bob", 0],
          ["Ada", "Rob", 1]
        ])
      })
    )

    it.scoped("whose connection dies in COMMIT forgets all that it may have written", () =>
      Effect.gen(function* () {
        const { people, sql } = yield* fixture
        yield* people.getAll([1, 2])
        yield* people.getOrLoad("all", Repo.all(People))
        yield* sql`create or replace function die() returns trigger language plpgsql as
          $$ begin perform pg_terminate_backend(pg_backend_pid()); return new; end $$`
        yield* sql`create constraint trigger die after update on people deferrable initially deferred for each row execute function die()`
        const failure = yield* Effect.flip(Repo.transact(Repo.update(People, 1, { name: "Eve" })))
        expect(failure).toMatchObject({ _tag: "CommitFailed", outcome: "unknown" })
        expect(yield* people.stats).toMatchObject({ rows: { size: 0 }, queries: { size: 0 } })
        yield* Effect.retry(sql`drop trigger die on people`, { times: 3 })
      })
    )
  })

  describe("getOrLoad", () => {
    it.scoped("keeps what a query brought until a table changes that it depends on", () =>
      Effect.gen(function* () {
        const { people } = yield* fixture
        let runs = 0
        const labels = people.getOrLoad(
          "labels",
          Effect.gen(function* () {
            runs += 1
            const rows = yield* Repo.all(People)
            const countries = yield* Repo.all(Countries)
            return `${rows.length} in ${countries.map(({ name }) => name).join(", ")}`
          }),
          { dependsOn: [Countries] }
        )
        expect([yield* labels, yield* labels, runs]).toEqual(["2 in Germany", "2 in Germany", 1])
        yield* Repo.update(Seats, { hall: "a", number: 1 }, { taken: true })
        yield* labels
        expect(runs).toBe(1)
        yield* Repo.update(Countries, "de", { name: "Deutschland" })
        expect([yield* labels, runs]).toEqual(["2 in Deutschland", 2])
        yield* Repo.delete(People, 2)
        expect([yield* labels, runs]).toEqual(["1 in Deutschland", 3])
      })
    )

    it.scoped("in a transaction that has changed such a table runs the query there, and keeps nothing of it", () =>
      Effect.gen(function* () {
        const { people } = yield* fixture
        const count = people.getOrLoad(
          "count",
          Effect.map(Repo.all(People), (rows) => rows.length)
        )
        yield* count
        const seen: Array<number> = []
        yield* Effect.ignore(
          Repo.transact(
            Effect.gen(function* () {
              yield* Repo.update(Countries, "de", { name: "Deutschland" })
              seen.push(yield* count)
              yield* Repo.insert(People, { id: 3, name: "Cyd" })
              seen.push(yield* count)
              seen.push(yield* asAnother(count))
              return yield* Effect.fail("no")
            })
          )
        )
        seen.push(yield* count)
        expect(seen).toEqual([2, 3, 2, 2])
        expect((yield* people.stats).queries).toMatchObject({ loads: 1 })
      })
    )

    it.scoped("does not keep what a query read before a change that it did not see", () =>
      Effect.gen(function* () {
        const { people } = yield* fixture
        const gate = yield* Deferred.make<void>()
        const read = yield* Deferred.make<void>()
        const slow = Effect.gen(function* () {
          const rows = yield* Repo.all(People)
          yield* Deferred.succeed(read, undefined)
          yield* Deferred.await(gate)
          return rows.length
        })
        const early = yield* Effect.fork(people.getOrLoad("count", slow))
        yield* Deferred.await(read)
        yield* Repo.insert(People, { id: 3, name: "Cyd" })
        expect(
          yield* people.getOrLoad(
            "count",
            Effect.map(Repo.all(People), (rows) => rows.length)
          )
        ).toBe(3)
        yield* Deferred.succeed(gate, undefined)
        expect(yield* Fiber.join(early)).toBe(2)
        expect(yield* people.getOrLoad("count", Effect.succeed(-1))).toBe(3)
      })
    )
  })

  describe("strict", () => {
    const strict = Effect.gen(function* () {
      yield* fixture
      const people = yield* RepoCache.make(People, { strict: true, absent: "1 hour" })
      const loads = Effect.map(people.stats, ({ queries, rows }) => [rows.loads, queries.loads])
      const name = (id: number) => Effect.map(people.get(id), (row) => Option.getOrUndefined(row)?.name)
      const count = people.getOrLoad(
        "count",
        Effect.map(Repo.all(People), (rows) => rows.length)
      )
      return { people, loads, name, count }
    })

    it.scoped("reads around the cache from the first write to the commit, what is written and no other", () =>
      Effect.gen(function* () {
        const { count, loads, name } = yield* strict
        const seen: Array<unknown> = [yield* name(1), yield* name(2), yield* count]
        const statements = Effect.map(Metric.value(Repo.queries), (queries) => queries.count)
        const others = Effect.gen(function* () {
          const before = yield* statements
          const answers = [yield* name(1), yield* name(2), yield* count]
          return [...answers, (yield* statements) - before, yield* loads]
        })
        yield* Repo.transact(
          Effect.gen(function* () {
            yield* Repo.update(People, 1, { name: "Eve" })
            seen.push(yield* asAnother(others))
            yield* Effect.ignore(
              Repo.transact(Effect.zipRight(Repo.update(People, 2, { name: "Rob" }), Effect.fail("no")))
            )
            seen.push(yield* name(1), yield* name(2))
          })
        )
        seen.push(yield* others)
        expect(seen).toEqual([
          "Ada",
          "Bob",
          2,
          // The row and the count are read from the database, by the other alone: no load of the cache's.
          ["Ada", "Bob", 2, 2, [2, 1]],
          "Eve",
          "Bob",
          ["Eve", "Bob", 2, 2, [3, 2]]
        ])
      })
    )

    it.scoped("lets go when the transaction is rolled back, fails to begin its statement, or is interrupted", () =>
      Effect.gen(function* () {
        const { loads, name } = yield* strict
        yield* name(1)
        yield* Effect.ignore(Repo.transact(Effect.zipRight(Repo.update(People, 1, { name: "Eve" }), Effect.fail("no"))))
        yield* Effect.ignore(Repo.insert(People, { id: 1, name: "twice" }))
        const writing = yield* Deferred.make<void>()
        const writer = yield* Effect.fork(
          Repo.transact(
            Repo.update(People, 1, { name: "Eve" }).pipe(
              Effect.zipRight(Deferred.succeed(writing, undefined)),
              Effect.zipRight(Effect.never)
            )
          )
        )
        yield* Deferred.await(writing)
        expect([yield* name(1), yield* loads]).toEqual(["Ada", [1, 0]])
        yield* Fiber.interrupt(writer)
        expect([yield* name(1), yield* loads]).toEqual(["Ada", [1, 0]])
      })
    )

    it.scoped("holds the whole table while a row is inserted", () =>
      Effect.gen(function* () {
        const { loads, name } = yield* strict
        yield* name(3)
        yield* Repo.transact(
          Effect.gen(function* () {
            yield* Repo.insert(People, { id: 3, name: "Cyd" })
            expect(yield* asAnother(name(3))).toBe(undefined)
            expect(yield* name(3)).toBe("Cyd")
          })
        )
        expect([yield* name(3), yield* loads]).toEqual(["Cyd", [2, 0]])
      })
    )
  })

  describe("invalidate", () => {
    it.scoped("forgets rows and queries, after the commit when in a transaction", () =>
      Effect.gen(function* () {
        const { names, people, sql } = yield* fixture
        yield* names(1)
        yield* people.getOrLoad("one", Effect.succeed(1))
        yield* Effect.ignore(
          Repo.transact(
            Effect.gen(function* () {
              yield* people.invalidate
              yield* sql`update people set name = 'by hand'`
              expect(yield* asAnother(names(1))).toEqual(["Ada", 0])
            })
          )
        )
        expect(yield* people.stats).toMatchObject({ rows: { size: 0 }, queries: { size: 0 } })
        expect(yield* names(1)).toEqual(["by hand", 1])
      })
    )
  })
})
