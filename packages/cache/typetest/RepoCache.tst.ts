// @effect-diagnostics *:off
import { Model } from "@effect/sql"
import { RepoCache } from "@effecto/cache"
import { type Repo, Table } from "@effecto/core"
import type { NotFound } from "@effecto/core/RepoError"
import { Context, Effect, type Layer, type Option, Schema, type Scope } from "effect"
import { describe, expect, test } from "tstyche"

class Person extends Model.Class<Person>("Person")({ id: Schema.Number, name: Schema.String }) {}
class Seat extends Model.Class<Seat>("Seat")({ hall: Schema.String, number: Schema.Number, taken: Schema.Boolean }) {}
class Audit extends Context.Tag("Audit")<Audit, { readonly seen: Effect.Effect<void> }>() {}

const People = Table.make(Person, { name: "people", key: "id" })
const Seats = Table.make(Seat, { name: "seats", key: ["hall", "number"] })
const Audited = People.pipe(
  Table.hooks({
    afterGet: (rows) =>
      Effect.as(
        Effect.flatMap(Audit, ({ seen }) => seen),
        rows
      )
  })
)
declare const people: RepoCache.RepoCache<typeof People>
declare const seats: RepoCache.RepoCache<typeof Seats>

describe("layer and make", () => {
  test("need a Repo, and what the table's hooks need", () => {
    expect(RepoCache.layer(People)).type.toBe<Layer.Layer<RepoCache.RepoCache<typeof People>, never, Repo.Repo>>()
    expect(RepoCache.make(Audited)).type.toBe<
      Effect.Effect<RepoCache.RepoCache<typeof Audited>, never, Repo.Repo | Audit | Scope.Scope>
    >()
  })

  test("take no option that a table decides", () => {
    expect(RepoCache.layer).type.not.toBeCallableWith(People, { lookup: () => Effect.void })
  })
})

describe("get, fetch, getAll", () => {
  test("know the table's key, row and errors", () => {
    expect(people.get(1)).type.toBe<Effect.Effect<Option.Option<Person>, Repo.ReadError<typeof People>>>()
    expect(people.fetch(1)).type.toBe<Effect.Effect<Person, NotFound<"people"> | Repo.ReadError<typeof People>>>()
    expect(people.get).type.not.toBeCallableWith("1")
    expect(seats.get).type.toBeCallableWith({ hall: "a", number: 1 })
    expect(seats.get).type.not.toBeCallableWith({ hall: "a" })
    expect(people.getAll([1])).type.toBe<
      Effect.Effect<ReadonlyArray<Option.Option<Person>>, Repo.ReadError<typeof People>>
    >()
  })

  test("of the module need the cache of that table", () => {
    expect(RepoCache.fetch(People, 1)).type.toBe<
      Effect.Effect<Person, NotFound<"people"> | Repo.ReadError<typeof People>, RepoCache.RepoCache<typeof People>>
    >()
  })
})

describe("getOrLoad", () => {
  test("keeps the type of its query, and depends on tables only", () => {
    const query = Effect.as(Audit, 1)
    expect(people.getOrLoad("count", query, { dependsOn: [Seats] })).type.toBe<Effect.Effect<number, never, Audit>>()
    expect(people.getOrLoad).type.not.toBeCallableWith("count", query, { dependsOn: ["seats"] })
  })
})
