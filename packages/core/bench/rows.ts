/** What the benches of the Repo share: a table of a thousand rows, and the ways to reach it. */
import { Model, SqlClient } from "@effect/sql"
import { PgClient } from "@effect/sql-pg"
import { Repo, Table } from "@effecto/core"
import { EmbeddedPostgres } from "@effecto/core/testing"
import { Effect, Layer, ManagedRuntime, Schema } from "effect"
import pg from "pg"

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

export const rows = 1000
export const columns = "id, first_name, last_name, email, age, is_active, city"

const filled = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  yield* sql`create table people (id int primary key, first_name text not null, last_name text not null, email text not null, age int not null, is_active bool not null, city text)`
  yield* sql`insert into people select i, 'first ' || i, 'last ' || i, i || '@example.org', i % 100, i % 2 = 0, case when i % 3 = 0 then 'Berlin' end from generate_series(1, ${rows}) i`
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

/** A program's runtime, and a pool of the bare driver on the same database. */
const open = async <R, E>(live: Layer.Layer<R | PgClient.PgClient, E>) => {
  const runtime = ManagedRuntime.make(live)
  const config = await runtime.runPromise(Effect.map(PgClient.PgClient, (client) => client.config))
  const pool = new pg.Pool({ host: config.host, port: config.port, database: config.database, user: config.username })
  return { runtime, pool }
}

const plain = Layer.unwrapEffect(Effect.as(filled, Layer.empty)).pipe(
  Layer.provideMerge(transforming),
  Layer.provide(EmbeddedPostgres)
)

/** With @effect/sql's own client. */
export const database = () => open(plain)
export type Database = Awaited<ReturnType<typeof database>>

/** With a Repo. */
export const databaseWithRepo = () => open(Layer.provideMerge(Repo.layer(), plain))
export type DatabaseWithRepo = Awaited<ReturnType<typeof databaseWithRepo>>

export const close = async ({ pool, runtime }: Database | DatabaseWithRepo) => {
  await pool.end()
  await runtime.dispose()
}

/** Keys to read, the same for everybody. */
export const keys = Array.from({ length: 50 }, (_, at) => ((at * 37) % rows) + 1)
export const sumOfAges = keys.reduce((sum, key) => sum + (key % 100), 0)

export const validateSum = (sum: number) => {
  if (sum !== sumOfAges) throw new Error(`the ages add up to ${sum}, not to ${sumOfAges}`)
}
