/** What stands around the calls of a Repo: in which order, for which tables, and what it can change of them. */
import { Model, SqlClient } from "@effect/sql"
import { describe, expect, layer } from "@effect/vitest"
import { Cause, Chunk, Context, Effect, Exit, Layer, Option, Schema, Stream } from "effect"
import * as Repo from "../../src/repo/Repo.js"
import * as Table from "../../src/repo/Table.js"
import * as Transaction from "../../src/repo/Transaction.js"
import { ada, freshTables, logged, People, Pets, TestRepo } from "./people.js"

const row = { ...ada, nickName: Option.none() }

class Note extends Model.Class<Note>("Note")({
  id: Model.Generated(Schema.Number),
  tenantId: Schema.Number,
  text: Schema.String
}) {}

const Notes = Table.make(Note, { name: "notes", key: "id" })

const freshNotes = Effect.gen(function* () {
  yield* freshTables
  const sql = yield* SqlClient.SqlClient
  yield* sql`create table notes (id serial primary key, tenant_id int not null, text text not null)`
  return sql
})

/** Notes calls, with a name. */
const noting = (name: string, events: Array<unknown>) =>
  Repo.middleware((call, next) =>
    Effect.suspend(() => {
      events.push(`${name}: ${call.call} ${call.table.name}`)
      return Effect.ensuring(
        next(),
        Effect.sync(() => events.push(`${name}: after`))
      )
    })
  )

/** Everybody sees the rows of the tenant that the annotations name, and of nobody else. */
const Tenancy = Repo.middleware(
  (call, next) =>
    typeof call.annotations.tenant === "number"
      ? next({ where: { tenantId: call.annotations.tenant } })
      : call.refuse("no tenant is named: use Repo.annotate({ tenant })"),
  { tables: [Notes] }
)

/** What an effect dies of. */
const defect = <A, E, R>(self: Effect.Effect<A, E, R>) =>
  Effect.map(Effect.exit(self), (exit) => (Exit.isFailure(exit) ? String(Cause.squash(exit.cause)) : "it succeeded"))

const as = (tenant: number) => Repo.annotate({ tenant })

describe("a middleware", () => {
  layer(TestRepo, { excludeTestServices: true })((it) => {
    it.effect("stands around the transaction, the hooks and the statement; the first one named is the outermost", () =>
      Effect.gen(function* () {
        yield* freshTables
        const events: Array<unknown> = []
        const event = (name: string) => Effect.sync(() => void events.push(name))
        const Hooked = People.pipe(
          Table.hooks({
            beforeInsert: (row) => Effect.as(event("beforeInsert"), row),
            afterInsert: (row) => Effect.as(event("afterInsert"), row),
            afterCommit: () => event("afterCommit")
          })
        )
        const both = noting("outer", events).pipe(Layer.provide(noting("inner", events)))
        const { lines } = yield* logged(Repo.insert(Hooked, row)).pipe(Effect.provide(both))
        expect(events).toEqual([
          "outer: insert people",
          "inner: insert people",
          "beforeInsert",
          "afterInsert",
          "afterCommit",
          "inner: after",
          "outer: after"
        ])
        expect(lines.map((line) => line.split("\n")[1]?.split(" ")[0])).toEqual(["begin", "insert", "commit"])
      })
    )

    it.effect("sees the calls that hooks make, and is not disabled with the hooks", () =>
      Effect.gen(function* () {
        yield* freshTables
        const events: Array<unknown> = []
        const Hooked = People.pipe(
          Table.hooks({
            afterInsert: (person) => Effect.as(Repo.insert(Pets, { ownerId: person.id, name: "Rex" }), person)
          })
        )
        yield* Effect.gen(function* () {
          const person = yield* Repo.insert(Hooked, row)
          yield* Repo.disableHooks(Repo.delete(Pets, 1))
          yield* Repo.preload(People, person, { pets: Table.hasMany(Pets, "ownerId") })
        }).pipe(Effect.provide(noting("m", events)))
        expect(events.filter((event) => event !== "m: after")).toEqual([
          "m: insert people",
          "m: insert pets",
          "m: delete pets",
          "m: preload people",
          "m: preload pets"
        ])
      })
    )

    it.effect("is about some tables, with or without their hooks, and some operations, when it is told so", () =>
      Effect.gen(function* () {
        yield* freshTables
        const seen: Array<string> = []
        const Some = Repo.middleware(
          (call, next) => {
            seen.push(`${call.operation} by ${call.call} of ${call.table.name}`)
            return next()
          },
          { tables: [People], operations: ["get", "delete"] }
        )
        const Hooked = People.pipe(Table.hooks({ afterGet: (rows) => Effect.succeed(rows) }))
        yield* Effect.gen(function* () {
          const person = yield* Repo.insert(People, row)
          yield* Repo.fetch(Hooked, person.id)
          yield* Repo.count(People)
          yield* Repo.all(Pets)
          yield* Repo.delete(People, person)
        }).pipe(Effect.provide(Some))
        expect(seen).toEqual(["get by fetch of people", "get by count of people", "delete by delete of people"])
      })
    )

    it.effect("takes what it needs when its layer is built", () =>
      Effect.gen(function* () {
        yield* freshTables
        class Book extends Context.Tag("Book")<Book, { readonly write: (line: string) => void }>() {}
        const lines: Array<string> = []
        const Audit = Repo.middleware((call, next) =>
          Effect.flatMap(Book, (book) => {
            book.write(`${String(call.annotations.actor)}: ${call.call}`)
            return next()
          })
        ).pipe(Layer.provide(Layer.succeed(Book, { write: (line) => void lines.push(line) })))
        yield* Repo.insert(People, row).pipe(Repo.annotate({ actor: "ada" }), Effect.provide(Audit))
        expect(lines).toEqual(["ada: insert"])
      })
    )

    it.effect("can refuse a call, typed, before anything is sent; and change what it is given and what it gives", () =>
      Effect.gen(function* () {
        yield* freshTables
        const ReadOnly = Repo.middleware(
          (call, next) => (call.operation === "get" ? next() : call.refuse("it is read only")),
          { tables: [People] }
        )
        const { lines, result } = yield* logged(Effect.flip(Repo.insert(People, row))).pipe(Effect.provide(ReadOnly))
        expect(result).toMatchObject({ _tag: "DbError", kind: "refused", retryable: false })
        expect(result.message).toBe("could not insert people: it is read only")
        expect(lines).toEqual([])
        const Shouting = Repo.middleware((call, next) =>
          call.call === "insert" ? next({ arguments: [{ ...row, firstName: "ADA" }] }) : next()
        )
        expect((yield* Repo.insert(People, row).pipe(Effect.provide(Shouting))).firstName).toBe("ADA")
      })
    )

    it.effect("sees the annotations that work after a commit was registered with, and hooks stay disabled there", () =>
      Effect.gen(function* () {
        const sql = yield* freshNotes
        const ran: Array<string> = []
        const Hooked = Notes.pipe(
          Table.hooks({
            beforeInsert: (row) =>
              Effect.as(
                Effect.sync(() => ran.push(row.text)),
                row
              )
          })
        )
        const insert = (text: string) => Effect.orDie(Effect.asVoid(Repo.insert(Hooked, { tenantId: 2, text })))
        yield* Repo.transact(
          Effect.gen(function* () {
            yield* Transaction.afterCommit(insert("after")).pipe(as(2))
            yield* Transaction.onCommitOrNow(insert("or now")).pipe(as(2))
            yield* Transaction.afterCommit(insert("unhooked")).pipe(as(2), Repo.disableHooks)
          })
        ).pipe(as(1), Effect.provide(Tenancy))
        expect(yield* sql`select tenant_id, text from notes order by id`).toEqual([
          { tenant_id: 2, text: "after" },
          { tenant_id: 2, text: "or now" },
          { tenant_id: 2, text: "unhooked" }
        ])
        expect(ran).toEqual(["after", "or now"])
      })
    )

    it.effect("that narrows by nothing, or to another value than one around it, refuses the call", () =>
      Effect.gen(function* () {
        yield* freshNotes
        const narrowing = (where: Readonly<Record<string, unknown>>) => Repo.middleware((_, next) => next({ where }))
        const Both = narrowing({ tenantId: 1 }).pipe(Layer.provide(narrowing({ tenantId: 2 })))
        for (const [Narrowed, reason] of [
          [narrowing({}), "by no field at all"],
          [Both, "different values of tenantId"]
        ] as const) {
          const error = yield* Repo.count(Notes).pipe(Effect.flip, Effect.provide(Narrowed))
          expect(error).toMatchObject({ _tag: "DbError", kind: "refused" })
          expect(error.message).toContain(reason)
        }
      })
    )

    it.effect("that names tables is about those of their schema, and not about one that names it otherwise", () =>
      Effect.gen(function* () {
        yield* freshNotes
        const events: Array<unknown> = []
        const Named = Table.make(Note, { name: "notes", key: "id", schema: "public" })
        const Watch = Repo.middleware(
          (call, next) => {
            events.push(call.table.schema)
            return next()
          },
          { tables: [Notes] }
        )
        yield* Effect.zipRight(Repo.count(Named), Repo.count(Notes)).pipe(Effect.provide(Watch))
        expect(events).toEqual([undefined])
      })
    )

    it.effect("in a transaction belongs to it", () =>
      Effect.gen(function* () {
        yield* freshTables
        const events: Array<unknown> = []
        yield* Effect.ignore(
          Repo.transact(Effect.zipRight(Repo.insert(People, row), Effect.fail("rolled back" as const)))
        ).pipe(Effect.provide(noting("m", events)))
        expect(yield* Repo.count(People)).toBe(0)
        expect(events).toEqual(["m: insert people", "m: after"])
      })
    )

    it.effect("may give the table that a preload reads another condition", () =>
      Effect.gen(function* () {
        yield* freshTables
        const { id } = yield* Repo.insert(People, row)
        yield* Repo.insertAll(Pets, [
          { ownerId: id, name: "Rex" },
          { ownerId: id, name: "Tom" }
        ])
        const seen: Array<unknown> = []
        const Named = Repo.middleware(
          (call, next) => {
            seen.push(call.arguments)
            // Sound: the condition of a preload is an object of fields.
            return next({ arguments: [{ ...(call.arguments[0] as object), name: "Tom" }] })
          },
          { tables: [Pets] }
        )
        const person = yield* Repo.fetch(People, id, { preload: { pets: Table.hasMany(Pets, "ownerId") } }).pipe(
          Effect.provide(Named)
        )
        expect(seen).toEqual([[{ ownerId: [id] }]])
        expect(person.pets.map(({ name }) => name)).toEqual(["Tom"])
        const sql = yield* SqlClient.SqlClient
        const other = yield* Repo.fetch(People, id, { preload: { pets: Table.hasMany(Pets, "ownerId") } }).pipe(
          Effect.provide(Repo.middleware((_, next) => next({ arguments: [sql`name < ${"S"}`] }), { tables: [Pets] }))
        )
        expect(other.pets.map(({ name }) => name)).toEqual(["Rex"])
      })
    )

    describe("that narrows calls to a tenant's rows", () => {
      const twoTenants = Effect.gen(function* () {
        const sql = yield* freshNotes
        yield* sql`insert into notes (tenant_id, text) values (1, 'one'), (2, 'two'), (2, 'three')`
        return sql
      })

      it.effect("reads no others, by key, by condition, by fragment, when it counts and when it preloads", () =>
        Effect.gen(function* () {
          const sql = yield* twoTenants
          yield* Effect.gen(function* () {
            expect(Option.isNone(yield* Repo.get(Notes, 1))).toBe(true)
            expect((yield* Repo.fetch(Notes, 2)).text).toBe("two")
            expect((yield* Effect.flip(Repo.fetch(Notes, 1)))._tag).toBe("NotFound")
            expect((yield* Repo.all(Notes)).map(({ id }) => id)).toEqual([2, 3])
            expect(yield* Repo.all(Notes, { text: ["one", "two"] })).toHaveLength(1)
            expect(yield* Repo.all(Notes, sql`text = ${"one"} or true order by id desc limit 5`)).toHaveLength(2)
            expect(Option.isNone(yield* Repo.getBy(Notes, { text: "one" }))).toBe(true)
            expect(yield* Repo.count(Notes)).toBe(2)
            expect(yield* Repo.count(Notes, sql`text = ${"one"} or true`)).toBe(2)
            expect(yield* Repo.exists(Notes, { text: "one" })).toBe(false)
            expect(yield* Repo.transact(Repo.all(Notes, undefined, { lock: "update" }))).toHaveLength(2)
            const [two] = yield* Repo.all(Notes, { id: 2 })
            const loaded = yield* Repo.preload(Notes, two as Note, { all: Table.hasMany(Notes, "id") })
            expect(loaded.all).toHaveLength(1)
          }).pipe(as(2), Effect.provide(Tenancy))
        })
      )

      it.effect("changes and deletes no others", () =>
        Effect.gen(function* () {
          const sql = yield* twoTenants
          yield* Effect.gen(function* () {
            expect((yield* Effect.flip(Repo.update(Notes, 1, { text: "mine" })))._tag).toBe("NotFound")
            expect((yield* Effect.flip(Repo.delete(Notes, 1)))._tag).toBe("NotFound")
            expect((yield* Repo.update(Notes, 2, { text: "mine" })).text).toBe("mine")
            yield* Repo.delete(Notes, 3)
          }).pipe(as(2), Effect.provide(Tenancy))
          expect(yield* sql`select id, tenant_id, text from notes order by id`).toEqual([
            { id: 1, tenant_id: 1, text: "one" },
            { id: 2, tenant_id: 2, text: "mine" }
          ])
        })
      )

      it.effect("gives rows that are inserted to the tenant, and refuses to give them to another", () =>
        Effect.gen(function* () {
          yield* freshNotes
          yield* Effect.gen(function* () {
            const note = yield* Repo.insert(Notes, { text: "a" } as never)
            expect(note.tenantId).toBe(2)
            for (const stray of [
              Repo.insert(Notes, { tenantId: 1, text: "b" }),
              Repo.update(Notes, note.id, { tenantId: 1 })
            ])
              expect(yield* Effect.flip(stray)).toMatchObject({ kind: "refused" })
          }).pipe(as(2), Effect.provide(Tenancy))
          expect((yield* Repo.all(Notes)).map(({ tenantId }) => tenantId)).toEqual([2])
        })
      )

      it.effect("holds for every other call too", () =>
        Effect.gen(function* () {
          const sql = yield* twoTenants
          yield* Effect.gen(function* () {
            expect((yield* Repo.page(Notes, { first: 5 })).rows.map(({ id }) => id)).toEqual([2, 3])
            expect(yield* Repo.aggregate(Notes, "min", "id")).toEqual(Option.some(2))
            expect(yield* Repo.aggregate(Notes, "count", "id", sql`id < ${100} or true`)).toBe(2)
            expect(Chunk.size(yield* Stream.runCollect(Repo.stream(Notes)))).toBe(2)
            expect(Chunk.size(yield* Repo.transact(Stream.runCollect(Repo.stream(Notes))))).toBe(2)
            expect((yield* Effect.flip(Repo.modify(Notes, 1, () => Effect.succeed({ text: "mine" }))))._tag).toBe(
              "NotFound"
            )
            expect((yield* Repo.modify(Notes, 2, () => Effect.succeed({ text: "mine" }))).text).toBe("mine")
            const one = new Note({ id: 1, tenantId: 2, text: "one" })
            expect(yield* Repo.reload(Notes, [one])).toEqual([Option.none()])
            expect(yield* Repo.updateAll(Notes, sql`text = ${"one"} or true`, { text: "all mine" })).toBe(2)
            expect(yield* Repo.insertAll(Notes, [{ tenantId: 2, text: "a" }, { text: "b" } as never])).toBe(2)
            const upsert = Repo.insert(
              Notes,
              { tenantId: 2, text: "c" },
              { onConflict: { target: ["id"] as never, action: "replace" } }
            )
            expect(yield* Effect.flip(upsert)).toMatchObject({ _tag: "DbError", kind: "refused" })
            expect(yield* Repo.deleteAll(Notes, Repo.everything)).toBe(4)
          }).pipe(as(2), Effect.provide(Tenancy))
          expect(yield* sql`select tenant_id, text from notes`).toEqual([{ tenant_id: 1, text: "one" }])
        })
      )

      it.effect("is not got round by a fragment that is more than a condition", () =>
        Effect.gen(function* () {
          const sql = yield* twoTenants
          const before = yield* sql`select id, tenant_id, text from notes order by id`
          const page = (where: Repo.Condition<typeof Notes>) => Repo.page(Notes, { first: 5, where })
          const calls = (text: string) => {
            const fragment = sql.literal(text)
            return [
              Repo.updateAll(Notes, fragment, { text: "mine" }),
              Repo.deleteAll(Notes, fragment),
              Repo.all(Notes, fragment),
              Repo.one(Notes, fragment),
              Repo.count(Notes, fragment),
              Repo.exists(Notes, fragment),
              Repo.aggregate(Notes, "max", "id", fragment),
              page(fragment),
              Stream.runCollect(Repo.stream(Notes, fragment))
            ] as ReadonlyArray<Effect.Effect<unknown, unknown, Repo.Repo>>
          }
          const outcomes = (text: string) =>
            Effect.map(Effect.forEach(calls(text), Effect.exit), (exits) => [
              ...new Set(exits.map((exit) => exit._tag))
            ])
          yield* Effect.gen(function* () {
            for (const text of [
              "true) or (true",
              "text = '(' ) or (true",
              "true /* ( */ ) or (true",
              "text = $a$ ( $a$) or (true",
              "true -- (\n) or (true",
              "text = '\\'') or (true --'",
              "text = E'a'\n'\\'' or text <> '\\') or (true -- '",
              "true; delete from notes; select 1",
              "(true",
              "text = 'a",
              "true /* and"
            ]) {
              expect(yield* outcomes(text)).toEqual(["Failure"])
              expect(yield* defect(Repo.all(Notes, sql.literal(text)))).toContain(
                "a condition on notes is a fragment that"
              )
            }
            const all = sql`false union all select id, tenant_id, text from notes`
            expect(yield* Effect.flip(Repo.all(Notes, all))).toMatchObject({ _tag: "DbError", kind: "refused" })
            expect(yield* outcomes("false union all select id, tenant_id, text from notes")).toEqual(["Failure"])
            expect(yield* outcomes("true except select * from notes where false")).toEqual(["Failure"])
            const continued = "text = E'a'\n'\\'' or text <> '\\' union select id, tenant_id, text from notes -- '"
            expect(yield* outcomes(continued)).toEqual(["Failure"])
            // What is inside of parentheses, quotes and comments is the fragment's own affair.
            const fine = sql`id in (select 1 union select 2) and text <> ${"x"} and ')' <> '(' /* ) */ -- )`
            expect((yield* Repo.all(Notes, fine)).map(({ id }) => id)).toEqual([2])
          }).pipe(as(2), Effect.provide(Tenancy))
          expect(yield* sql`select id, tenant_id, text from notes order by id`).toEqual(before)
          // Without a middleware another query's rows are the program's own affair.
          expect(yield* Repo.count(Notes, sql`false union all select from notes`)).toBe(3)
        })
      )

      it.effect("keeps the calls of hooks to it, and leaves other tables alone", () =>
        Effect.gen(function* () {
          yield* twoTenants
          const seen: Array<number> = []
          const Hooked = People.pipe(
            Table.hooks({
              afterInsert: (person) =>
                Effect.gen(function* () {
                  seen.push(yield* Repo.count(Notes))
                  return person
                })
            })
          )
          yield* Repo.insert(Hooked, row).pipe(as(1), Effect.provide(Tenancy))
          expect(seen).toEqual([1])
          expect((yield* Effect.flip(Repo.count(Notes).pipe(Effect.provide(Tenancy)))).message).toBe(
            "could not count notes: no tenant is named: use Repo.annotate({ tenant })"
          )
        })
      )

      it.effect("writes no others, whatever a hook makes of what is written", () =>
        Effect.gen(function* () {
          const sql = yield* freshNotes
          const elsewhere = Notes.pipe(
            Table.hooks({
              beforeInsert: (row) => Effect.succeed({ ...row, tenantId: 2 }),
              beforeInsertAll: (rows) => Effect.succeed(rows.map((row) => ({ ...row, tenantId: 2 }))),
              beforeUpdate: (patch) => Effect.succeed({ ...patch, tenantId: 2 }),
              beforeUpdateAll: (patch) => Effect.succeed({ ...patch, tenantId: 2 })
            })
          )
          const nowhere = Notes.pipe(
            // Forced past its type.
            Table.hooks({
              beforeInsert: ({ tenantId: _, ...row }) => Effect.succeed(row as Table.Insert<typeof Notes>)
            })
          )
          yield* Effect.gen(function* () {
            const { id } = yield* Repo.insert(Notes, { tenantId: 1, text: "a" })
            const given = { tenantId: 1, text: "b" }
            for (const call of [
              Repo.insert(elsewhere, given),
              Repo.insertAll(elsewhere, [given]),
              Repo.update(elsewhere, id, { text: "c" }),
              Repo.updateAll(elsewhere, { id }, { text: "c" })
            ] as ReadonlyArray<Effect.Effect<unknown, { readonly _tag: string }, Repo.Repo>>) {
              const error = yield* Effect.flip(call)
              expect(error).toMatchObject({ _tag: "DbError", kind: "refused" })
            }
            expect(Exit.isFailure(yield* Effect.exit(Repo.insert(nowhere, given)))).toBe(true)
          }).pipe(as(1), Effect.provide(Tenancy))
          expect(yield* sql`select tenant_id, text from notes`).toEqual([{ tenant_id: 1, text: "a" }])
        })
      )

      it.effect("runs the table's hooks as ever", () =>
        Effect.gen(function* () {
          yield* twoTenants
          const seen: Array<unknown> = []
          const Hooked = Notes.pipe(
            Table.hooks({
              loadOld: true,
              beforeUpdate: (patch, delta) =>
                Effect.sync(() => {
                  seen.push(Option.map(delta.old, ({ text }) => text))
                  return patch
                }),
              afterGet: (rows) =>
                Effect.sync(() => {
                  seen.push(rows.length)
                  return rows
                })
            })
          )
          yield* Effect.gen(function* () {
            yield* Repo.all(Hooked)
            yield* Repo.update(Hooked, 2, { text: "new" })
          }).pipe(as(2), Effect.provide(Tenancy))
          expect(seen).toEqual([2, Option.some("two")])
        })
      )
    })
  })
})
