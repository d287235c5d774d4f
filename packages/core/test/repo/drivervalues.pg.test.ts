/** Dates go by our own statements as the driver would have written them. */
import { Model, SqlClient } from "@effect/sql"
import { describe, expect, layer } from "@effect/vitest"
import { Effect, Schema } from "effect"
import * as Announcement from "../../src/repo/Announcement.js"
import { dateWriter } from "../../src/repo/drivervalues.js"
import * as Repo from "../../src/repo/Repo.js"
import * as Table from "../../src/repo/Table.js"
import { logged, TestRepo } from "./people.js"

class Moment extends Model.Class<Moment>("Moment")({
  id: Model.GeneratedByApp(Schema.Number),
  local: Schema.DateFromSelf,
  zoned: Schema.NullOr(Schema.DateFromSelf)
}) {}
const Moments = Table.make(Moment, { name: "moments", key: "id" })

describe("a date", () => {
  layer(TestRepo, { excludeTestServices: true })((it) => {
    it.scoped("is written as the driver writes it, with and without a time zone", () =>
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        yield* sql`create table moments (id int primary key, local timestamp not null, zoned timestamptz)`
        const dates = [0, 1_700_000_000_123, -62_198_755_200_000, Date.UTC(12025, 5, 1)].map((at) => new Date(at))
        for (const [id, date] of dates.entries()) {
          yield* Repo.insert(Moments, { id, local: date, zoned: date })
          yield* sql`insert into moments values (${id + 100}, ${date}, ${date})`
        }
        const differ =
          yield* sql`select one.id from moments one join moments other on other.id = one.id + 100 where (one.local, one.zoned) <> (other.local, other.zoned)`
        expect(differ).toEqual([])
        const found = yield* Repo.fetch(Moments, 1)
        expect([found.local, found.zoned]).toEqual([dates[1], dates[1]])
        yield* Announcement.withCommit(() => ({ text: "select 1", parameters: [] }))
        const { lines } = yield* logged(Repo.update(Moments, 1, { zoned: new Date(5) }))
        expect(lines).toHaveLength(1)
        expect((yield* Repo.fetch(Moments, 1)).zoned).toEqual(new Date(5))
      })
    )

    it.effect("is left to a driver that does not say how it writes one", () =>
      Effect.sync(() => {
        for (const driver of [
          {},
          new (class A {})(),
          new (class B {
            static Query = class {}
          })(),
          Object.assign(() => {}, {})
        ])
          expect(dateWriter(driver)(new Date(0))).toBe(undefined)
      })
    )
  })
})
