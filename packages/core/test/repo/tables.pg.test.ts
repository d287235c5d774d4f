/** What a table can be told: keys of several fields, a version, soft deletion, another schema. */
import { Model, SqlClient } from "@effect/sql"
import { describe, expect, layer } from "@effect/vitest"
import { Effect, Option, Schema } from "effect"
import * as Announcement from "../../src/repo/Announcement.js"
import * as Repo from "../../src/repo/Repo.js"
import * as Table from "../../src/repo/Table.js"
import { TestRepo } from "./people.js"

class Membership extends Model.Class<Membership>("Membership")({
  teamId: Schema.Number,
  userId: Schema.UUID,
  joinedRole: Schema.String
}) {}
const Memberships = Table.make(Membership, { name: "memberships", key: ["teamId", "userId"] })

class Note extends Model.Class<Note>("Note")({
  id: Model.Generated(Schema.Number),
  text: Schema.String,
  lockVersion: Model.Generated(Schema.Number)
}) {}
const Notes = Table.make(Note, { name: "notes", key: "id", version: "lockVersion" })

class Page extends Model.Class<Page>("Page")({
  slug: Schema.String,
  title: Schema.String,
  lockVersion: Model.Generated(Schema.Number),
  deletedAt: Model.Generated(Schema.NullOr(Schema.DateFromSelf))
}) {}
const Pages = Table.make(Page, {
  name: "pages",
  key: "slug",
  version: "lockVersion",
  softDelete: "deletedAt",
  constraints: { pages_pkey: Table.unique("slug") }
})

const ann = "c7c5d9a0-8f6e-4b1a-9f1e-000000000001"
const bob = "c7c5d9a0-8f6e-4b1a-9f1e-000000000002"

const fresh = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  yield* sql`drop table if exists memberships, notes, pages cascade`
  yield* sql`drop schema if exists tenant cascade`
  yield* sql`create table memberships (
    team_id int, user_id uuid, joined_role text not null, primary key (team_id, user_id)
  )`
  yield* sql`create table notes (id serial primary key, text text not null, lock_version int not null default 1)`
  yield* sql`create table pages (
    slug text primary key, title text not null, lock_version int not null default 1, deleted_at timestamptz
  )`
  return sql
})

describe("a key of several fields", () => {
  layer(TestRepo, { excludeTestServices: true })((it) => {
    it.effect("is an object of them, for every call that takes a key", () =>
      Effect.gen(function* () {
        yield* fresh
        yield* Repo.insert(Memberships, { teamId: 1, userId: ann, joinedRole: "admin" })
        const row = yield* Repo.insert(Memberships, { teamId: 1, userId: bob, joinedRole: "member" })
        const key = { teamId: 1, userId: bob }
        expect(yield* Repo.fetch(Memberships, key)).toEqual(row)
        expect(yield* Repo.get(Memberships, { teamId: 2, userId: bob })).toEqual(Option.none())
        expect((yield* Repo.update(Memberships, key, { joinedRole: "owner" })).joinedRole).toBe("owner")
        expect((yield* Repo.update(Memberships, row, { joinedRole: "guest" })).joinedRole).toBe("guest")
        expect(yield* Repo.update(Memberships, row, {})).toBe(row)
        expect((yield* Repo.update(Memberships, key, {})).joinedRole).toBe("guest")
        expect((yield* Repo.delete(Memberships, key)).joinedRole).toBe("guest")
        const missing = yield* Effect.flip(Repo.fetch(Memberships, key))
        expect(missing.message).toBe("there is no row in memberships with that teamId, userId")
        expect(yield* Repo.count(Memberships)).toBe(1)
      })
    )

    it.effect("finds nothing when one of them does not fit, and says which when it is strict", () =>
      Effect.gen(function* () {
        yield* fresh
        const key = { teamId: 1, userId: "nope" }
        expect(yield* Repo.get(Memberships, key)).toEqual(Option.none())
        expect(yield* Repo.get(Memberships, undefined as never)).toEqual(Option.none())
        expect(yield* Effect.flip(Repo.fetch(Memberships, key))).toMatchObject({ _tag: "NotFound" })
        expect(yield* Effect.flip(Repo.fetch(Memberships, key, { strict: true }))).toMatchObject({
          _tag: "InvalidInput",
          field: "userId"
        })
        expect(yield* Effect.flip(Repo.getBy(Memberships, { userId: ["nope"] }, { strict: true }))).toMatchObject({
          _tag: "InvalidInput",
          field: "userId"
        })
        expect(yield* Effect.flip(Repo.delete(Memberships, key))).toMatchObject({ _tag: "NotFound" })
      })
    )

    it.scoped("is announced as that object", () =>
      Effect.gen(function* () {
        yield* fresh
        const events: Array<unknown> = []
        yield* Announcement.listen(({ changes }) => {
          events.push(...changes)
        })
        yield* Repo.transact(
          Effect.gen(function* () {
            const row = yield* Repo.insert(Memberships, { teamId: 1, userId: ann, joinedRole: "admin" })
            yield* Repo.delete(Memberships, row)
          })
        )
        expect(events).toEqual([{ schema: undefined, table: "memberships", keys: [{ teamId: 1, userId: ann }] }])
      })
    )

    it.effect("cannot be what another table's field refers to", () =>
      Effect.gen(function* () {
        yield* fresh
        const row = yield* Repo.insert(Memberships, { teamId: 1, userId: ann, joinedRole: "admin" })
        const defect = yield* Effect.flip(
          Effect.sandbox(Repo.preload(Memberships, row, { notes: Table.hasMany(Notes, "text") }))
        )
        expect(String(defect)).toContain("their key has several (teamId, userId)")
      })
    )
  })
})

describe("a version", () => {
  layer(TestRepo, { excludeTestServices: true })((it) => {
    it.effect("goes up with every update, and keeps a row that was read from overwriting a newer one", () =>
      Effect.gen(function* () {
        yield* fresh
        const first = yield* Repo.insert(Notes, { text: "a" })
        expect(first.lockVersion).toBe(1)
        const second = yield* Repo.update(Notes, first, { text: "b" })
        expect(second.lockVersion).toBe(2)
        const stale = yield* Effect.flip(Repo.update(Notes, first, { text: "c" }))
        expect(stale).toMatchObject({ _tag: "StaleRow", table: "notes", expected: 1 })
        expect(stale.message).toBe(
          "the row in notes with that id was changed after its version 1 had been read: read it again and apply the change to what it holds now, or use Repo.modify"
        )
        expect(yield* Effect.flip(Repo.delete(Notes, first))).toMatchObject({ _tag: "StaleRow" })
        expect((yield* Repo.fetch(Notes, first.id)).text).toBe("b")
      })
    )

    it.effect("is not looked at when a key is given, and a row that is gone is NotFound", () =>
      Effect.gen(function* () {
        yield* fresh
        const note = yield* Repo.insert(Notes, { text: "a" })
        expect((yield* Repo.update(Notes, note.id, { text: "b" })).lockVersion).toBe(2)
        yield* Repo.delete(Notes, note.id)
        expect(yield* Effect.flip(Repo.update(Notes, note, { text: "c" }))).toMatchObject({ _tag: "NotFound" })
        expect(yield* Effect.flip(Repo.delete(Notes, note))).toMatchObject({ _tag: "NotFound" })
      })
    )

    it.effect("lets one of many updates at once through, and tells the others", () =>
      Effect.gen(function* () {
        yield* fresh
        const note = yield* Repo.insert(Notes, { text: "a" })
        const outcomes = yield* Effect.forEach(
          [1, 2, 3, 4, 5, 6],
          (n) =>
            Effect.match(Repo.update(Notes, note, { text: `${n}` }), {
              onFailure: (error) => error._tag,
              onSuccess: () => "updated"
            }),
          { concurrency: "unbounded" }
        )
        expect([...outcomes].sort()).toEqual([...Array.from({ length: 5 }, () => "StaleRow"), "updated"])
        expect((yield* Repo.fetch(Notes, note.id)).lockVersion).toBe(2)
      })
    )
  })
})

describe("soft deletion", () => {
  layer(TestRepo, { excludeTestServices: true })((it) => {
    it.effect("marks a row, which no read or write sees any more unless it asks for it", () =>
      Effect.gen(function* () {
        const sql = yield* fresh
        yield* Repo.insert(Pages, { slug: "home", title: "Home" })
        yield* Repo.insert(Pages, { slug: "about", title: "About" })
        const deleted = yield* Repo.delete(Pages, "home")
        expect(deleted.deletedAt).toBeInstanceOf(Date)
        expect(yield* Repo.get(Pages, "home")).toEqual(Option.none())
        expect(yield* Repo.getBy(Pages, { title: "Home" })).toEqual(Option.none())
        expect((yield* Repo.all(Pages, sql`title like '%o%' order by slug limit 5`)).map(({ slug }) => slug)).toEqual([
          "about"
        ])
        expect(yield* Repo.count(Pages)).toBe(1)
        expect(yield* Repo.count(Pages, sql`true limit 9`)).toBe(1)
        expect(yield* Repo.exists(Pages, { slug: "home" })).toBe(false)
        expect(yield* Effect.flip(Repo.update(Pages, "home", { title: "x" }))).toMatchObject({ _tag: "NotFound" })
        expect(yield* Effect.flip(Repo.delete(Pages, "home"))).toMatchObject({ _tag: "NotFound" })

        const withDeleted = { withDeleted: true } as const
        expect(Option.isSome(yield* Repo.get(Pages, "home", withDeleted))).toBe(true)
        expect((yield* Repo.all(Pages, {}, withDeleted)).length).toBe(2)
        expect((yield* Repo.all(Pages, sql`slug = ${"home"}`, withDeleted)).length).toBe(1)
        expect(yield* Repo.count(Pages, undefined, withDeleted)).toBe(2)
        expect(yield* Repo.exists(Pages, { slug: "home" }, withDeleted)).toBe(true)
      })
    )

    it.effect("can be taken back, once", () =>
      Effect.gen(function* () {
        yield* fresh
        const page = yield* Repo.insert(Pages, { slug: "home", title: "Home" })
        expect(yield* Effect.flip(Repo.restore(Pages, page))).toMatchObject({ _tag: "NotFound" })
        yield* Repo.delete(Pages, page)
        const restored = yield* Repo.restore(Pages, "home")
        expect(restored).toMatchObject({ slug: "home", deletedAt: null, lockVersion: 3 })
        expect((yield* Repo.fetch(Pages, "home")).title).toBe("Home")
        expect(yield* Effect.flip(Repo.restore(Pages, "home"))).toMatchObject({ _tag: "NotFound" })
      })
    )

    it.effect("reads with locks all the same", () =>
      Effect.gen(function* () {
        const sql = yield* fresh
        yield* Repo.insert(Pages, { slug: "home", title: "Home" })
        const locked = yield* Repo.transact(
          Effect.gen(function* () {
            const page = yield* Repo.fetch(Pages, "home", { lock: "update" })
            const rows = yield* Repo.all(Pages, sql`title = 'Home'`, { lock: "no key update", wait: "nowait" })
            const one = yield* Repo.one(Pages, sql`title = 'Home'`, { lock: "share" })
            return [page.slug, rows.length, Option.isSome(one)]
          })
        )
        expect(locked).toEqual(["home", 1, true])
      })
    )
  })
})

describe("another schema", () => {
  layer(TestRepo, { excludeTestServices: true })((it) => {
    it.scoped("is where the rows of inSchema's table are, for every call", () =>
      Effect.gen(function* () {
        const sql = yield* fresh
        yield* sql`create schema tenant`
        yield* sql`create table tenant.pages (like pages including all)`
        const Tenant = Pages.pipe(Table.inSchema("tenant"))
        const events: Array<unknown> = []
        yield* Announcement.listen(({ changes }) => {
          events.push(...changes)
        })
        yield* Repo.insert(Tenant, { slug: "home", title: "Theirs" })
        yield* Repo.insert(
          Tenant,
          { slug: "home", title: "Theirs" },
          { onConflict: { target: ["slug"], action: "replace" } }
        )
        expect((yield* Repo.update(Tenant, "home", { title: "Ours" })).lockVersion).toBe(3)
        expect(yield* Repo.count(Pages)).toBe(0)
        expect(yield* Repo.count(Tenant, sql`pages.title = 'Ours'`)).toBe(1)
        yield* Repo.delete(Tenant, "home")
        expect(events[0]).toEqual({ schema: "tenant", table: "pages", keys: ["home"] })
        const violation = yield* Repo.insert(Tenant, { slug: "home", title: "Again" }).pipe(Effect.flip)
        expect(violation).toMatchObject({ _tag: "UniqueViolation", constraint: "pages_pkey" })
      })
    )
  })
})

describe("an insert that meets a row which is there already", () => {
  layer(TestRepo, { excludeTestServices: true })((it) => {
    it.effect("does nothing and gives none, hooks undone", () =>
      Effect.gen(function* () {
        const sql = yield* fresh
        const Hooked = Pages.pipe(
          Table.hooks({ beforeInsert: (row) => Effect.as(Repo.insert(Notes, { text: "about to" }), row) })
        )
        const first = yield* Repo.insert(Hooked, { slug: "a", title: "A" }, { onConflict: { action: "nothing" } })
        expect(Option.map(first, ({ title }) => title)).toEqual(Option.some("A"))
        const second = yield* Repo.insert(
          Hooked,
          { slug: "a", title: "B" },
          { onConflict: { target: ["slug"], action: "nothing" } }
        )
        expect(second).toEqual(Option.none())
        expect(yield* Repo.count(Notes)).toBe(1)
        expect(yield* sql`select title from pages`).toEqual([{ title: "A" }])
      })
    )

    it.effect("replaces what it was given, or only some of it; the version goes up, a deleted row is back", () =>
      Effect.gen(function* () {
        yield* fresh
        yield* Repo.insert(Pages, { slug: "a", title: "A" })
        const replaced = yield* Repo.insert(
          Pages,
          { slug: "a", title: "B" },
          { onConflict: { target: ["slug"], action: "replace" } }
        )
        expect(replaced).toMatchObject({ title: "B", lockVersion: 2 })
        const kept = yield* Repo.insert(
          Pages,
          { slug: "a", title: "C" },
          { onConflict: { target: ["slug"], action: { replaceAllExcept: ["title"] } } }
        )
        expect(kept).toMatchObject({ title: "B", lockVersion: 3 })
        yield* Repo.delete(Pages, "a")
        const back = yield* Repo.insert(
          Pages,
          { slug: "a", title: "D" },
          { onConflict: { target: ["slug"], action: { replace: ["title"] } } }
        )
        expect(back).toMatchObject({ title: "D", deletedAt: null })
      })
    )

    it.effect("tells names apart that look like several, or like what every object has", () =>
      Effect.gen(function* () {
        class Odd extends Model.Class<Odd>("Odd")({
          id: Schema.Number,
          valueOf: Schema.String,
          both: Model.Field({ select: Schema.NullOr(Schema.String), insert: Schema.optional(Schema.String) }),
          one: Model.Field({ select: Schema.NullOr(Schema.String), insert: Schema.optional(Schema.String) }),
          other: Model.Field({ select: Schema.NullOr(Schema.String), insert: Schema.optional(Schema.String) })
        }) {}
        // Every object has a valueOf, which types cannot take for the name of a column.
        const columns = { both: "a,b", one: "a", other: "b" } as object
        const Odds = Table.make(Odd, { name: "odds", key: "id", columns })
        const sql = yield* SqlClient.SqlClient
        yield* sql`drop table if exists odds; create table odds (id int primary key, value_of text, "a,b" text, a text, b text)`
        const valueOf = "v"
        expect(yield* Repo.insert(Odds, { id: 1, valueOf, one: "1", other: "2" })).toMatchObject({
          valueOf,
          one: "1",
          other: "2"
        })
        expect(yield* Repo.insert(Odds, { id: 2, valueOf, both: "3" })).toMatchObject({ both: "3", one: null })
      })
    )

    it.effect("refuses what can only be a mistake", () =>
      Effect.gen(function* () {
        yield* fresh
        const messages = yield* Effect.forEach(
          [{ action: "replace" }, { target: ["slug"], action: "update" }, { target: ["slog"], action: "nothing" }],
          (onConflict) =>
            Effect.map(
              Effect.flip(
                Effect.sandbox(Repo.insert(Pages, { slug: "a", title: "A" }, { onConflict: onConflict as never }))
              ),
              (cause) => String(cause).split("\n")[0]
            )
        )
        expect(messages[0]).toContain("onConflict for pages needs the target whose row is to be replaced")
        expect(messages[1]).toContain("there is no such action for a conflict in pages")
        expect(messages[2]).toContain("pages has no field slog in its model, which onConflict names")
      })
    )
  })
})
