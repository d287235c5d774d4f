/** Updates and deletes of rows that are gone, or were changed, where that is no failure. */
import { Model, SqlClient } from "@effect/sql"
import { describe, expect, layer } from "@effect/vitest"
import { Cause, Effect, Exit, Option, Schema } from "effect"
import * as Repo from "../../src/repo/Repo.js"
import * as Table from "../../src/repo/Table.js"
import { TestRepo } from "./people.js"

class Page extends Model.Class<Page>("Page")({
  id: Schema.Number,
  text: Schema.String,
  version: Model.Generated(Schema.Number)
}) {}

const Pages = Table.make(Page, { name: "leaves", key: "id", version: "version" })

const fresh = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  yield* sql`drop table if exists leaves, notes`
  yield* sql`create table leaves (id int primary key, text text not null, version int not null default 1)`
  yield* sql`create table notes (id int)`
  return sql
})

const allowStale = { allowStale: true } as const

describe("allowStale", () => {
  layer(TestRepo, { excludeTestServices: true })((it) => {
    it.effect("gives the row where it is there, and none where it is gone or somebody else has changed it", () =>
      Effect.gen(function* () {
        yield* fresh
        const page = yield* Repo.insert(Pages, { id: 1, text: "a" })
        const changed = yield* Repo.update(Pages, page, { text: "b" }, allowStale)
        expect(Option.map(changed, ({ text, version }) => `${text} ${version}`)).toEqual(Option.some("b 2"))
        expect(yield* Repo.update(Pages, page, { text: "c" }, allowStale)).toEqual(Option.none())
        expect(yield* Repo.delete(Pages, page, allowStale)).toEqual(Option.none())
        expect(yield* Repo.update(Pages, 2, { text: "c" }, allowStale)).toEqual(Option.none())
        expect(yield* Repo.update(Pages, 2, {}, allowStale)).toEqual(Option.none())
        expect(yield* Repo.update(Pages, page, {}, allowStale)).toEqual(Option.some(page))
        expect(Option.map(yield* Repo.delete(Pages, 1, allowStale), ({ text }) => text)).toEqual(Option.some("b"))
        expect(yield* Repo.delete(Pages, 1, allowStale)).toEqual(Option.none())
        expect((yield* Effect.flip(Repo.delete(Pages, 1)))._tag).toBe("NotFound")
        expect((yield* Effect.flip(Repo.update(Pages, 1, { text: "" }, { allowStale: false })))._tag).toBe("NotFound")
      })
    )

    it.effect("undoes what hooks have written for a row that is not there, and lets the transaction go on", () =>
      Effect.gen(function* () {
        const sql = yield* fresh
        const events: Array<string> = []
        const Hooked = Pages.pipe(
          Table.hooks({
            beforeUpdate: (patch) => Effect.as(Effect.orDie(sql`insert into notes values (1)`), patch),
            beforeDelete: () => Effect.asVoid(Effect.orDie(sql`insert into notes values (2)`)),
            afterUpdate: (row) =>
              Effect.as(
                Effect.sync(() => events.push("updated")),
                row
              ),
            afterCommit: () => Effect.sync(() => events.push("committed"))
          })
        )
        yield* Repo.transact(
          Effect.gen(function* () {
            expect(yield* Repo.update(Hooked, 1, { text: "b" }, allowStale)).toEqual(Option.none())
            expect(yield* Repo.delete(Hooked, 1, allowStale)).toEqual(Option.none())
            yield* Repo.insert(Pages, { id: 1, text: "a" })
          })
        )
        expect(yield* Repo.delete(Hooked, 7, allowStale)).toEqual(Option.none())
        expect(yield* sql`select * from notes`).toEqual([])
        expect(events).toEqual([])
        expect(yield* Repo.count(Pages)).toBe(1)
      })
    )

    it.effect("is about the row alone: what a hook does not find is a failure", () =>
      Effect.gen(function* () {
        yield* fresh
        yield* Repo.insert(Pages, { id: 1, text: "a" })
        const Hooked = Pages.pipe(Table.hooks({ afterUpdate: (row) => Effect.as(Repo.fetch(Pages, 9), row) }))
        expect((yield* Effect.flip(Repo.update(Hooked, 1, { text: "b" }, allowStale)))._tag).toBe("NotFound")
        expect((yield* Repo.fetch(Pages, 1)).text).toBe("a")
      })
    )

    it.effect("is the only option there is", () =>
      Effect.gen(function* () {
        yield* fresh
        const exit = yield* Effect.exit(Repo.delete(Pages, 1, { alowStale: true } as never))
        expect(Exit.isFailure(exit) ? String(Cause.squash(exit.cause)) : "").toContain('there is no option "alowStale"')
      })
    )
  })
})
