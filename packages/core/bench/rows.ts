/** What the benches of the Repo share: tables with rows in them, and the ways to reach them. */
import { Model, SqlClient } from "@effect/sql"
import { PgClient } from "@effect/sql-pg"
import { Repo, Table } from "@effecto/core"
import { EmbeddedPostgres } from "@effecto/core/testing"
import { Effect, Layer, ManagedRuntime, Schema } from "effect"

export class Person extends Model.Class<Person>("Person")({
  id: Schema.Number,
  firstName: Schema.String,
  lastName: Schema.String,
  email: Schema.String,
  age: Schema.Number,
  isActive: Schema.Boolean,
  city: Schema.NullOr(Schema.String)
}) {}

export const People = Table.make(Person, { name: "people", key: "id" })

export class Post extends Model.Class<Post>("Post")({
  id: Schema.Number,
  personId: Schema.Number,
  title: Schema.String
}) {}

export const Posts = Table.make(Post, { name: "posts", key: "id" })

export class Entry extends Model.Class<Entry>("Entry")({
  id: Model.Generated(Schema.Number),
  ownerName: Schema.String,
  amount: Schema.Number,
  isOpen: Schema.Boolean,
  note: Schema.NullOr(Schema.String)
}) {}

export const Entries = Table.make(Entry, { name: "entries", key: "id" })

export const rows = 1000
export const columns = "id, first_name, last_name, email, age, is_active, city"

const filled = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  yield* sql`create table people (id int primary key, first_name text not null, last_name text not null, email text not null, age int not null, is_active bool not null, city text)`
  yield* sql`insert into people select i, 'first ' || i, 'last ' || i, i || '@example.org', i % 100, i % 2 = 0, case when i % 3 = 0 then 'Berlin' end from generate_series(1, ${rows}) i`
  yield* sql`create table posts (id int primary key, person_id int not null references people, title text not null)`
  yield* sql`insert into posts select i, (i - 1) / 10 + 1, 'post ' || i from generate_series(1, ${rows}) i`
  yield* sql`create index on posts (person_id)`
  yield* sql`create table entries (id int generated always as identity primary key, owner_name text not null, amount int not null, is_open bool not null, note text)`
  yield* sql`analyze`
})

/** @effect/sql's client as its users configure it for columns in snake case. */
const transforming = Layer.unwrapEffect(
  Effect.map(PgClient.PgClient, ({ config }) =>
    PgClient.layer({
      ...config,
      transformQueryNames: (name) => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`),
      transformResultNames: (name) => name.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase())
    })
  )
)

const plain = Layer.unwrapEffect(Effect.as(filled, Layer.empty)).pipe(
  Layer.provideMerge(transforming),
  Layer.provide(EmbeddedPostgres)
)

/** How the server is reached without Effect. */
export interface Address {
  readonly host: string
  readonly port: number
  readonly database: string
  readonly user: string
}

/** A program's runtime, and the address of its database. */
const open = async <R, E>(live: Layer.Layer<R | PgClient.PgClient, E>) => {
  const runtime = ManagedRuntime.make(live)
  const { database, host, port, username } = await runtime.runPromise(
    Effect.map(PgClient.PgClient, (client) => client.config)
  )
  const address: Address = {
    host: host ?? "localhost",
    port: port ?? 5432,
    database: database ?? "postgres",
    user: username ?? "postgres"
  }
  return { runtime, address }
}

/** With @effect/sql's own client. */
export const database = () => open(plain)

/** With a Repo. */
export const databaseWithRepo = () => open(Layer.provideMerge(Repo.layer(), plain))

/** Keys to read, the same for everybody. */
export const keys = Array.from({ length: 50 }, (_, at) => ((at * 37) % rows) + 1)
/** Keys that are asked for at once: no two are the same. */
export const manyKeys = Array.from({ length: 100 }, (_, at) => ((at * 37) % rows) + 1)
export const parents = Array.from({ length: 100 }, (_, at) => at + 1)

export const sumOfAges = (of: ReadonlyArray<number>) => of.reduce((sum, key) => sum + (key % 100), 0)
