import { Model } from "@effect/sql"
import { describe, expect, layer } from "@effect/vitest"
import { Cause, Effect, Exit, Option, Schema } from "effect"
import * as Repo from "../../src/repo/Repo.js"
import * as Table from "../../src/repo/Table.js"
import { ada, freshTables, logged, People, Person, Pet, Pets, TestRepo } from "./people.js"

class Toy extends Model.Class<Toy>("Toy")({
  id: Model.Generated(Schema.Number),
  petId: Model.FieldOption(Schema.Number),
  name: Schema.String
}) {}
const Toys = Table.make(Toy, { name: "toys", key: "id" })

const toys = Table.hasMany(Toys, "petId")
const pets = Table.hasMany(Pets, "ownerId", { toys })
const owner = Table.belongsTo(People, "ownerId")
const pet = Table.belongsTo(Pets, "petId", { owner })
const firstPet = Table.hasOne(Pets, "ownerId")

const filled = Effect.gen(function* () {
  const sql = yield* freshTables
  yield* sql`drop table if exists toys`
  yield* sql`create table toys (id serial primary key, pet_id int references pets, name text not null)`
  const person = (name: string) =>
    Repo.insert(People, { ...ada, firstName: name, email: name, nickName: Option.none() })
  const [one, two, three] = [yield* person("one"), yield* person("two"), yield* person("three")]
  const rex = yield* Repo.insert(Pets, { ownerId: one.id, name: "Rex" })
  const tom = yield* Repo.insert(Pets, { ownerId: one.id, name: "Tom" })
  const kit = yield* Repo.insert(Pets, { ownerId: three.id, name: "Kit" })
  yield* Repo.insert(Toys, { petId: Option.some(rex.id), name: "ball" })
  yield* Repo.insert(Toys, { petId: Option.some(kit.id), name: "mouse" })
  const lost = yield* Repo.insert(Toys, { petId: Option.none(), name: "lost" })
  return { people: [one, two, three], rex, tom, kit, lost }
})

describe("preload", () => {
  layer(TestRepo, { excludeTestServices: true })((it) => {
    it.effect("puts the rows that belong to each row on it, with one query for each association, nested too", () =>
      Effect.gen(function* () {
        const { people } = yield* filled
        const { lines, result } = yield* logged(Repo.preload(People, people, { pets }))
        expect(
          result.map((person) => [
            person.firstName,
            person.pets.map((one) => [one.name, one.toys.map((toy) => toy.name)]).sort()
          ])
        ).toEqual([
          [
            "one",
            [
              ["Rex", ["ball"]],
              ["Tom", []]
            ]
          ],
          ["two", []],
          ["three", [["Kit", ["mouse"]]]]
        ])
        expect(lines.map((line) => line.split("\n")[0])).toEqual([`QUERY OK source="pets"`, `QUERY OK source="toys"`])
      })
    )

    it.effect("leaves the rows it was given as they are, and gives instances of their class", () =>
      Effect.gen(function* () {
        const { people } = yield* filled
        const [first] = people
        const [loaded] = yield* Repo.preload(People, people, { pets })
        expect(first).not.toHaveProperty("pets")
        expect(loaded).toBeInstanceOf(Person)
        expect(loaded?.greeting).toBe("Hello one")
        expect(loaded?.pets[0]).toBeInstanceOf(Pet)
      })
    )

    it.effect("follows a field to the row it refers to, and finds null where it refers to none", () =>
      Effect.gen(function* () {
        const { lost, rex } = yield* filled
        const one = yield* Repo.preload(Pets, rex, { owner })
        expect(one.owner?.firstName).toBe("one")
        const all = yield* Effect.flatMap(Repo.all(Toys), (rows) => Repo.preload(Toys, rows, { pet }))
        expect(all.map((toy) => [toy.name, toy.pet?.name, toy.pet?.owner?.firstName]).sort()).toEqual([
          ["ball", "Rex", "one"],
          ["lost", undefined, undefined],
          ["mouse", "Kit", "three"]
        ])
        const { lines, result } = yield* logged(Repo.preload(Toys, lost, { pet }))
        expect(result.pet).toBeNull()
        expect(lines).toEqual([])
      })
    )

    it.effect("finds one where one is asked for, several associations at once, in a transaction too", () =>
      Effect.gen(function* () {
        const { people } = yield* filled
        const loaded = yield* Repo.transact(Repo.preload(People, people, { pets, firstPet }))
        expect(loaded.map((person) => [person.pets.length, person.firstPet === null])).toEqual([
          [2, false],
          [0, true],
          [1, false]
        ])
      })
    )

    it.effect("refuses what no row can have: a reference by a field that there is not, a name that hides a field", () =>
      Effect.gen(function* () {
        yield* filled
        const defect = <A, E, R>(self: Effect.Effect<A, E, R>) =>
          Effect.map(Effect.exit(self), (exit) => (Exit.isFailure(exit) ? Cause.pretty(exit.cause) : "it succeeded"))
        const misspelt = Table.belongsTo(People, "ownerID")
        const missing = "pets has no field ownerID in its model, by which association owner refers to a row"
        expect(yield* defect(Repo.all(Pets, {}, { preload: { owner: misspelt } }))).toContain(missing)
        expect(yield* defect(Repo.preload(Pets, [], { owner: misspelt }))).toContain(missing)
        const nested = { pets: Table.hasMany(Pets, "ownerId", { owner: misspelt }) }
        expect(yield* defect(Repo.all(People, {}, { preload: nested }))).toContain(missing)
        expect(yield* defect(Repo.all(Pets, {}, { preload: { name: owner } }))).toContain(
          "association name would hide the field name of pets: preload it under another name"
        )
      })
    )

    it.effect("finds a row by a number that its model has as a bigint, and the other way round", () =>
      Effect.gen(function* () {
        const { people, rex } = yield* filled
        class BigPet extends Model.Class<BigPet>("BigPet")({
          id: Schema.BigIntFromSelf,
          ownerId: Model.FieldOption(Schema.BigIntFromSelf),
          name: Schema.String
        }) {}
        const BigPets = Table.make(BigPet, { name: "pets", key: "id" })
        const loaded = yield* Repo.preload(People, people, { pets: Table.hasMany(BigPets, "ownerId") })
        expect(loaded.map((person) => person.pets.map(({ name }) => name).sort())).toEqual([
          ["Rex", "Tom"],
          [],
          ["Kit"]
        ])
        const one = yield* Repo.fetch(BigPets, BigInt(rex.id), {
          preload: { owner: Table.belongsTo(People, "ownerId"), toys: Table.hasMany(Toys, "petId") }
        })
        expect([one.owner?.firstName, one.toys.map(({ name }) => name)]).toEqual(["one", ["ball"]])
      })
    )

    it.effect("of no rows asks nothing", () =>
      Effect.gen(function* () {
        yield* filled
        const { lines, result } = yield* logged(Repo.preload(People, [], { pets }))
        expect({ lines, result }).toEqual({ lines: [], result: [] })
      })
    )

    it.effect("runs afterGet on the children first, then on the rows", () =>
      Effect.gen(function* () {
        const { people } = yield* filled
        const events: Array<unknown> = []
        const noting = <A>(name: string, rows: ReadonlyArray<A>, call: string) =>
          Effect.sync(() => {
            events.push([name, call, rows.length])
            return rows
          })
        const HookedPets = Pets.pipe(Table.hooks({ afterGet: (rows, { call }) => noting("pets", rows, call) }))
        const HookedToys = Toys.pipe(Table.hooks({ afterGet: (rows, { call }) => noting("toys", rows, call) }))
        const HookedPeople = People.pipe(
          Table.hooks({
            afterGet: (rows) =>
              Effect.sync(() => {
                events.push(["people", rows.length])
                return rows.map((row) => new Person({ ...row, firstName: row.firstName.toUpperCase() }))
              })
          })
        )
        const loaded = yield* Repo.preload(HookedPeople, people, {
          pets: Table.hasMany(HookedPets, "ownerId", { toys: Table.hasMany(HookedToys, "petId") })
        })
        expect(events).toEqual([
          ["toys", "preload", 2],
          ["pets", "preload", 3],
          ["people", 3]
        ])
        expect(loaded.map((person) => [person.firstName, person.pets.length])).toEqual([
          ["ONE", 2],
          ["TWO", 0],
          ["THREE", 1]
        ])
      })
    )
  })
})
