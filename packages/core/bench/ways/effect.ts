/** What @effect/sql offers: texts by hand, its repositories, its resolvers. */
import { Model, SqlClient, SqlResolver, SqlSchema } from "@effect/sql"
import { Effect, Option, Schema } from "effect"
import type { Way } from "../contest.js"
import { database, Entry, Person, Post } from "../rows.js"

interface Aged {
  readonly age: number
}

const entry = (amount: number) => ({ ownerName: "Ada", amount, isOpen: true, note: null })

const ageOf = (rows: ReadonlyArray<Aged>) => rows[0]?.age ?? Number.NaN

/** Texts by hand: names are transformed, rows are no instances. */
export const byHand = async (): Promise<Way> => {
  const { runtime } = await database()
  const run = <A, E>(use: (sql: SqlClient.SqlClient) => Effect.Effect<A, E, SqlClient.SqlClient>) =>
    runtime.runPromise(Effect.flatMap(SqlClient.SqlClient, use))
  const summed = <E>(
    keys: ReadonlyArray<number>,
    each: (sql: SqlClient.SqlClient, key: number) => Effect.Effect<ReadonlyArray<Aged>, E, SqlClient.SqlClient>
  ) =>
    run((sql) =>
      Effect.gen(function* () {
        let sum = 0
        for (const key of keys) sum += ageOf(yield* each(sql, key))
        return sum
      })
    )
  const updated = (sql: SqlClient.SqlClient, key: number) =>
    sql<Aged>`update people set ${sql.update({ age: key % 100 })} where id = ${key} returning *`
  return {
    get: (keys) => summed(keys, (sql, key) => sql<Aged>`select * from people where id = ${key}`),
    concurrent: (keys) =>
      run((sql) =>
        Effect.map(
          Effect.forEach(keys, (key) => sql<Aged>`select * from people where id = ${key}`, {
            concurrency: "unbounded"
          }),
          (found) => found.reduce((sum, rows) => sum + ageOf(rows), 0)
        )
      ),
    insert: (amounts) =>
      run((sql) =>
        Effect.gen(function* () {
          let sum = 0
          for (const amount of amounts) {
            const rows = yield* sql<{ amount: number }>`insert into entries ${sql.insert(entry(amount)).returning("*")}`
            sum += rows[0]?.amount ?? Number.NaN
          }
          return sum
        })
      ),
    update: (keys) => summed(keys, updated),
    list: () => run((sql) => Effect.map(sql`select * from people`, (people) => people.length)),
    transaction: (keys) =>
      summed(keys, (sql, key) =>
        sql.withTransaction(Effect.zipRight(sql`select pg_advisory_xact_lock(${key})`, updated(sql, key)))
      ),
    preload: (keys) =>
      run((sql) =>
        Effect.gen(function* () {
          const people = yield* sql<{ id: number }>`select * from people where ${sql.in("id", keys)}`
          const posts = yield* sql<{ personId: number }>`select * from posts where ${sql.in(
            "person_id",
            people.map(({ id }) => id)
          )}`
          const byPerson = new Map<number, Array<object>>(people.map(({ id }) => [id, []]))
          for (const post of posts) byPerson.get(post.personId)?.push(post)
          return people
            .map((person) => ({ ...person, posts: byPerson.get(person.id) ?? [] }))
            .reduce((sum, person) => sum + person.posts.length, 0)
        })
      ),
    close: () => runtime.dispose()
  }
}

const repositories = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const people = yield* Model.makeRepository(Person, { tableName: "people", idColumn: "id", spanPrefix: "people" })
  const entries = yield* Model.makeRepository(Entry, { tableName: "entries", idColumn: "id", spanPrefix: "entries" })
  const all = SqlSchema.findAll({ Request: Schema.Void, Result: Person, execute: () => sql`select * from people` })
  const some = SqlSchema.findAll({
    Request: Schema.Array(Schema.Number),
    Result: Person,
    execute: (ids) => sql`select * from people where ${sql.in("id", ids)}`
  })
  const postsOf = SqlSchema.findAll({
    Request: Schema.Array(Schema.Number),
    Result: Post,
    execute: (ids) => sql`select * from posts where ${sql.in("person_id", ids)}`
  })
  return { sql, people, entries, all, some, postsOf }
})

/** Model.makeRepository, and SqlSchema where it has no such call: instances. */
export const repository = async (): Promise<Way> => {
  const { runtime } = await database()
  const made = await runtime.runPromise(repositories)
  const { all, entries, people, postsOf, some, sql } = made
  const updated = (key: number) =>
    people.update({
      id: key,
      firstName: `first ${key}`,
      lastName: `last ${key}`,
      email: `${key}@example.org`,
      age: key % 100,
      isActive: key % 2 === 0,
      city: key % 3 === 0 ? "Berlin" : null
    })
  const summed = <E>(keys: ReadonlyArray<number>, each: (key: number) => Effect.Effect<Person, E>) =>
    runtime.runPromise(
      Effect.gen(function* () {
        let sum = 0
        for (const key of keys) sum += (yield* each(key)).age
        return sum
      })
    )
  const found = (key: number) => Effect.map(people.findById(key), Option.getOrThrow)
  return {
    get: (keys) => summed(keys, found),
    concurrent: (keys) =>
      runtime.runPromise(
        Effect.map(Effect.forEach(keys, found, { concurrency: "unbounded" }), (rows) =>
          rows.reduce((sum, row) => sum + row.age, 0)
        )
      ),
    insert: (amounts) =>
      runtime.runPromise(
        Effect.gen(function* () {
          let sum = 0
          for (const amount of amounts) sum += (yield* entries.insert(entry(amount))).amount
          return sum
        })
      ),
    update: (keys) => summed(keys, updated),
    list: () => runtime.runPromise(Effect.map(all(undefined), (rows) => rows.length)),
    transaction: (keys) =>
      summed(keys, (key) =>
        sql.withTransaction(Effect.zipRight(sql`select pg_advisory_xact_lock(${key})`, updated(key)))
      ),
    preload: (keys) =>
      runtime.runPromise(
        Effect.gen(function* () {
          const parents = yield* some(keys)
          const posts = yield* postsOf(parents.map(({ id }) => id))
          const byPerson = new Map<number, Array<object>>(parents.map(({ id }) => [id, []]))
          for (const post of posts) byPerson.get(post.personId)?.push(post)
          return parents
            .map((person) => ({ ...person, posts: byPerson.get(person.id) ?? [] }))
            .reduce((sum, person) => sum + person.posts.length, 0)
        })
      ),
    close: () => runtime.dispose()
  }
}

/** SqlResolver: concurrent requests become one statement. */
export const resolver = async (): Promise<Pick<Way, "concurrent" | "preload" | "close">> => {
  const { runtime } = await database()
  const resolvers = await runtime.runPromise(
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      return {
        people: yield* SqlResolver.findById("person", {
          Id: Schema.Number,
          Result: Person,
          ResultId: (person) => person.id,
          execute: (ids) => sql`select * from people where ${sql.in("id", ids)}`
        }),
        posts: yield* SqlResolver.grouped("posts", {
          Request: Schema.Number,
          RequestGroupKey: (id) => id,
          Result: Post,
          ResultGroupKey: (post) => post.personId,
          execute: (ids) => sql`select * from posts where ${sql.in("person_id", ids)}`
        })
      }
    })
  )
  const people = (keys: ReadonlyArray<number>) =>
    Effect.forEach(keys, (key) => Effect.map(resolvers.people.execute(key), Option.getOrThrow), { batching: true })
  return {
    concurrent: (keys) =>
      runtime.runPromise(Effect.map(people(keys), (rows) => rows.reduce((sum, row) => sum + row.age, 0))),
    preload: (keys) =>
      runtime.runPromise(
        Effect.gen(function* () {
          const parents = yield* people(keys)
          const posts = yield* Effect.forEach(parents, ({ id }) => resolvers.posts.execute(id), { batching: true })
          return posts.reduce((sum, ofOne) => sum + ofOne.length, 0)
        })
      ),
    close: () => runtime.dispose()
  }
}
