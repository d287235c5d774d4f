// @effect-diagnostics *:off
import { Model, type SqlClient, type SqlError } from "@effect/sql"
import { type BigDecimal, Context, Effect, type Option, Schema, type Stream } from "effect"
import { describe, expect, it } from "tstyche"
import * as Announcement from "../src/repo/Announcement.js"
import * as Repo from "../src/repo/Repo.js"
import type * as RepoError from "../src/repo/RepoError.js"
import * as Table from "../src/repo/Table.js"
import * as Transaction from "../src/repo/Transaction.js"

class Person extends Model.Class<Person>("Person")({
  id: Model.Generated(Schema.Number),
  email: Schema.String,
  age: Schema.NullOr(Schema.Number),
  wealth: Schema.BigIntFromSelf,
  price: Schema.BigDecimal,
  nick: Model.FieldOption(Schema.String),
  lockVersion: Model.Generated(Schema.Number),
  deletedAt: Model.Generated(Schema.NullOr(Schema.DateFromSelf))
}) {}
const constraints = { people_email_key: Table.unique("email") }
const People = Table.make(Person, { name: "people", key: "id", constraints })
const Kept = Table.make(Person, { name: "people", key: "id", version: "lockVersion", softDelete: "deletedAt" })

class Seat extends Model.Class<Seat>("Seat")({ row: Schema.Number, place: Schema.Number, guest: Schema.String }) {}
const Seats = Table.make(Seat, { name: "seats", key: ["row", "place"] })

declare const sql: SqlClient.SqlClient
declare const person: Person
const row = { email: "a", age: 1, wealth: 1n, price: null as unknown as BigDecimal.BigDecimal, nick: null as never }

type Unique = RepoError.UniqueViolation<"people_email_key">

describe("a table", () => {
  it("has a key of several fields as an object of them, and no other", () => {
    expect<Table.Key<typeof Seats>>().type.toBe<{ readonly row: number; readonly place: number }>()
    expect<Table.Update<typeof Seats>>().type.toBe<{ readonly guest?: string }>()
    expect(Repo.get).type.toBeCallableWith(Seats, { row: 1, place: 2 })
    expect(Repo.get).type.not.toBeCallableWith(Seats, { row: 1 })
    expect(Repo.get).type.not.toBeCallableWith(Seats, 1)
    expect(Repo.get).type.not.toBeCallableWith(Seats, [1, 2])
    expect(Table.make).type.not.toBeCallableWith(Seat, { name: "seats", key: [] })
    expect(Table.make).type.not.toBeCallableWith(Seat, { name: "seats", key: ["row", "plaze"] })
  })

  it("with a version adds StaleRow to update and delete, and takes no version from a patch", () => {
    expect(Repo.update(Kept, 1, { email: "b" })).type.toBe<
      Effect.Effect<
        Person,
        | RepoError.NotFound<"people">
        | RepoError.InvalidInput<"people">
        | RepoError.StaleRow<"people">
        | RepoError.StatementError,
        Repo.Repo
      >
    >()
    expect(Repo.delete(Kept, 1)).type.toBe<
      Effect.Effect<
        Person,
        RepoError.NotFound<"people"> | RepoError.StaleRow<"people"> | RepoError.StatementError,
        Repo.Repo
      >
    >()
    expect(Repo.update).type.not.toBeCallableWith(Kept, 1, { lockVersion: 2 })
    expect(Repo.update).type.not.toBeCallableWith(Kept, 1, { deletedAt: null })
    expect(Repo.update).type.toBeCallableWith(People, 1, { lockVersion: 2 })
    expect(Table.make).type.not.toBeCallableWith(Person, { name: "people", key: "id", version: "email" })
    expect(Table.make).type.not.toBeCallableWith(Person, { name: "people", key: "id", softDelete: "deleted" })
  })

  it("restores rows only where they are deleted softly", () => {
    expect(Repo.restore).type.toBeCallableWith(Kept, 1)
    expect(Repo.restore).type.not.toBeCallableWith(People, 1)
  })

  it("keeps its features under hooks and in another schema", () => {
    const other = Kept.pipe(Table.inSchema("tenant"), Table.hooks({ afterGet: (rows) => Effect.succeed(rows) }))
    expect(Repo.restore).type.toBeCallableWith(other, 1)
    expect<Table.VersionError<typeof other>>().type.toBe<RepoError.StaleRow<"people">>()
  })
})

describe("reading", () => {
  it("is strict by request, which shows", () => {
    expect(Repo.fetch(People, 1, { strict: true })).type.toBe<
      Effect.Effect<
        Person,
        RepoError.NotFound<"people"> | RepoError.InvalidInput<"people"> | RepoError.StatementError,
        Repo.Repo
      >
    >()
    expect(Repo.get).type.not.toBeCallableWith(People, 1, { withDelete: true })
  })

  it("preloads by request, with the errors and needs of the hooks it reaches", () => {
    class Needed extends Context.Tag("Needed")<Needed, string>() {}
    const Hooked = Seats.pipe(
      Table.hooks({
        afterGet: (rows) => Effect.flatMap(Needed, () => Effect.fail("hook" as const).pipe(Effect.as(rows)))
      })
    )
    const seats = Table.hasMany(Hooked, "row")
    const loaded = Repo.fetch(People, 1, { preload: { seats } })
    expect<Effect.Effect.Success<typeof loaded>>().type.toBe<Person & { readonly seats: ReadonlyArray<Seat> }>()
    expect<Effect.Effect.Error<typeof loaded>>().type.toBe<
      RepoError.NotFound<"people"> | RepoError.StatementError | "hook"
    >()
    expect<Effect.Effect.Context<typeof loaded>>().type.toBe<Repo.Repo | Needed>()
    expect(Repo.all(People)).type.toBe<Effect.Effect<ReadonlyArray<Person>, RepoError.StatementError, Repo.Repo>>()
  })

  it("reloads one row to one, and many to many", () => {
    expect(Repo.reload(People, person)).type.toBe<
      Effect.Effect<Option.Option<Person>, RepoError.StatementError, Repo.Repo>
    >()
    expect(Repo.reload(People, [person])).type.toBe<
      Effect.Effect<ReadonlyArray<Option.Option<Person>>, RepoError.StatementError, Repo.Repo>
    >()
    expect(Repo.reload).type.not.toBeCallableWith(Seats, person)
  })

  it("gives an aggregate the type of its field, and adds up numbers only", () => {
    type Worked<A> = Effect.Effect<A, RepoError.StatementError, Repo.Repo>
    expect(Repo.aggregate(People, "count", "nick")).type.toBe<Worked<number>>()
    expect(Repo.aggregate(People, "sum", "age")).type.toBe<Worked<Option.Option<number>>>()
    expect(Repo.aggregate(People, "sum", "wealth")).type.toBe<Worked<Option.Option<bigint>>>()
    expect(Repo.aggregate(People, "avg", "wealth")).type.toBe<Worked<Option.Option<number>>>()
    expect(Repo.aggregate(People, "avg", "price")).type.toBe<Worked<Option.Option<BigDecimal.BigDecimal>>>()
    expect(Repo.aggregate(People, "max", "nick")).type.toBe<Worked<Option.Option<string>>>()
    expect(Repo.aggregate(People, "min", "deletedAt")).type.toBe<Worked<Option.Option<Date>>>()
    expect(Repo.aggregate).type.not.toBeCallableWith(People, "sum", "email")
    expect(Repo.aggregate).type.not.toBeCallableWith(People, "avg", "deletedAt")
    expect(Repo.aggregate).type.not.toBeCallableWith(People, "median", "age")
    expect(Repo.aggregate).type.not.toBeCallableWith(People, "max", "mail")
  })

  it("pages by fields of the model", () => {
    expect(Repo.page(People, { first: 1, orderBy: ["age", ["email", "desc"]], total: true })).type.toBe<
      Effect.Effect<Repo.Page<Person>, RepoError.InvalidInput<"people"> | RepoError.StatementError, Repo.Repo>
    >()
    expect(Repo.page).type.not.toBeCallableWith(People, { first: 1, orderBy: ["mail"] })
    expect(Repo.page).type.not.toBeCallableWith(People, { first: 1, orderBy: [["email", "up"]] })
    expect(Repo.page).type.not.toBeCallableWith(People, {})
  })

  it("streams rows", () => {
    expect(Repo.stream).type.toBeCallableWith(People, { age: 1 }, { chunkSize: 5 })
    expect(Repo.stream).type.not.toBeCallableWith(People, { age: 1 }, { chunkSize: "5" })
    expect(Repo.count).type.not.toBeCallableWith(People, { age: 1 }, { chunkSize: 5 })
    expect(Repo.stream(People, { age: 1 })).type.toBe<Stream.Stream<Person, RepoError.StatementError, Repo.Repo>>()
    expect(Repo.stream).type.not.toBeCallableWith(People, { agee: 1 })
  })

  it("decodes what another effect reads, with that one's errors and needs", () => {
    expect(Repo.decode(People, sql`select * from people`)).type.toBe<
      Effect.Effect<ReadonlyArray<Person>, RepoError.StatementError, Repo.Repo>
    >()
    const query = null as unknown as Effect.Effect<
      ReadonlyArray<{ readonly id: number }>,
      "mine" | SqlError.SqlError,
      SqlClient.SqlClient
    >
    expect(Repo.decode(People, query)).type.toBe<
      Effect.Effect<ReadonlyArray<Person>, "mine" | RepoError.StatementError, SqlClient.SqlClient | Repo.Repo>
    >()
    expect(Repo.decode).type.not.toBeCallableWith(People, [1])
  })
})

describe("a layer", () => {
  it("takes what all of its transactions get, and the function of the pool for a password", () => {
    expect(Repo.layer).type.toBeCallableWith({
      transactions: { isolation: "serializable", lockTimeout: "2 seconds" },
      password: () => Promise.resolve("secret")
    })
    expect(Repo.layer).type.not.toBeCallableWith({ transactions: { isolation: "strict" } })
    expect(Repo.layer).type.not.toBeCallableWith({ transactions: { timeout: "2 seconds" } })
    expect(Repo.layer).type.not.toBeCallableWith({ password: "secret" })
  })
})

describe("writing", () => {
  it("an insert whose conflict is answered with nothing may give no row", () => {
    expect(Repo.insert(People, row, { onConflict: { target: ["email"], action: "nothing" } })).type.toBe<
      Effect.Effect<
        Option.Option<Person>,
        RepoError.InvalidInput<"people"> | Unique | RepoError.StatementError,
        Repo.Repo
      >
    >()
    type Replaced = Effect.Effect<
      Person,
      RepoError.InvalidInput<"people"> | Unique | RepoError.StatementError,
      Repo.Repo
    >
    expect(Repo.insert(People, row, { onConflict: { target: ["email"], action: "replace" } })).type.toBe<Replaced>()
    expect(Repo.upsert(People, row, { target: ["email"] })).type.toBe<Replaced>()
    expect(Repo.insert).type.not.toBeCallableWith(People, row, { onConflict: { action: "replace" } })
    expect(Repo.insert).type.not.toBeCallableWith(People, row, { onConflict: { target: ["mail"], action: "nothing" } })
    expect(Repo.insert).type.not.toBeCallableWith(People, row, {
      onConflict: { target: ["email"], action: { replace: [] } }
    })
    const target = { constraint: "people_email_key" } as const
    expect(Repo.upsert(People, row, { target })).type.toBe<Replaced>()
    expect(Repo.upsert(People, row, { target: { fields: ["email"], where: sql`age > 1` } })).type.toBe<Replaced>()
    expect(Repo.upsert(People, row, { target: { expression: sql`lower(email)` } })).type.toBe<Replaced>()
    expect(Repo.upsert).type.not.toBeCallableWith(People, row, { target: { constraint: "people_age_key" } })
    expect(Repo.upsert).type.not.toBeCallableWith(Seats, null as never, { target })
    expect(Repo.upsert).type.not.toBeCallableWith(People, row, { target: { fields: ["mail"], where: sql`age > 1` } })
    expect(Repo.upsert).type.not.toBeCallableWith(People, row, { target: { fields: ["email"], where: "age > 1" } })
    expect(Repo.upsert).type.not.toBeCallableWith(People, row, { target: { expression: "lower(email)" } })
    expect(Repo.upsert).type.not.toBeCallableWith(People, row, {})
    expect(Repo.upsert).type.not.toBeCallableWith(People, row, { target: ["email"], action: "nothing" })
  })

  it("of a row that may be gone gives an Option, and does not fail for that", () => {
    type Failure = RepoError.InvalidInput<"people"> | RepoError.StatementError
    const key = 1
    expect(Repo.update(Kept, key, { age: 1 }, { allowStale: true })).type.toBe<
      Effect.Effect<Option.Option<Person>, Failure, Repo.Repo>
    >()
    expect(Repo.delete(Kept, person, { allowStale: true })).type.toBe<
      Effect.Effect<Option.Option<Person>, RepoError.StatementError, Repo.Repo>
    >()
    expect(Repo.delete(Kept, person, {})).type.toBe<
      Effect.Effect<
        Person,
        RepoError.NotFound<"people"> | RepoError.StaleRow<"people"> | RepoError.StatementError,
        Repo.Repo
      >
    >()
    expect(Repo.delete).type.not.toBeCallableWith(Kept, key, { allowStale: "yes" })
    expect(Repo.update).type.not.toBeCallableWith(Kept, key, { age: 1 }, { alowStale: true })
  })

  it("modify gives its function the row and a transaction, and adds what that fails with and needs", () => {
    const modified = Repo.modify(People, 1, (found) => {
      expect(found).type.toBe<Person>()
      return Effect.as(Transaction.afterCommit(Effect.void), { age: found.age })
    })
    expect(modified).type.toBe<
      Effect.Effect<
        Person,
        RepoError.NotFound<"people"> | RepoError.InvalidInput<"people"> | Unique | RepoError.StatementError,
        Repo.Repo
      >
    >()
    expect<Effect.Effect.Error<ReturnType<typeof failing>>>().type.toBe<
      | "no"
      | RepoError.NotFound<"people">
      | RepoError.InvalidInput<"people">
      | RepoError.LockTimeout
      | Unique
      | RepoError.StatementError
    >()
    expect(Repo.modify).type.not.toBeCallableWith(People, 1, () => Effect.succeed({ agee: 1 }))
    expect(Repo.modify).type.not.toBeCallableWith(People, 1, () => Effect.succeed({ id: 1 }))
    expect(Repo.modify).type.not.toBeCallableWith(People, 1, () => Effect.succeed({}), { wait: "skip locked" })
  })

  it("many rows says how many, or gives them when asked", () => {
    expect<Effect.Effect.Success<ReturnType<typeof counted>>>().type.toBe<number>()
    expect<Effect.Effect.Success<ReturnType<typeof given>>>().type.toBe<ReadonlyArray<Person>>()
    expect<Effect.Effect.Error<ReturnType<typeof counted>>>().type.toBe<
      RepoError.InvalidInput<"people"> | Unique | RepoError.StatementError
    >()
    expect(Repo.insertAll).type.not.toBeCallableWith(People, [{ email: "a" }])
    const query = sql`select email from guests`
    expect(Repo.insertAll(People, { fields: ["email"], query, values: { age: 1 } })).type.toBe<
      ReturnType<typeof counted>
    >()
    expect(Repo.insertAll).type.not.toBeCallableWith(People, { fields: ["id"], query })
    expect(Repo.insertAll).type.not.toBeCallableWith(People, { fields: [], query })
    expect(Repo.insertAll).type.not.toBeCallableWith(People, { fields: ["email"], query: "select email from guests" })
    expect(Repo.insertAll).type.not.toBeCallableWith(People, { fields: ["email"], query, values: { age: "1" } })
  })

  it("many rows takes no empty condition, and none at all", () => {
    expect(Repo.updateAll).type.toBeCallableWith(People, { age: 1 }, { email: "a" })
    expect(Repo.updateAll).type.toBeCallableWith(People, Repo.everything, { email: "a" })
    expect(Repo.deleteAll).type.toBeCallableWith(People, sql`age > 1`)
    expect(Repo.deleteAll).type.not.toBeCallableWith(People)
    expect(Repo.deleteAll).type.not.toBeCallableWith(People, {})
    expect(Repo.deleteAll).type.not.toBeCallableWith(People, undefined)
    expect(Repo.deleteAll).type.not.toBeCallableWith(People, { where: { age: 1 } })
    expect(Repo.deleteAll).type.not.toBeCallableWith(People, "age > 1")
    expect(Repo.updateAll).type.not.toBeCallableWith(People, {}, { email: "a" })
    expect(Repo.updateAll).type.not.toBeCallableWith(People, { age: 1 }, { id: 1 })
    expect(Repo.all).type.not.toBeCallableWith(People, Repo.everything)
  })

  it("is announced by keys of the table", () => {
    expect(Announcement.touch).type.toBeCallableWith(People, [1])
    expect(Announcement.touch).type.not.toBeCallableWith(People, ["1"])
    expect(Announcement.touch).type.not.toBeCallableWith(Seats, [{ row: 1 }])
  })
})

const failing = () => Repo.modify(People, 1, () => Effect.fail("no" as const), { wait: "1 second" })
const counted = () => Repo.insertAll(People, [row])
const given = () => Repo.updateAll(People, { age: [1, null] }, { email: "a" }, { returning: true })
