/** What an insert may conflict with: fields, a constraint by its name, a partial index, an index on an expression. */
import { Model, SqlClient } from "@effect/sql"
import { describe, expect, layer } from "@effect/vitest"
import { Cause, Effect, Exit, Option, Schema } from "effect"
import * as Repo from "../../src/repo/Repo.js"
import * as Table from "../../src/repo/Table.js"
import { TestRepo } from "./people.js"

class Seat extends Model.Class<Seat>("Seat")({
  id: Model.Generated(Schema.Number),
  room: Schema.String,
  place: Schema.Int,
  guest: Schema.String,
  gone: Schema.Boolean
}) {}

const Seats = Table.make(Seat, {
  name: "seats",
  key: "id",
  constraints: {
    seats_room_place_key: Table.unique("room", "place"),
    seats_guest_idx: Table.unique("guest"),
    seats_excluded: Table.exclusion("room", "place")
  }
})

const fresh = (more: string) =>
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    yield* sql`drop table if exists seats`
    yield* sql`create table seats (id serial primary key, room text not null, place int not null, guest text not null, gone boolean not null)`
    yield* sql.unsafe(more)
    return sql
  })

const seat = (place: number, guest: string, gone = false) => ({ room: "a", place, guest, gone })

const guests = Effect.map(Repo.all(Seats), (rows) => rows.map(({ guest, place }) => `${guest} ${place}`).toSorted())

const defect = <A, E, R>(self: Effect.Effect<A, E, R>) =>
  Effect.map(Effect.exit(self), (exit) => (Exit.isFailure(exit) ? String(Cause.squash(exit.cause)) : "it succeeded"))

describe("a conflict's target", () => {
  layer(TestRepo, { excludeTestServices: true })((it) => {
    it.effect("is a constraint by its name, whose fields stay as they are", () =>
      Effect.gen(function* () {
        yield* fresh("alter table seats add constraint seats_room_place_key unique (room, place)")
        const target = { constraint: "seats_room_place_key" } as const
        yield* Repo.insert(Seats, seat(1, "Ada"))
        const replaced = yield* Repo.upsert(Seats, seat(1, "Grace"), { target })
        expect(replaced).toMatchObject({ id: 1, guest: "Grace" })
        const onConflict = { target, action: "nothing" } as const
        expect(Option.isNone(yield* Repo.insert(Seats, seat(1, "Joan"), { onConflict }))).toBe(true)
        expect(yield* Repo.insertAll(Seats, [seat(1, "Joan"), seat(2, "Joan")], { onConflict })).toBe(1)
        expect(yield* guests).toEqual(["Grace 1", "Joan 2"])
      })
    )

    it.effect("is an exclusion constraint where nothing is to be done", () =>
      Effect.gen(function* () {
        yield* fresh("alter table seats add constraint seats_excluded exclude (room with =, place with =)")
        const onConflict = { target: { constraint: "seats_excluded" }, action: "nothing" } as const
        expect(yield* Repo.insertAll(Seats, [seat(1, "Ada"), seat(1, "Grace")], { onConflict })).toBe(1)
      })
    )

    it.effect("is a partial index, by its fields and its condition", () =>
      Effect.gen(function* () {
        const sql = yield* fresh("create unique index on seats (guest) where not gone")
        const target = { fields: ["guest"], where: sql`not gone -- as the index says` } as const
        yield* Repo.insert(Seats, seat(1, "Ada", true))
        yield* Repo.insert(Seats, seat(2, "Ada"))
        const replaced = yield* Repo.upsert(Seats, seat(3, "Ada"), { target })
        expect(replaced.id).toBe(2)
        expect(yield* guests).toEqual(["Ada 1", "Ada 3"])
        expect(
          yield* Repo.insertAll(Seats, [seat(4, "Ada"), seat(5, "Joan")], { onConflict: { target, action: "nothing" } })
        ).toBe(1)
      })
    )

    it.effect("is an index on an expression", () =>
      Effect.gen(function* () {
        const sql = yield* fresh("create unique index on seats (lower(guest), (place % 10), room) where place > 0")
        const target = { expression: sql`lower(guest), (place % 10), room -- so`, where: sql`place > 0` } as const
        yield* Repo.insert(Seats, seat(1, "ada"))
        expect((yield* Repo.upsert(Seats, seat(11, "Ada"), { target })).id).toBe(1)
        expect(yield* guests).toEqual(["Ada 11"])
      })
    )

    it.effect("is refused where it is none", () =>
      Effect.gen(function* () {
        const sql = yield* fresh("")
        const upsert = (target: unknown) => defect(Repo.upsert(Seats, seat(1, "Ada"), { target: target as never }))
        expect(yield* upsert({ constraint: "seats_other" })).toContain("declares no constraint seats_other")
        expect(yield* upsert({ expression: sql`lower(guest)) do nothing --` })).toContain("closes a parenthesis")
        expect(yield* upsert({ fields: ["guest"], where: sql`place > ${0}` })).toContain("takes no parameters")
        expect(yield* upsert({ expression: sql`` })).toContain("without any text")
        expect(yield* upsert({ wher: sql`true` })).toContain("a conflict's target in seats is")
        expect(yield* upsert({ expression: "lower(guest)" })).toContain("a conflict's target in seats is")
        expect(yield* Repo.count(Seats)).toBe(0)
      })
    )
  })
})
