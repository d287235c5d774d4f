/** What is notified on a real PostgreSQL, and who hears it. */
import { Model, SqlClient } from "@effect/sql"
import { describe, expect, layer } from "@effect/vitest"
import { Notification, Table, Transaction } from "@effecto/core"
import { EmbeddedPostgres } from "@effecto/core/testing"
import { Deferred, Effect, Schema } from "effect"

layer(EmbeddedPostgres, { excludeTestServices: true })((it) => {
  describe("listen", () => {
    it.scoped("hears what was committed, in the order of the commits, on its own channel only", () =>
      Effect.gen(function* () {
        const heard: Array<string> = []
        const last = yield* Deferred.make<void>()
        yield* Notification.listen('new"s', (payload) => {
          heard.push(payload)
          if (payload === "last") Deferred.unsafeDone(last, Effect.void)
        })
        yield* Notification.notify('new"s', "first")
        yield* Notification.notify("others", "not for us")
        yield* Effect.ignore(
          Transaction.transact(Effect.zipRight(Notification.notify('new"s', "rolled back"), Effect.fail("no")))
        )
        yield* Transaction.transact(Notification.notify('new"s', "last"))
        yield* Deferred.await(last)
        expect(heard).toEqual(["first", "last"])
      })
    )

    it.scoped("says once that its connection has ended, and hears its own notifications until then", () =>
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const heard: Array<string> = []
        const own = yield* Deferred.make<void>()
        const listening = yield* Notification.listen(
          "news",
          (payload) => {
            heard.push(payload)
            Deferred.unsafeDone(own, Effect.void)
          },
          { onEnd: () => heard.push("ended") }
        )
        yield* listening.notify("mine")
        yield* Deferred.await(own)
        yield* sql`select pg_terminate_backend(pid) from pg_stat_activity where query = 'select pg_notify($1, $2)' and datname = current_database()`
        yield* listening.ended
        expect(heard).toEqual(["mine", "ended"])
        const error = yield* Effect.flip(listening.notify("too late"))
        expect(error._tag).toBe("DbError")
        expect(error.message).toContain("notify news")
      })
    )
  })

  describe("keyColumns", () => {
    it.scoped("names the key's columns in the database", () =>
      Effect.sync(() => {
        class Seat extends Model.Class<Seat>("Seat")({ hallName: Schema.String, no: Schema.Number }) {}
        const Seats = Table.make(Seat, { name: "seats", key: ["hallName", "no"], columns: { no: "nr" } })
        expect(Table.keyColumns(Seats)).toEqual([
          { field: "hallName", column: "hall_name" },
          { field: "no", column: "nr" }
        ])
      })
    )
  })
})
