// @effect-diagnostics *:off
import { Model, type SqlClient } from "@effect/sql"
import { Context, Data, Effect, type Layer, type Option, Schema } from "effect"
import { describe, expect, it } from "tstyche"
import * as Repo from "../src/repo/Repo.js"
import type * as RepoError from "../src/repo/RepoError.js"
import * as Table from "../src/repo/Table.js"
import type * as Transaction from "../src/repo/Transaction.js"

const PersonId = Schema.Number.pipe(Schema.brand("PersonId"))

class Person extends Model.Class<Person>("Person")({
  id: Model.Generated(PersonId),
  email: Schema.String,
  age: Schema.Number,
  createdAt: Model.DateTimeInsert
}) {}

class TooYoung extends Data.TaggedError("TooYoung") {}
class Cache extends Context.Tag("Cache")<Cache, { readonly drop: Effect.Effect<void> }>() {}

const People = Table.make(Person, {
  name: "people",
  key: "id",
  constraints: { people_email_key: Table.unique("email"), people_age_check: Table.check("age") }
})
const Hooked = People.pipe(
  Table.hooks({
    beforeInsert: (row) => (row.age < 18 ? Effect.fail(new TooYoung()) : Effect.succeed(row)),
    afterGet: (rows) =>
      Effect.as(
        Effect.flatMap(Cache, (cache) => cache.drop),
        rows
      )
  })
)
const id = PersonId.make(1)

describe("Repo", () => {
  it("reads instances of the model, and names the table in NotFound", () => {
    expect(Repo.get(People, id)).type.toBe<Effect.Effect<Option.Option<Person>, RepoError.StatementError, Repo.Repo>>()
    expect(Repo.fetch(People, id)).type.toBe<
      Effect.Effect<Person, RepoError.NotFound<"people"> | RepoError.StatementError, Repo.Repo>
    >()
    expect(Repo.all(People)).type.toBe<Effect.Effect<ReadonlyArray<Person>, RepoError.StatementError, Repo.Repo>>()
    expect(Repo.count(People)).type.toBe<Effect.Effect<number, RepoError.StatementError, Repo.Repo>>()
  })

  it("fails writes with the constraints that the table declares, by name", () => {
    expect(Repo.insert(People, { email: "a", age: 1 })).type.toBe<
      Effect.Effect<
        Person,
        | RepoError.InvalidInput<"people">
        | RepoError.UniqueViolation<"people_email_key">
        | RepoError.CheckViolation<"people_age_check">
        | RepoError.StatementError,
        Repo.Repo
      >
    >()
    expect(Repo.delete(Table.make(Person, { name: "plain", key: "id" }), id)).type.toBe<
      Effect.Effect<Person, RepoError.NotFound<"plain"> | RepoError.StatementError, Repo.Repo>
    >()
  })

  it("shows what hooks fail with and need at the calls that run them, and only there", () => {
    expect(Repo.insert(Hooked, { email: "a", age: 1 })).type.toBe<
      Effect.Effect<
        Person,
        | TooYoung
        | RepoError.InvalidInput<"people">
        | RepoError.UniqueViolation<"people_email_key">
        | RepoError.CheckViolation<"people_age_check">
        | RepoError.StatementError,
        Repo.Repo
      >
    >()
    expect(Repo.get(Hooked, id)).type.toBe<
      Effect.Effect<Option.Option<Person>, RepoError.StatementError, Repo.Repo | Cache>
    >()
    expect(Repo.delete(Hooked, id)).type.toBe<
      Effect.Effect<
        Person,
        | RepoError.NotFound<"people">
        | RepoError.UniqueViolation<"people_email_key">
        | RepoError.CheckViolation<"people_age_check">
        | RepoError.StatementError,
        Repo.Repo
      >
    >()
  })

  it("takes keys of the table's own type only", () => {
    expect(Repo.get).type.toBeCallableWith(People, id)
    expect(Repo.get).type.not.toBeCallableWith(People, 1)
    expect(Repo.get).type.not.toBeCallableWith(People, "1")
    expect(Repo.fetch).type.not.toBeCallableWith(People, 1)
    expect(Repo.delete).type.not.toBeCallableWith(People, 1)
    expect(Repo.update).type.not.toBeCallableWith(People, 1, {})
  })

  it("takes fields of the model only", () => {
    expect(Repo.insert).type.not.toBeCallableWith(People, { email: "a" })
    expect(Repo.insert).type.not.toBeCallableWith(People, { email: "a", age: "1" })
    expect(Repo.insert).type.not.toBeCallableWith(People, { id, email: "a", age: 1 })
    expect(Repo.update).type.toBeCallableWith(People, id, { age: 2 })
    expect(Repo.update).type.not.toBeCallableWith(People, id, { id })
    expect(Repo.update).type.not.toBeCallableWith(People, id, { agee: 2 })
    expect(Repo.all).type.toBeCallableWith(People, { age: [1, 2] })
    expect(Repo.all).type.not.toBeCallableWith(People, { agee: 1 })
  })

  it("locks rows inside of a transaction only, and fails with LockTimeout only when a wait can end", () => {
    expect(Repo.fetch(People, id, { lock: "update" })).type.toBe<
      Effect.Effect<
        Person,
        RepoError.NotFound<"people"> | RepoError.StatementError,
        Repo.Repo | Transaction.Transaction
      >
    >()
    expect(Repo.get(People, id, { lock: "share", wait: "nowait" })).type.toBe<
      Effect.Effect<
        Option.Option<Person>,
        RepoError.LockTimeout | RepoError.StatementError,
        Repo.Repo | Transaction.Transaction
      >
    >()
    const unknownOptions: Repo.ReadOptions = {}
    expect(Repo.get(People, id, unknownOptions)).type.toBe<
      Effect.Effect<
        Option.Option<Person>,
        RepoError.LockTimeout | RepoError.InvalidInput<"people"> | RepoError.StatementError,
        Repo.Repo | Transaction.Transaction
      >
    >()
    expect(Repo.transact(Repo.get(People, id, { lock: "key share" }))).type.toBe<
      Effect.Effect<Option.Option<Person>, Transaction.TransactError, Repo.Repo>
    >()
    expect(Repo.get).type.not.toBeCallableWith(People, id, { lock: "exclusive" })
    expect(Repo.get).type.not.toBeCallableWith(People, id, { lok: "update" })
  })

  it("takes no option that does not exist, beside others neither", () => {
    expect(Repo.get).type.toBeCallableWith(People, id, { lock: "update", wait: "nowait" })
    expect(Repo.get).type.not.toBeCallableWith(People, id, { lock: "update", wiat: "nowait" })
    expect(Repo.all).type.not.toBeCallableWith(People, {}, { strict: true, withDelted: true })
    expect(Repo.insertAll).type.not.toBeCallableWith(People, [], { returning: true, onConflit: { action: "nothing" } })
    expect(Repo.delete).type.not.toBeCallableWith(People, id, { allowStale: true, alowStale: true })
    const either = (Math.random() < 2 ? { lock: "update" } : { strict: true }) as { lock: "update" } | { strict: true }
    expect(Repo.get).type.toBeCallableWith(People, id, either)
  })

  it("finds by fields of the model", () => {
    expect(Repo.fetchBy(People, { email: "a" })).type.toBe<
      Effect.Effect<
        Person,
        RepoError.NotFound<"people"> | RepoError.MultipleResults<"people"> | RepoError.StatementError,
        Repo.Repo
      >
    >()
    expect(Repo.getBy).type.not.toBeCallableWith(People, { mail: "a" })
    expect(Repo.exists(People)).type.toBe<Effect.Effect<boolean, RepoError.StatementError, Repo.Repo>>()
  })

  it("takes an array as one value where the field is an array, and as a list of values elsewhere", () => {
    class Post extends Model.Class<Post>("Post")({
      id: Schema.Number,
      tags: Schema.Array(Schema.String),
      city: Schema.NullOr(Schema.String)
    }) {}
    const Posts = Table.make(Post, { name: "posts", key: "id" })
    expect(Repo.all).type.toBeCallableWith(Posts, { tags: ["a"], city: ["x", null] })
    expect(Repo.all).type.not.toBeCallableWith(Posts, { tags: [["a"], ["b"]] })
    expect(Repo.all).type.not.toBeCallableWith(Posts, { city: [["x"]] })
    expect(Repo.all).type.not.toBeCallableWith(Posts, { city: undefined })
  })

  it("types what it preloads, nested too, with the needs of all hooks on the way", () => {
    class Pet extends Model.Class<Pet>("Pet")({ id: Schema.Number, ownerId: PersonId, name: Schema.String }) {}
    const Pets = Table.make(Pet, { name: "pets", key: "id" }).pipe(
      Table.hooks({
        afterGet: (rows) =>
          Effect.as(
            Effect.flatMap(Cache, (cache) => cache.drop),
            rows
          )
      })
    )
    const owner = Table.belongsTo(People, "ownerId")
    const pets = Table.hasMany(Pets, "ownerId", { owner })
    const loaded = Repo.preload(People, [] as ReadonlyArray<Person>, { pets })
    expect<Effect.Effect.Error<typeof loaded>>().type.toBe<RepoError.StatementError>()
    expect<Effect.Effect.Context<typeof loaded>>().type.toBe<Repo.Repo | Cache>()
    const names = Effect.map(loaded, (people) =>
      people.flatMap((person) => person.pets.map((pet) => [person.email, pet.name, pet.owner?.email] as const))
    )
    expect<Effect.Effect.Success<typeof names>>().type.toBe<Array<readonly [string, string, string | undefined]>>()
    expect(Repo.preload).type.not.toBeCallableWith(Pets, [] as ReadonlyArray<Person>, { owner })
    expect(Table.hasMany).type.not.toBeCallableWith(Pets, "owner")
  })

  it("is provided by a layer on any SqlClient, which is provided again", () => {
    expect(Repo.layer()).type.toBe<Layer.Layer<Repo.Repo | SqlClient.SqlClient, never, SqlClient.SqlClient>>()
  })
})
