/** The tables that the tests of this folder use. */
import { Model, SqlClient } from "@effect/sql"
import { Effect, Layer, Logger, LogLevel, Schema } from "effect"
import * as Repo from "../../src/repo/Repo.js"
import * as Table from "../../src/repo/Table.js"
import { EmbeddedPostgres } from "../../src/testing.js"

export const PersonId = Schema.Number.pipe(Schema.brand("PersonId"))

export class Person extends Model.Class<Person>("Person")({
  id: Model.Generated(PersonId),
  firstName: Schema.String,
  email: Schema.String,
  age: Schema.Int,
  nickName: Model.FieldOption(Schema.String),
  createdAt: Model.DateTimeInsertFromDate,
  updatedAt: Model.DateTimeUpdateFromDate
}) {
  get greeting() {
    return `Hello ${this.firstName}`
  }
}

export const People = Table.make(Person, {
  name: "people",
  key: "id",
  constraints: {
    people_email_key: Table.unique("email"),
    people_age_check: Table.check("age"),
    pets_owner_id_fkey: Table.foreignKey("id")
  }
})

export class Pet extends Model.Class<Pet>("Pet")({
  id: Model.Generated(Schema.Number),
  ownerId: PersonId,
  name: Schema.String
}) {}

export const Pets = Table.make(Pet, {
  name: "pets",
  key: "id",
  constraints: { pets_owner_id_fkey: Table.foreignKey("ownerId") }
})

/** Both tables, empty. */
export const freshTables = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  yield* sql`drop table if exists people, pets, notes cascade`
  yield* sql`create table people (
    id bigint generated always as identity primary key,
    first_name text not null,
    email text not null constraint people_email_key unique,
    age int not null constraint people_age_check check (age >= 0),
    nick_name text,
    created_at timestamptz not null,
    updated_at timestamptz not null
  )`
  yield* sql`create table pets (
    id serial primary key,
    owner_id bigint not null constraint pets_owner_id_fkey references people,
    name text not null unique
  )`
  return sql
})

export const ada = { firstName: "Ada", email: "ada@example.org", age: 36 }

/** A Repo on a fresh database of its own. */
export const TestRepo = Repo.layer().pipe(Layer.provideMerge(EmbeddedPostgres))

/** Runs an effect and gives the debug lines of its statements, times cut out. */
export const logged = <A, E, R>(self: Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    const lines: Array<string> = []
    const logger = Logger.make(({ logLevel, message }) => {
      if (logLevel._tag === "Debug") lines.push(String(message).replace(/ db=\d+\.\dms/, ""))
    })
    const result = yield* self.pipe(
      Effect.provide(Logger.replace(Logger.defaultLogger, logger)),
      Logger.withMinimumLogLevel(LogLevel.Debug)
    )
    return { result, lines }
  })
