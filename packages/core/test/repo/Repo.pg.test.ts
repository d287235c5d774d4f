import { Model, SqlClient } from "@effect/sql"
import { PgClient } from "@effect/sql-pg"
import { describe, expect, layer } from "@effect/vitest"
import { type Context, Data, DateTime, Deferred, Effect, Fiber, Layer, Metric, Option, Schema, Tracer } from "effect"
import * as Repo from "../../src/repo/Repo.js"
import * as Table from "../../src/repo/Table.js"
import { ada, freshTables, logged, People, Person, PersonId, Pets, TestRepo } from "./people.js"

const onePool = Layer.unwrapEffect(
  Effect.map(PgClient.PgClient, ({ config }) => PgClient.layer({ ...config, maxConnections: 1 }))
)
const oneConnection = Layer.provideMerge(Repo.layer(), onePool)

const nobody = PersonId.make(4242)

describe("Repo", () => {
  layer(TestRepo, { excludeTestServices: true })((it) => {
    describe("insert", () => {
      it.effect("returns the row as the database holds it, an instance of the model", () =>
        Effect.gen(function* () {
          yield* freshTables
          const row = yield* Repo.insert(People, { ...ada, nickName: Option.some("Countess") })
          expect(row).toBeInstanceOf(Person)
          expect(row.greeting).toBe("Hello Ada")
          expect(row.id).toBe(1)
          expect(row.nickName).toEqual(Option.some("Countess"))
          expect(DateTime.isDateTime(row.createdAt)).toBe(true)
        })
      )

      it.effect("fails with the name of a unique constraint that the table declares, without the value", () =>
        Effect.gen(function* () {
          yield* freshTables
          yield* Repo.insert(People, { ...ada, nickName: Option.none() })
          const error = yield* Effect.flip(Repo.insert(People, { ...ada, nickName: Option.none() }))
          expect(error).toMatchObject({ _tag: "UniqueViolation", constraint: "people_email_key", fields: ["email"] })
          expect(error.message).toBe(
            "could not insert into people: key (email) already exists (constraint people_email_key)"
          )
          expect(JSON.stringify(error)).not.toContain("example.org")
        })
      )

      it.effect("fails with the name of a check constraint and of a foreign key", () =>
        Effect.gen(function* () {
          yield* freshTables
          const check = yield* Effect.flip(Repo.insert(People, { ...ada, age: -1, nickName: Option.none() }))
          expect(check).toMatchObject({ _tag: "CheckViolation", constraint: "people_age_check" })
          const foreignKey = yield* Effect.flip(Repo.insert(Pets, { ownerId: nobody, name: "Rex" }))
          expect(foreignKey).toMatchObject({ _tag: "ForeignKeyViolation", constraint: "pets_owner_id_fkey" })
        })
      )

      it.effect("fails with DbError for a constraint that is not declared, and says how to declare it", () =>
        Effect.gen(function* () {
          yield* freshTables
          const owner = yield* Repo.insert(People, { ...ada, nickName: Option.none() })
          yield* Repo.insert(Pets, { ownerId: owner.id, name: "Rex" })
          const error = yield* Effect.flip(Repo.insert(Pets, { ownerId: owner.id, name: "Rex" }))
          expect(error).toMatchObject({ _tag: "DbError", kind: "constraint", code: "23505" })
          expect(error.message).toContain("pets_name_key")
          expect(error.message).not.toContain("Rex")
        })
      )

      it.effect("fails with InvalidInput for a value that the model refuses, and sends nothing", () =>
        Effect.gen(function* () {
          yield* freshTables
          const { lines, result } = yield* logged(
            Effect.flip(Repo.insert(People, { ...ada, age: 1.5, nickName: Option.none() }))
          )
          expect(result).toMatchObject({ _tag: "InvalidInput", table: "people", field: "age" })
          expect(result.message).not.toContain("1.5")
          expect(lines).toEqual([])
        })
      )
    })

    describe("get", () => {
      it.effect("answers with the row, or with none", () =>
        Effect.gen(function* () {
          yield* freshTables
          const row = yield* Repo.insert(People, { ...ada, nickName: Option.none() })
          expect(yield* Repo.get(People, row.id)).toEqual(Option.some(row))
          expect(yield* Repo.get(People, nobody)).toEqual(Option.none())
        })
      )

      it.effect("answers with none for a key that its field refuses, without asking", () =>
        Effect.gen(function* () {
          yield* freshTables
          const { lines, result } = yield* logged(Repo.get(People, "1 or true" as never))
          expect(result).toEqual(Option.none())
          expect(lines).toEqual([])
        })
      )

      it.effect("fails with DbError naming column and field when a row does not fit the model, without its value", () =>
        Effect.gen(function* () {
          const sql = yield* freshTables
          yield* Repo.insert(People, { ...ada, nickName: Option.none() })
          yield* sql`alter table people drop constraint people_age_check, alter column age type text using 'secret'`
          const error = yield* Effect.flip(Repo.get(People, PersonId.make(1)))
          expect(error).toMatchObject({ _tag: "DbError", kind: "decode" })
          expect(error.message).toContain("column age holds a string, but field age of the model expects")
          expect(error.message).not.toContain("secret")
        })
      )

      it.effect("fails with DbError when the table is not there, and says what may be missing", () =>
        Effect.gen(function* () {
          const sql = yield* freshTables
          yield* sql`drop table people cascade`
          const error = yield* Effect.flip(Repo.get(People, nobody))
          expect(error).toMatchObject({ _tag: "DbError", code: "42P01" })
          expect(error.message).toContain("could not read people:")
          expect(error.message).toContain("migration")
        })
      )
    })

    describe("fetch", () => {
      it.effect("fails with NotFound naming the table and the key's field", () =>
        Effect.gen(function* () {
          yield* freshTables
          const error = yield* Effect.flip(Repo.fetch(People, nobody))
          expect(error).toMatchObject({ _tag: "NotFound", table: "people", fields: ["id"], by: nobody })
          expect(error.message).toBe("there is no row in people with that id")
        })
      )
    })

    describe("update", () => {
      it.effect("changes the given fields only, by key or by row, and the application's timestamp", () =>
        Effect.gen(function* () {
          yield* freshTables
          const row = yield* Repo.insert(People, { ...ada, nickName: Option.none() })
          const older = yield* Repo.update(People, row.id, { age: 37 })
          expect([older.age, older.firstName]).toEqual([37, "Ada"])
          expect(DateTime.greaterThanOrEqualTo(older.updatedAt, row.updatedAt)).toBe(true)
          const renamed = yield* Repo.update(People, older, { firstName: "Augusta" })
          expect([renamed.age, renamed.firstName]).toEqual([37, "Augusta"])
          const { lines } = yield* logged(Repo.update(People, renamed, { age: 38 }))
          expect(lines[0]).toContain(`update "people" set "age" = $1, "updated_at" = $2 where "id" = $3 returning`)
        })
      )

      it.effect("of nothing sends nothing and returns the row it was given; for a key it reads the row", () =>
        Effect.gen(function* () {
          yield* freshTables
          const row = yield* Repo.insert(People, { ...ada, nickName: Option.none() })
          const { lines, result } = yield* logged(Repo.update(People, row, {}))
          expect(result).toBe(row)
          expect(lines).toEqual([])
          expect(yield* Repo.update(People, row.id, {})).toEqual(row)
          expect(yield* Effect.flip(Repo.update(People, nobody, {}))).toMatchObject({ _tag: "NotFound" })
        })
      )

      it.effect("fails with NotFound when the row is gone, and with the constraint that refuses it", () =>
        Effect.gen(function* () {
          yield* freshTables
          const row = yield* Repo.insert(People, { ...ada, nickName: Option.none() })
          expect(yield* Effect.flip(Repo.update(People, nobody, { age: 1 }))).toMatchObject({ _tag: "NotFound" })
          expect(yield* Effect.flip(Repo.update(People, row, { age: -1 }))).toMatchObject({
            _tag: "CheckViolation",
            message: "could not update people: (age) is not allowed by constraint people_age_check"
          })
        })
      )
    })

    describe("delete", () => {
      it.effect("returns what the row held, and fails with NotFound the second time", () =>
        Effect.gen(function* () {
          yield* freshTables
          const row = yield* Repo.insert(People, { ...ada, nickName: Option.none() })
          expect(yield* Repo.delete(People, row)).toEqual(row)
          expect(yield* Effect.flip(Repo.delete(People, row.id))).toMatchObject({ _tag: "NotFound", table: "people" })
        })
      )

      it.effect("fails with ForeignKeyViolation while another table's rows refer to it", () =>
        Effect.gen(function* () {
          yield* freshTables
          const row = yield* Repo.insert(People, { ...ada, nickName: Option.none() })
          yield* Repo.insert(Pets, { ownerId: row.id, name: "Rex" })
          expect(yield* Effect.flip(Repo.delete(People, row))).toMatchObject({
            _tag: "ForeignKeyViolation",
            constraint: "pets_owner_id_fkey"
          })
        })
      )
    })

    describe("all and count", () => {
      it.effect("take equalities, lists, null and fragments", () =>
        Effect.gen(function* () {
          const sql = yield* freshTables
          for (const [name, age] of [
            ["a", 1],
            ["b", 2],
            ["c", 3]
          ] as const)
            yield* Repo.insert(People, { firstName: name, email: name, age, nickName: Option.none() })
          yield* Repo.update(People, PersonId.make(1), { nickName: Option.some("first") })
          const names = (condition?: Repo.Condition<typeof People>) =>
            Effect.map(Repo.all(People, condition), (rows) => rows.map((row) => row.firstName).sort())
          expect(yield* names()).toEqual(["a", "b", "c"])
          expect(yield* names({ firstName: "b" })).toEqual(["b"])
          expect(yield* names({ age: [1, 3] })).toEqual(["a", "c"])
          expect(yield* names({ nickName: null })).toEqual(["b", "c"])
          expect(yield* names({ nickName: Option.some("first"), age: 1 })).toEqual(["a"])
          expect(yield* names({ age: 1.5 })).toEqual([])
          expect(yield* names(sql`age > ${1} and first_name <> ${"c"}`)).toEqual(["b"])
          expect(yield* Repo.count(People)).toBe(3)
          expect(yield* Repo.count(People, { age: [1, 2] })).toBe(2)
          expect(yield* Repo.count(People, sql`age > ${1}`)).toBe(2)
        })
      )
    })

    describe("getBy, fetchBy, one and exists", () => {
      it.effect("answer with the one row, with none, or with MultipleResults", () =>
        Effect.gen(function* () {
          const sql = yield* freshTables
          const row = yield* Repo.insert(People, { ...ada, nickName: Option.none() })
          yield* Repo.insert(People, { ...ada, email: "other", nickName: Option.none() })
          expect(yield* Repo.getBy(People, { email: ada.email })).toEqual(Option.some(row))
          expect(yield* Repo.getBy(People, { email: "nobody" })).toEqual(Option.none())
          expect(yield* Repo.fetchBy(People, { email: ada.email, age: 36 })).toEqual(row)
          expect(yield* Effect.flip(Repo.fetchBy(People, { email: "nobody", age: 1 }))).toMatchObject({
            _tag: "NotFound",
            message: "there is no row in people with that email, age"
          })
          expect(yield* Effect.flip(Repo.getBy(People, { firstName: "Ada" }))).toMatchObject({
            _tag: "MultipleResults",
            message: "more than one row in people has that firstName: ask for a unique field, or use Repo.all"
          })
          expect(yield* Repo.one(People, sql`email = ${"other"} order by id`)).toMatchObject({ _tag: "Some" })
          expect(yield* Effect.flip(Repo.one(People, sql`age > ${1}`))).toMatchObject({ _tag: "MultipleResults" })
          expect(yield* Repo.exists(People)).toBe(true)
          expect(yield* Repo.exists(People, { email: "nobody" })).toBe(false)
          expect(yield* Repo.exists(People, sql`age = ${36}`)).toBe(true)
        })
      )
    })

    describe("row locks", () => {
      /** Another transaction that holds the row, until told to end. */
      const held = (id: typeof PersonId.Type) =>
        Effect.gen(function* () {
          const [locked, leave] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
          const fiber = yield* Effect.fork(
            Repo.transact(
              Repo.fetch(People, id, { lock: "update" }).pipe(
                Effect.zipRight(Deferred.succeed(locked, undefined)),
                Effect.zipRight(Deferred.await(leave))
              )
            )
          )
          yield* Deferred.await(locked)
          return Effect.zipRight(Deferred.succeed(leave, undefined), Fiber.join(fiber))
        })

      it.effect("hold a row against another transaction until the first one ends", () =>
        Effect.gen(function* () {
          const sql = yield* freshTables
          const row = yield* Repo.insert(People, { ...ada, nickName: Option.none() })
          const release = yield* held(row.id)
          const events: Array<string> = []
          const second = yield* Effect.fork(
            Repo.transact(
              Effect.zipRight(
                Repo.fetch(People, row.id, { lock: "no key update" }),
                Effect.sync(() => events.push("second has it"))
              )
            )
          )
          const waiting = Effect.map(
            sql<{ n: number }>`select count(*)::int as n from pg_locks where not granted`,
            (rows) => (rows[0]?.n ?? 0) > 0
          )
          yield* Effect.repeat(waiting, { until: (yes) => yes })
          events.push("first ends")
          yield* release
          yield* Fiber.join(second)
          expect(events).toEqual(["first ends", "second has it"])
        })
      )

      it.effect("that are not to be had in time fail with LockTimeout, and the transaction goes on", () =>
        Effect.gen(function* () {
          yield* freshTables
          const row = yield* Repo.insert(People, { ...ada, nickName: Option.none() })
          const free = yield* Repo.insert(People, { ...ada, email: "free", nickName: Option.none() })
          const release = yield* held(row.id)
          const wait = (time: Repo.Wait) => Effect.flip(Repo.fetch(People, row.id, { lock: "update", wait: time }))
          const errors = yield* Repo.transact(
            Effect.gen(function* () {
              const sql = yield* SqlClient.SqlClient
              yield* sql`set local lock_timeout = '7s'`
              const both = [yield* wait("nowait"), yield* wait("10 millis")]
              yield* Repo.fetch(People, free.id, { lock: "update", wait: "1 second" })
              expect(yield* sql`select current_setting('lock_timeout') as value`).toEqual([{ value: "7s" }])
              yield* Repo.update(People, free.id, { age: 50 })
              return both
            })
          )
          expect(errors.map((error) => error._tag)).toEqual(["LockTimeout", "LockTimeout"])
          expect(errors[0]?.message).toBe(
            "could not lock rows of people: another transaction held it for the whole of the time allowed"
          )
          expect((yield* Repo.fetch(People, free.id)).age).toBe(50)
          yield* release
        })
      )

      it.effect("skip what is locked when they are asked to", () =>
        Effect.gen(function* () {
          yield* freshTables
          const row = yield* Repo.insert(People, { ...ada, nickName: Option.none() })
          const free = yield* Repo.insert(People, { ...ada, email: "free", nickName: Option.none() })
          const release = yield* held(row.id)
          const rows = yield* Repo.transact(Repo.all(People, undefined, { lock: "update", wait: "skip locked" }))
          expect(rows).toEqual([free])
          yield* release
        })
      )

      it.effect("let others insert rows that refer to a row locked with no key update", () =>
        Effect.gen(function* () {
          yield* freshTables
          const row = yield* Repo.insert(People, { ...ada, nickName: Option.none() })
          const outside = yield* Effect.context<Repo.Repo>()
          yield* Repo.transact(
            Effect.zipRight(
              Repo.fetch(People, row.id, { lock: "no key update" }),
              Effect.mapInputContext(
                Repo.insert(Pets, { ownerId: row.id, name: "Rex" }),
                (_: Context.Context<never>) => outside
              )
            )
          )
          expect(yield* Repo.count(Pets)).toBe(1)
        })
      )

      it.effect("forced past the types outside of a transaction fail with TransactionClosed", () =>
        Effect.gen(function* () {
          yield* freshTables
          const forced = Repo.get(People, nobody, { lock: "update" }) as unknown as Effect.Effect<
            unknown,
            { readonly message: string },
            Repo.Repo
          >
          expect(yield* Effect.flip(forced)).toMatchObject({
            _tag: "TransactionClosed",
            message: "could not lock rows of people: there is no transaction. Wrap it in Repo.transact."
          })
        })
      )
    })

    describe("hooks", () => {
      class TooYoung extends Data.TaggedError("TooYoung") {}

      it.effect("beforeInsert replaces what is inserted, several in order, and can refuse", () =>
        Effect.gen(function* () {
          yield* freshTables
          const Hooked = People.pipe(
            Table.hooks({
              beforeInsert: (row) =>
                row.age < 18 ? Effect.fail(new TooYoung()) : Effect.succeed({ ...row, email: row.email.toUpperCase() })
            }),
            Table.hooks({ beforeInsert: (row) => Effect.succeed({ ...row, email: `${row.email}!` }) })
          )
          const row = yield* Repo.insert(Hooked, { ...ada, nickName: Option.none() })
          expect(row.email).toBe("ADA@EXAMPLE.ORG!")
          const error = yield* Effect.flip(Repo.insert(Hooked, { ...ada, age: 7, nickName: Option.none() }))
          expect(error._tag).toBe("TooYoung")
          expect(yield* Repo.count(People)).toBe(1)
        })
      )

      it.effect("afterGet runs once for each result set that has rows", () =>
        Effect.gen(function* () {
          yield* freshTables
          const calls: Array<unknown> = []
          const Hooked = People.pipe(
            Table.hooks({
              afterGet: (rows, delta) =>
                Effect.sync(() => {
                  calls.push([delta.call, rows.length])
                  return rows.map((row) => new Person({ ...row, firstName: `${row.firstName}*` }))
                })
            })
          )
          const row = yield* Repo.insert(Hooked, { ...ada, nickName: Option.none() })
          yield* Repo.insert(Hooked, { ...ada, email: "b", nickName: Option.none() })
          expect((yield* Repo.fetch(Hooked, row.id)).firstName).toBe("Ada*")
          yield* Repo.get(Hooked, row.id)
          yield* Repo.get(Hooked, nobody)
          yield* Repo.all(Hooked)
          expect(calls).toEqual([
            ["fetch", 1],
            ["get", 1],
            ["all", 2]
          ])
        })
      )

      it.effect("of a write run in one transaction with it: a failing afterInsert leaves no row", () =>
        Effect.gen(function* () {
          yield* freshTables
          const Hooked = People.pipe(Table.hooks({ afterInsert: () => Effect.fail("no" as const) }))
          const { lines, result } = yield* logged(Effect.flip(Repo.insert(Hooked, { ...ada, nickName: Option.none() })))
          expect(result).toBe("no")
          expect(lines.map((line) => line.split("\n")[1]?.split(" ")[0])).toEqual(["begin", "insert", "rollback"])
          expect(yield* Repo.count(People)).toBe(0)
        })
      )

      it.effect("run around update and delete, and what they return is returned", () =>
        Effect.gen(function* () {
          yield* freshTables
          const events: Array<string> = []
          const Hooked = People.pipe(
            Table.hooks((table) => ({
              beforeUpdate: (patch) =>
                Effect.sync(() => {
                  events.push(`before update of ${table.name}`)
                  return { ...patch, firstName: "Eager" }
                }),
              afterUpdate: (row) =>
                Effect.sync(() => {
                  events.push("after update")
                  return row
                }),
              beforeDelete: (key) => Effect.sync(() => void events.push(`before delete of ${key}`)),
              afterDelete: (row) =>
                Effect.sync(() => {
                  events.push("after delete")
                  return new Person({ ...row, firstName: "Gone" })
                })
            }))
          )
          const row = yield* Repo.insert(Hooked, { ...ada, nickName: Option.none() })
          expect((yield* Repo.update(Hooked, row, { age: 40 })).firstName).toBe("Eager")
          yield* Repo.update(Hooked, row, {})
          expect((yield* Repo.delete(Hooked, row)).firstName).toBe("Gone")
          expect(events).toEqual(["before update of people", "after update", "before delete of 1", "after delete"])
        })
      )

      it.effect("do not run inside of a hook, in fibers that it forks neither, and run again afterwards", () =>
        Effect.gen(function* () {
          yield* freshTables
          const events: Array<unknown> = []
          const Audit = Pets.pipe(
            Table.hooks({
              afterInsert: (row) =>
                Effect.sync(() => {
                  events.push(`audit ${row.name}`)
                  return row
                })
            })
          )
          const Hooked = People.pipe(
            Table.hooks({
              afterInsert: (row) =>
                Effect.gen(function* () {
                  yield* Repo.insert(Audit, { ownerId: row.id, name: "one" })
                  yield* Repo.insert(Audit, { ownerId: row.id, name: "two" })
                  yield* Effect.all(
                    [
                      Repo.insert(Audit, { ownerId: row.id, name: "three" }),
                      Repo.insert(Audit, { ownerId: row.id, name: "four" })
                    ],
                    { concurrency: 2 }
                  )
                  events.push(yield* Repo.inHook)
                  return row
                })
            })
          )
          const row = yield* Repo.insert(Hooked, { ...ada, nickName: Option.none() })
          yield* Repo.insert(Audit, { ownerId: row.id, name: "five" })
          expect(events).toEqual([true, "audit five"])
          expect(yield* Repo.inHook).toBe(false)
          expect(yield* Repo.count(Pets)).toBe(5)
        })
      )
    })

    describe("transact", () => {
      it.effect("covers the Repo and statements written by hand alike", () =>
        Effect.gen(function* () {
          const sql = yield* freshTables
          yield* Effect.flip(
            Repo.transact(
              Effect.gen(function* () {
                yield* Repo.insert(People, { ...ada, nickName: Option.none() })
                yield* sql`update people set age = 99`
                expect((yield* Repo.fetch(People, PersonId.make(1))).age).toBe(99)
                return yield* Effect.fail("no" as const)
              })
            )
          )
          expect(yield* Repo.count(People)).toBe(0)
        })
      )

      it.effect("is what withTransaction of the provided SqlClient does", () =>
        Effect.gen(function* () {
          const sql = yield* freshTables
          const error = yield* Effect.flip(
            sql.withTransaction(
              Effect.zipRight(
                Repo.insert(People, { ...ada, nickName: Option.none() }),
                Effect.ignore(Repo.insert(People, { ...ada, nickName: Option.none() }))
              )
            )
          )
          expect(error).toMatchObject({ _tag: "SqlError", cause: { _tag: "CommitFailed", code: "25P02" } })
          expect(yield* Repo.count(People)).toBe(0)
        })
      )

      it.effect("refuses statements of a fiber that outlived it", () =>
        Effect.gen(function* () {
          yield* freshTables
          const ended = yield* Deferred.make<void>()
          const daemon = yield* Repo.transact(
            Effect.forkDaemon(
              Effect.zipRight(
                Deferred.await(ended),
                Effect.flip(Repo.insert(People, { ...ada, nickName: Option.none() }))
              )
            )
          )
          yield* Deferred.succeed(ended, undefined)
          expect(yield* daemon).toMatchObject({
            _tag: "TransactionClosed",
            message:
              "could not insert into people: the transaction it belongs to has ended. Await forked fibers inside of the transaction, or fork them outside."
          })
        })
      )
    })

    describe("the log", () => {
      it.effect("shows one line and the text for each statement at Debug, and no values", () =>
        Effect.gen(function* () {
          yield* freshTables
          const { lines } = yield* logged(
            Repo.transact(
              Effect.gen(function* () {
                yield* Repo.get(People, nobody)
                yield* Effect.ignore(Repo.transact(Repo.fetch(People, nobody)))
              })
            )
          )
          const select = `select "id", "first_name", "email", "age", "nick_name", "created_at", "updated_at" from "people" where "id" = $1`
          expect(lines).toEqual([
            "QUERY OK\nbegin",
            `QUERY OK source="people"\n${select}`,
            "QUERY OK\nsavepoint effecto_1",
            `QUERY OK source="people"\n${select}`,
            "QUERY OK\nrollback to savepoint effecto_1; release savepoint effecto_1",
            "QUERY OK\ncommit"
          ])
        })
      )

      it.effect("says QUERY ERROR for a statement that failed", () =>
        Effect.gen(function* () {
          const sql = yield* freshTables
          const { lines } = yield* logged(Effect.ignore(sql`select nothing`))
          expect(lines).toEqual(["QUERY ERROR\nselect nothing"])
        })
      )

      it.effect("shows parameters when the layer was asked to", () =>
        Effect.gen(function* () {
          yield* freshTables
          const base = yield* SqlClient.SqlClient
          const { lines } = yield* logged(
            Repo.count(People, { age: 7 }).pipe(
              Effect.provide(Repo.layer({ logParameters: true })),
              Effect.provideService(SqlClient.SqlClient, base)
            )
          )
          expect(lines).toEqual([
            `QUERY OK source="people"\nselect count(*) as "count" from "people" where "age" = $1 [7]`
          ])
        })
      )

      it.effect("counts statements, by table too", () =>
        Effect.gen(function* () {
          yield* freshTables
          const numbers = Effect.all([
            Metric.value(Repo.queries),
            Metric.value(Repo.queriesOf("people")),
            Metric.value(Repo.queriesOf("transaction"))
          ])
          const before = yield* numbers
          yield* Repo.transact(Repo.count(People))
          const after = yield* numbers
          expect(after.map((state, at) => state.count - (before[at]?.count ?? 0))).toEqual([3, 1, 2])
        })
      )
    })

    describe("spans", () => {
      it.effect(
        "are made for each call when somebody traces, under those of the calls around them, and hold no values",
        () =>
          Effect.gen(function* () {
            yield* freshTables
            const spans: Array<Tracer.Span> = []
            const native = yield* Effect.tracer
            const tracer = Tracer.make({
              context: (f) => f(),
              span: (...all) => {
                const span = native.span(...all)
                spans.push(span)
                return span
              }
            })
            yield* Repo.transact(
              Effect.zipRight(
                Repo.insert(People, { ...ada, nickName: Option.none() }),
                Effect.ignore(Repo.fetch(People, nobody))
              )
            ).pipe(Effect.withTracer(tracer))
            expect(
              spans.map((span) => [
                span.name,
                Option.getOrUndefined(Option.map(span.parent, (parent) => (parent as Tracer.Span).name)),
                span.attributes.get("db.collection.name")
              ])
            ).toEqual([
              ["Repo.transact", undefined, undefined],
              ["Repo.insert", "Repo.transact", "people"],
              ["Repo.fetch", "Repo.transact", "people"]
            ])
            expect(JSON.stringify(spans.map((span) => [...span.attributes]))).not.toContain(ada.email)
          })
      )
    })

    describe("a client with transformations of its own", () => {
      it.effect("changes nothing for the Repo", () =>
        Effect.gen(function* () {
          yield* freshTables
          const { config } = yield* PgClient.PgClient
          const transforming = PgClient.layer({
            ...config,
            transformQueryNames: (name) => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`),
            transformResultNames: (name) => name.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase())
          })
          yield* Effect.gen(function* () {
            const sql = yield* SqlClient.SqlClient
            const row = yield* Repo.insert(People, { ...ada, nickName: Option.some("A") })
            expect(yield* Repo.fetch(People, row.id)).toEqual(row)
            expect(yield* Repo.all(People, sql`${sql("firstName")} = ${"Ada"}`)).toEqual([row])
            expect(yield* sql`select first_name from people`).toEqual([{ firstName: "Ada" }])
            expect(yield* sql.withoutTransforms()`select first_name from people`).toEqual([{ first_name: "Ada" }])
          }).pipe(Effect.provide(Layer.provideMerge(Repo.layer(), transforming)))
        })
      )
    })

    describe("prepared statements", () => {
      it.effect("are made once for each connection, and again when the table was altered", () =>
        Effect.gen(function* () {
          const sql = yield* freshTables
          yield* Repo.insert(People, { ...ada, nickName: Option.none() })
          yield* Repo.transact(
            Effect.gen(function* () {
              yield* Repo.get(People, PersonId.make(1))
              yield* Repo.get(People, PersonId.make(1))
              const statements = yield* sql`
                select name from pg_prepared_statements
                where statement like 'select "id", "first_name"%from "people" where "id" = $1'`
              expect(statements).toHaveLength(1)
            })
          )
          yield* sql`alter table people alter column age type bigint`
          expect((yield* Repo.fetch(People, PersonId.make(1))).age).toBe(36)
        }).pipe(Effect.provide(oneConnection))
      )

      it.effect("are not made when the layer was asked not to", () =>
        Effect.gen(function* () {
          yield* freshTables
          const sql = yield* SqlClient.SqlClient
          const left = yield* Repo.transact(
            Effect.zipRight(Repo.get(People, nobody), sql`select name from pg_prepared_statements`)
          )
          expect(left).toEqual([])
        }).pipe(Effect.provide(Layer.provideMerge(Repo.layer({ prepare: false }), onePool)))
      )
    })

    describe("a withTransaction of a client that is not ours", () => {
      it.effect("is joined by statements, and refuses transact, whose commit nobody could see", () =>
        Effect.gen(function* () {
          yield* freshTables
          const error = yield* Effect.gen(function* () {
            const plain = yield* PgClient.PgClient
            const repo = yield* Effect.provide(
              Repo.Repo,
              Layer.provide(Repo.layer(), Layer.succeed(SqlClient.SqlClient, plain))
            )
            return yield* Effect.flip(
              plain.withTransaction(
                Effect.gen(function* () {
                  yield* repo.insert(People, { ...ada, nickName: Option.none() })
                  expect(yield* repo.count(People)).toBe(1)
                  return yield* repo.transact(Effect.void)
                })
              )
            )
          }).pipe(Effect.provide(onePool))
          expect(error).toMatchObject({ _tag: "DbError", operation: "begin a transaction" })
          expect(yield* Repo.count(People)).toBe(0)
        })
      )
    })

    describe("columns", () => {
      class Odd extends Model.Class<Odd>("Odd")({
        userID: Schema.String,
        HTMLBody: Schema.NullOr(Schema.String),
        amount: Schema.Number,
        big: Schema.BigIntFromSelf,
        exact: Schema.NumberFromString,
        legacy: Schema.Boolean,
        note: Schema.optional(Schema.String)
      }) {}
      const Odds = Table.make(Odd, { name: "odds", schema: "elsewhere", key: "userID", columns: { legacy: "OldName" } })

      it.effect("are the fields in snake case, or as the table names them; int8 and numeric become numbers", () =>
        Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          yield* sql`create schema elsewhere`
          yield* sql`create table elsewhere.odds (user_id text primary key, html_body text, amount numeric, big int8, exact numeric, "OldName" bool, note text)`
          const row = yield* Repo.insert(Odds, {
            userID: "u",
            HTMLBody: null,
            amount: 1.25,
            big: 9007199254740993n,
            exact: 12.5,
            legacy: true
          })
          expect({ ...row }).toEqual({
            userID: "u",
            HTMLBody: null,
            amount: 1.25,
            big: 9007199254740993n,
            exact: 12.5,
            legacy: true
          })
          expect(yield* Repo.fetch(Odds, "u")).toEqual(row)
          yield* sql`update elsewhere.odds set amount = 9007199254740993`
          expect(yield* Effect.flip(Repo.fetch(Odds, "u"))).toMatchObject({ _tag: "DbError", kind: "decode" })
        })
      )
    })
  })
})
