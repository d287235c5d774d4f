/** Keys and names of tables that PostgreSQL takes for the same, before tables of a real one. */
import { Model, SqlClient } from "@effect/sql"
import { describe, expect, layer } from "@effect/vitest"
import { RepoCache } from "@effecto/cache"
import { Announcement, Repo, Table } from "@effecto/core"
import { EmbeddedPostgres } from "@effecto/core/testing"
import { BigDecimal, DateTime, Deferred, Effect, Fiber, Layer, Metric, Option, Schema } from "effect"

class Blob extends Model.Class<Blob>("Blob")({
  id: Model.GeneratedByApp(Schema.Uint8ArrayFromSelf),
  name: Schema.String
}) {}
class Moment extends Model.Class<Moment>("Moment")({
  id: Model.GeneratedByApp(Schema.DateTimeUtcFromDate),
  name: Schema.String
}) {}
class Price extends Model.Class<Price>("Price")({ id: Model.GeneratedByApp(Schema.BigDecimal), name: Schema.String }) {}
class Part extends Model.Class<Part>("Part")({
  hash: Model.GeneratedByApp(Schema.Uint8ArrayFromSelf),
  no: Model.GeneratedByApp(Schema.Number),
  name: Schema.String
}) {}
class Device extends Model.Class<Device>("Device")({
  id: Model.GeneratedByApp(Schema.String),
  name: Schema.String
}) {}
class Person extends Model.Class<Person>("Person")({
  id: Model.GeneratedByApp(Schema.Number),
  name: Schema.String
}) {}

const Blobs = Table.make(Blob, { name: "blobs", key: "id" })
const Moments = Table.make(Moment, { name: "moments", key: "id" })
const Prices = Table.make(Price, { name: "prices", key: "id" })
const Parts = Table.make(Part, { name: "parts", key: ["hash", "no"] })
const Devices = Table.make(Device, { name: "gadgets", key: "id" })
const People = Table.make(Person, { name: "folk", key: "id" })
const PublicPeople = Table.make(Person, { name: "folk", key: "id", schema: "public" })

const TestRepo = Repo.layer().pipe(Layer.provideMerge(EmbeddedPostgres))

/** Runs the script, and answers how to count the statements of an effect. */
const setUp = (script: string) =>
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    yield* sql.unsafe(script)
    const queries = Effect.map(Metric.value(Repo.queries), ({ count }) => count)
    return <A, E, R>(effect: Effect.Effect<A, E, R>) =>
      Effect.gen(function* () {
        const before = yield* queries
        const answer = yield* effect
        return [answer, (yield* queries) - before] as const
      })
  })

const nameOf = (row: Option.Option<{ readonly name: string }>) => Option.getOrUndefined(row)?.name
const namesOf = (rows: ReadonlyArray<Option.Option<{ readonly name: string }>>) => rows.map(nameOf)

layer(TestRepo, { excludeTestServices: true })((it) => {
  describe("a key that is an object", () => {
    const behaves = <T extends Table.Any>(
      table: T,
      script: string,
      key: () => Table.Key<T>,
      rename: (name: string) => Effect.Effect<unknown, unknown, Repo.Repo>
    ) =>
      Effect.gen(function* () {
        const counted = yield* setUp(script)
        const cache: RepoCache.RepoCache<Table.Any> = (yield* RepoCache.make(table as Table.Any)) as never
        const seen: Array<unknown> = []
        const name = Effect.map(cache.fetch(key() as never), (row) => (row as unknown as { name: string }).name)
        const note = Effect.map(counted(name), (found) => seen.push(found))
        yield* note
        yield* note
        yield* rename("two")
        yield* note
        yield* Repo.transact(
          Effect.gen(function* () {
            yield* rename("three")
            seen.push(yield* name)
          })
        )
        yield* note
        const all = yield* cache.getAll([key(), key()] as never)
        seen.push(namesOf(all as never))
        expect(seen).toEqual([["old", 1], ["old", 0], ["two", 1], "three", ["three", 1], ["three", "three"]])
        yield* cache.invalidate
        expect(namesOf((yield* cache.getAll([key()] as never)) as never)).toEqual(["three"])
      })

    it.scoped("of bytes is found, held, and forgotten when its row is written", () =>
      behaves(
        Blobs,
        "drop table if exists blobs; create table blobs (id bytea primary key, name text not null); insert into blobs values ('\\x0102', 'old')",
        () => new Uint8Array([1, 2]),
        (name) => Repo.update(Blobs, new Uint8Array([1, 2]), { name })
      )
    )

    it.scoped("of a DateTime, too", () =>
      behaves(
        Moments,
        "drop table if exists moments; create table moments (id timestamptz primary key, name text not null); insert into moments values ('2020-01-01T00:00:00Z', 'old')",
        () => DateTime.unsafeMake("2020-01-01T00:00:00Z"),
        (name) => Repo.update(Moments, DateTime.unsafeMake("2020-01-01T00:00:00Z"), { name })
      )
    )

    it.scoped("of a BigDecimal, too, however many zeros it ends in", () =>
      behaves(
        Prices,
        "drop table if exists prices; create table prices (id numeric(10, 2) primary key, name text not null); insert into prices values (1.5, 'old')",
        () => BigDecimal.unsafeFromString("1.5"),
        (name) => Repo.update(Prices, BigDecimal.unsafeFromString("1.500"), { name })
      )
    )

    it.scoped("of several fields, too, in any order and with bytes among them", () =>
      behaves(
        Parts,
        "drop table if exists parts; create table parts (hash bytea, no int, name text not null, primary key (hash, no)); insert into parts values ('\\x01', 2, 'old')",
        () => ({ no: 2, hash: new Uint8Array([1]) }),
        (name) => Repo.update(Parts, { hash: new Uint8Array([1]), no: 2 }, { name })
      )
    )
  })

  describe("what is known to be absent", () => {
    const lower = "0b5d27f4-7d1c-4c51-9a3a-0c7f6a2f3c11"
    const upper = lower.toUpperCase()
    const script =
      "drop table if exists gadgets, folk; create table gadgets (id uuid primary key, name text not null); create table folk (id int primary key, name text not null)"

    it.scoped("under one spelling of its key is found when it is inserted under another", () =>
      Effect.gen(function* () {
        const counted = yield* setUp(script)
        const gadgets = yield* RepoCache.make(Devices, { absent: "1 hour" })
        expect(namesOf([yield* gadgets.get(upper), yield* gadgets.get(lower)])).toEqual([undefined, undefined])
        expect(yield* counted(Effect.map(gadgets.get(upper), nameOf))).toEqual([undefined, 0])
        yield* Repo.insert(Devices, { id: lower, name: "new" })
        expect(namesOf([yield* gadgets.get(upper), yield* gadgets.get(lower)])).toEqual(["new", "new"])
      })
    )

    it.scoped("stays known where a key has one spelling and another row is inserted", () =>
      Effect.gen(function* () {
        const counted = yield* setUp(script)
        const folk = yield* RepoCache.make(People, { absent: "1 hour" })
        expect(nameOf(yield* folk.get(1))).toBe(undefined)
        yield* Repo.insert(People, { id: 2, name: "Bob" })
        expect(yield* counted(Effect.map(folk.get(1), nameOf))).toEqual([undefined, 0])
        yield* Repo.insert(People, { id: 1, name: "Ada" })
        expect(nameOf(yield* folk.get(1))).toBe("Ada")
      })
    )
  })

  describe("touch", () => {
    it.scoped("of a key that may be spelled otherwise reaches the row under any spelling", () =>
      Effect.gen(function* () {
        const id = "0b5d27f4-7d1c-4c51-9a3a-0c7f6a2f3c11"
        const sql = yield* SqlClient.SqlClient
        yield* setUp("drop table if exists gadgets; create table gadgets (id uuid primary key, name text not null)")
        yield* Repo.insert(Devices, { id, name: "old" })
        const gadgets = yield* RepoCache.make(Devices)
        expect(nameOf(yield* gadgets.get(id))).toBe("old")
        yield* sql`update gadgets set name = 'new'`
        yield* Announcement.touch(Devices, [id.toUpperCase()])
        expect(nameOf(yield* gadgets.get(id))).toBe("new")
      })
    )
  })

  describe("getAll", () => {
    it.scoped("gives each key its own result, though the column could not hold one of them", () =>
      Effect.gen(function* () {
        yield* setUp(
          "drop table if exists folk; create table folk (id int primary key, name text not null); insert into folk select n, 'no ' || n from generate_series(1, 20) n"
        )
        const folk = yield* RepoCache.make(People)
        const failure = yield* Effect.flip(folk.getAll([1, 3e10]))
        expect(failure).toMatchObject({ _tag: "DbError", code: "22003" })
        expect((yield* folk.stats).rows).toMatchObject({ size: 1, loadFailures: 1 })
        const [one, big] = yield* Effect.all(
          [folk.get(2), Effect.flip(folk.get(1.5)), ...Array.from({ length: 15 }, (_, n) => folk.get(n + 3))],
          { concurrency: "unbounded" }
        )
        expect(nameOf(one as never)).toBe("no 2")
        expect(big).toMatchObject({ _tag: "DbError", code: "22P02" })
        expect((yield* folk.stats).rows).toMatchObject({ size: 17, loadFailures: 2 })
      })
    )

    it.scoped("fails once, and not in pieces, where the table cannot be read", () =>
      Effect.gen(function* () {
        const counted = yield* setUp("drop table if exists folk")
        const folk = yield* RepoCache.make(People)
        const [failure, statements] = yield* counted(Effect.flip(folk.getAll([1, 2, 3, 4])))
        expect(failure).toMatchObject({ _tag: "DbError", code: "42P01" })
        expect(statements).toBe(1)
      })
    )

    it.scoped("asks for texts that are not there together", () =>
      Effect.gen(function* () {
        const counted = yield* setUp(
          "create extension if not exists citext; drop table if exists gadgets; create table gadgets (id citext primary key, name text not null); insert into gadgets values ('a', 'A'), ('b', 'B')"
        )
        const gadgets = yield* RepoCache.make(Devices)
        const names = (...keys: ReadonlyArray<string>) => counted(Effect.map(gadgets.getAll(keys), namesOf))
        expect(yield* names("x", "y", "z")).toEqual([[undefined, undefined, undefined], 1])
        expect(yield* names("a", "x", "y", "z")).toEqual([["A", undefined, undefined, undefined], 2])
        expect((yield* names("a", "A", "x", "B"))[0]).toEqual(["A", "A", undefined, "B"])
      })
    )
  })

  describe("a table whose schema is named in one place and not in another", () => {
    const script =
      "create schema if not exists tenant; drop table if exists folk, tenant.folk; create table folk (id int primary key, name text not null); insert into folk values (1, 'Ada'); create table tenant.folk (like folk including all); insert into tenant.folk values (1, 'Tessa')"
    for (const [held, written] of [
      [People, PublicPeople],
      [PublicPeople, People]
    ] as const)
      it.scoped(
        `is one: ${held.schema ?? "not named"} where it is read, ${written.schema ?? "not"} where it is written`,
        () =>
          Effect.gen(function* () {
            yield* setUp(script)
            const folk = yield* RepoCache.make(held)
            const strict = yield* RepoCache.make(held, { strict: true, name: "strict" })
            const gadgets = yield* RepoCache.make(Devices)
            const name = Effect.map(folk.fetch(1), ({ name }) => name)
            const queries = [
              folk.getOrLoad(
                "names",
                Effect.map(Repo.all(held), (rows) => rows.map(({ name }) => name).join())
              ),
              gadgets.getOrLoad(
                "names",
                Effect.map(Repo.all(held), (rows) => rows.map(({ name }) => name).join()),
                {
                  dependsOn: [held]
                }
              )
            ]
            const everything = Effect.all([name, ...queries, Effect.map(strict.fetch(1), ({ name }) => name)])
            const all = (value: string) => [value, value, value, value]
            expect(yield* everything).toEqual(all("Ada"))
            yield* Repo.update(written, 1, { name: "Bob" })
            expect(yield* everything).toEqual(all("Bob"))

            const wrote = yield* Deferred.make<void>()
            const go = yield* Deferred.make<void>()
            const writer = yield* Effect.fork(
              Repo.transact(
                Effect.gen(function* () {
                  yield* Repo.update(written, 1, { name: "Cyd" })
                  expect(yield* everything).toEqual(all("Cyd"))
                  yield* Deferred.succeed(wrote, undefined)
                  yield* Deferred.await(go)
                })
              )
            )
            yield* Effect.raceFirst(Deferred.await(wrote), Fiber.join(writer))
            const before = (yield* strict.stats).rows.hits
            expect((yield* strict.fetch(1)).name).toBe("Bob")
            expect((yield* strict.stats).rows.hits).toBe(before)
            yield* Deferred.succeed(go, undefined)
            yield* Fiber.join(writer)
            expect(yield* everything).toEqual(all("Cyd"))
          })
      )

    it.scoped("is two where both are named, and differ", () =>
      Effect.gen(function* () {
        const counted = yield* setUp(script)
        const folk = yield* RepoCache.make(PublicPeople)
        const count = folk.getOrLoad(
          "count",
          Effect.map(Repo.all(PublicPeople), (rows) => rows.length)
        )
        yield* Effect.all([folk.fetch(1), count])
        yield* Repo.update(Table.inSchema("tenant")(People), 1, { name: "Thea" })
        expect((yield* counted(Effect.all([folk.fetch(1), count])))[1]).toBe(0)
      })
    )
  })
})
