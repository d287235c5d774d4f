/** Processes as far as a database can tell: each with a pool, a Repo, caches and a change feed of its own, all on the database of the test. */
import type {} from "@effect/experimental/VariantSchema" // what the types of the models below are made of
import { Model, SqlClient } from "@effect/sql"
import { PgClient } from "@effect/sql-pg"
import { ChangeFeed, RepoCache } from "@effecto/cache"
import { Repo, Table } from "@effecto/core"
import { Context, Deferred, Effect, FiberId, Layer, Logger, Option, Schedule, Schema } from "effect"

export class Person extends Model.Class<Person>("Person")({
  id: Model.GeneratedByApp(Schema.Number),
  name: Schema.String
}) {}
export class Seat extends Model.Class<Seat>("Seat")({
  hallName: Model.GeneratedByApp(Schema.String),
  no: Model.GeneratedByApp(Schema.BigIntFromSelf),
  taken: Schema.Boolean
}) {}

export const People = Table.make(Person, { name: "people", key: "id" })
export const Seats = Table.make(Seat, { name: "seats", key: ["hallName", "no"] })

export const fixture = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  yield* sql`drop table if exists people, seats cascade`
  yield* sql`create table people (id int primary key, name text not null)`
  yield* sql`create table seats (hall_name text, no bigint, taken boolean not null, primary key (hall_name, no))`
  yield* sql`insert into people values (1, 'Ada'), (2, 'Bob')`
  yield* sql`insert into seats values ('a', 1, false), ('b', 9007199254740993, false)`
  return sql
})

/** What happens, written down, and somebody to wait for it. */
export const chronicle = () => {
  const events: Array<string> = []
  const waiting = new Map<string, Deferred.Deferred<void>>()
  return {
    events,
    add: (event: string) => {
      events.push(event)
      const one = waiting.get(event)
      if (one !== undefined) Deferred.unsafeDone(one, Effect.void)
    },
    /** Waits until that has happened, from when it was last cleared. */
    until: (event: string) =>
      Effect.suspend(() => {
        if (events.includes(event)) return Effect.void
        const one = waiting.get(event) ?? Deferred.unsafeMake<void>(FiberId.none)
        waiting.set(event, one)
        return Deferred.await(one)
      }).pipe(
        Effect.timeoutFail({ duration: "10 seconds", onTimeout: () => new Error(`waited for ${event}: ${events}`) })
      ),
    clear: Effect.sync(() => {
      events.length = 0
      waiting.clear()
    })
  }
}

/** A schedule that lets through who waits only while it is open. */
export const gated = () => {
  let gate = Deferred.unsafeMake<void>(FiberId.none)
  return {
    schedule: Schedule.forever.pipe(Schedule.tapOutput(() => Effect.suspend(() => Deferred.await(gate)))),
    open: Effect.sync(() => Deferred.unsafeDone(gate, Effect.void)),
    shut: Effect.sync(() => {
      gate = Deferred.unsafeMake<void>(FiberId.none)
    })
  }
}

/** What a process needs to be another one. */
export const process = (
  name: string,
  options: ChangeFeed.Options = {},
  cache: RepoCache.Options = { absent: "1 hour" },
  through: Partial<PgClient.PgClientConfig> = {}
) =>
  Effect.gen(function* () {
    const { config } = yield* PgClient.PgClient
    const context = yield* Layer.build(
      Layer.mergeAll(RepoCache.layer(People, cache), RepoCache.layer(Seats, cache)).pipe(
        Layer.provideMerge(ChangeFeed.layer(options)),
        Layer.provideMerge(Repo.layer()),
        Layer.provideMerge(PgClient.layer({ ...config, maxConnections: 3, applicationName: name, ...through })),
        // What it says is for the one test that listens to it.
        Layer.provide(Logger.remove(Logger.defaultLogger))
      )
    )
    const feed = Context.get(context, ChangeFeed.ChangeFeed)
    const log = chronicle()
    // After the caches, so what is written down here they have done.
    yield* feed.subscribe({
      forget: ({ keys, table }) =>
        log.add(
          `${table} ${keys === "all" ? "all" : JSON.stringify(keys, (_, key) => (typeof key === "bigint" ? `${key}n` : key))}`
        ),
      forgetAll: () => log.add("everything"),
      bypass: () => {
        log.add("around")
        return () => log.add("served")
      }
    })
    const run = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.provide(effect, context)
    const people = Context.get(context, RepoCache.of(People))
    const name_ = (id: number) => Effect.map(people.get(id), (row) => Option.getOrUndefined(row)?.name)
    return { feed, ...log, run, people, name: name_, seats: Context.get(context, RepoCache.of(Seats)) }
  })

/** Ends the connection that a process listens on. */
export const killListener = (name: string) =>
  Effect.flatMap(
    SqlClient.SqlClient,
    (sql) =>
      sql`select pg_terminate_backend(pid) from pg_stat_activity where application_name = ${name} and (query ilike 'listen %' or query = 'select pg_notify($1, $2)') and datname = current_database()`
  )
