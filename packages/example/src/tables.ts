/** The application's two tables, and the migrations that make them and load the countries. */
import { Migrator, Model, SqlClient } from "@effect/sql"
import { Table } from "@effecto/core"
import { countries } from "countries-list"
import { Effect, Layer, Logger, LogLevel, Schema } from "effect"

export class Person extends Model.Class<Person>("Person")({
  id: Model.Generated(Schema.Number),
  firstName: Schema.String,
  lastName: Schema.String,
  age: Schema.Number
}) {}

export const People = Table.make(Person, { name: "people", key: "id" })

export class Country extends Model.Class<Country>("Country")({
  code: Schema.String,
  name: Schema.String,
  capital: Schema.String
}) {}

export const Countries = Table.make(Country, { name: "countries", key: "code" })

/** The 249 of ISO 3166 and Kosovo: of the package's territories, the two that share a code's place with Saint Helena are left out. */
const world = Object.entries(countries)
  .filter(([code]) => code !== "AC" && code !== "TA")
  .map(([code, { capital, name }]) => ({ code, name, capital }))

const migrate = Migrator.make({})({
  loader: Migrator.fromRecord({
    "0001_create_people": Effect.flatMap(
      SqlClient.SqlClient,
      (sql) => sql`create table people (
        id serial primary key,
        first_name text not null,
        last_name text not null,
        age integer not null
      )`
    ),
    "0002_create_countries": Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      yield* sql`create table countries (code char(2) primary key, name text not null, capital text not null)`
      yield* sql`insert into countries ${sql.insert(world)}`
    })
  })
})

/** Brings the database up to date before anything that is provided with this layer runs. */
export const Migrations = Layer.effectDiscard(Logger.withMinimumLogLevel(migrate, LogLevel.Info))
