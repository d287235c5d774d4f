/** A row that is written under another spelling of its key is the same row, for the cache too: an upper-case uuid, fields in another order. */
import type {} from "@effect/experimental/VariantSchema" // what the types of the models below are made of
import { Model, SqlClient } from "@effect/sql"
import { expect, layer } from "@effect/vitest"
import { RepoCache } from "@effecto/cache"
import { Repo, Table } from "@effecto/core"
import { EmbeddedPostgres } from "@effecto/core/testing"
import { Deferred, Effect, Fiber, Layer, Schema } from "effect"
import { fixture, Seats } from "./processes.js"

class Device extends Model.Class<Device>("Device")({
  id: Model.GeneratedByApp(Schema.String),
  name: Schema.String
}) {}
class Misread extends Model.Class<Misread>("Misread")({
  id: Model.GeneratedByApp(Schema.String),
  name: Model.Field({
    select: Schema.NumberFromString,
    update: Schema.String
  })
}) {}
const Devices = Table.make(Device, { name: "devices", key: "id" })
/** The same table, by a model that its rows do not fit. */
const Misreads = Table.make(Misread, { name: "devices", key: "id" })

const own = "aaaaaaaa-0000-0000-0000-000000000001"
const other = own.toUpperCase()

const devices = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  yield* sql`drop table if exists devices`
  yield* sql`create table devices (id uuid primary key, name text not null)`
  yield* sql`insert into devices values (${own}, 'one')`
  return sql
})

layer(Repo.layer().pipe(Layer.provideMerge(EmbeddedPostgres)), { excludeTestServices: true })((it) => {
  it.scoped("strict serves nobody a row while it is written under another spelling", () =>
    Effect.gen(function* () {
      yield* devices
      const cache = yield* RepoCache.make(Devices, { strict: true })
      yield* cache.fetch(own)
      yield* cache.fetch(own)
      const written = yield* Deferred.make<void>()
      const go = yield* Deferred.make<void>()
      const writer = yield* Effect.fork(
        Repo.transact(
          Repo.update(Devices, other, { name: "two" }).pipe(
            Effect.zipRight(Deferred.succeed(written, undefined)),
            Effect.zipRight(Deferred.await(go))
          )
        )
      )
      yield* Deferred.await(written)
      const { rows } = yield* cache.stats
      yield* cache.fetch(own)
      expect((yield* cache.stats).rows.hits).toBe(rows.hits)
      yield* Deferred.succeed(go, undefined)
      yield* Fiber.join(writer)
      expect((yield* cache.fetch(own)).name).toBe("two")
    })
  )

  it.scoped("a write whose answer cannot be read is forgotten under any spelling, alone and in a transaction", () =>
    Effect.gen(function* () {
      yield* devices
      const cache = yield* RepoCache.make(Devices)
      const seen: Array<unknown> = []
      const write = (name: string) => Effect.flip(Repo.update(Misreads, other, { name }))
      yield* cache.fetch(own)
      seen.push((yield* write("two"))._tag, (yield* cache.fetch(own)).name)
      seen.push(
        yield* Repo.transact(
          Effect.zipRight(
            write("three"),
            Effect.map(cache.fetch(own), ({ name }) => name)
          )
        ),
        (yield* cache.fetch(own)).name
      )
      expect(seen).toEqual(["DbError", "two", "three", "three"])
    })
  )

  it.scoped("a transaction reads its own write of a row whose key has its fields in another order", () =>
    Effect.gen(function* () {
      yield* fixture
      const cache = yield* RepoCache.make(Seats)
      const taken = Effect.map(cache.fetch({ no: 1n, hallName: "a" }), ({ taken }) => taken)
      yield* taken
      const inside = yield* Repo.transact(
        Effect.zipRight(Repo.update(Seats, { hallName: "a", no: 1n }, { taken: true }), taken)
      )
      expect([inside, yield* taken]).toEqual([true, true])
    })
  )
})
