/** Hooks: what they are told, where they run inside of each other, and what they hear of a commit. Ids are those of docs/seed-cases.md. */
import { describe, expect, layer } from "@effect/vitest"
import { Context, Data, Deferred, Effect, Exit, Fiber, FiberRef, Layer, Logger, Option } from "effect"
import * as Repo from "../../src/repo/Repo.js"
import * as Table from "../../src/repo/Table.js"
import * as Transaction from "../../src/repo/Transaction.js"
import { ada, freshTables, logged, People, Person, PersonId, Pets, TestRepo } from "./people.js"

const row = { ...ada, nickName: Option.none() }
const nobody = PersonId.make(4242)

class Refused extends Data.TaggedError("Refused") {}

/** A table that notes what its hooks are told. */
const noting = (told: Array<Table.Delta<typeof People>>) => {
  const note = <A>(value: A, delta: Table.Delta<typeof People>) =>
    Effect.sync(() => {
      told.push(delta)
      return value
    })
  return People.pipe(
    Table.hooks({
      beforeInsert: note,
      afterInsert: note,
      beforeUpdate: note,
      afterUpdate: note,
      beforeDelete: (_, delta) => Effect.asVoid(note(undefined, delta)),
      afterDelete: note,
      afterGet: note
    })
  )
}

describe("a hook", () => {
  layer(TestRepo, { excludeTestServices: true })((it) => {
    describe("is told", () => {
      it.effect("EH-T129..T131 EH-T187..T190 what is inserted, as the hooks before left it, and no record", () =>
        Effect.gen(function* () {
          yield* freshTables
          const told: Array<Table.Delta<typeof People>> = []
          const Noted = noting(told).pipe(
            Table.hooks({ beforeInsert: (row) => Effect.succeed({ ...row, firstName: "Bob" }) })
          )
          const inserted = yield* Repo.insert(Noted, row)
          expect(inserted.firstName).toBe("Bob")
          expect(told.map(({ hook, operation, call, depth }) => [hook, operation, call, depth])).toEqual([
            ["beforeInsert", "insert", "insert", 0],
            ["afterInsert", "insert", "insert", 0]
          ])
          expect(told.map(({ changeset }) => changeset?.firstName)).toEqual(["Ada", "Bob"])
          expect(told.map(({ source }) => source === row)).toEqual([true, true])
          expect(told.every((delta) => delta.record === undefined && delta.queryable === undefined)).toBe(true)
          expect(told[0]?.table.name).toBe("people")
          expect(told[0]?.changed("email")).toBe(true)
          expect(told[0]?.changed("id")).toBe(false)
          expect(told[0]?.options).toEqual({})
        })
      )

      it.effect("EH-T195..T198 of an update: the patch, the row it was given, and that row as the old one", () =>
        Effect.gen(function* () {
          yield* freshTables
          const told: Array<Table.Delta<typeof People>> = []
          const Noted = noting(told)
          const person = yield* Repo.insert(People, row)
          const updated = yield* Repo.update(Noted, person, { age: 37 })
          expect(updated.id).toBe(person.id)
          yield* Repo.update(Noted, person.id, { age: 38 })
          expect(told.map(({ hook }) => hook)).toEqual(["beforeUpdate", "afterUpdate", "beforeUpdate", "afterUpdate"])
          expect(told.map(({ changeset }) => changeset?.age)).toEqual([37, 37, 38, 38])
          expect(told.map(({ record }) => record === person)).toEqual([true, true, false, false])
          expect(told.map(({ old }) => Option.getOrUndefined(old)?.age)).toEqual([36, 36, undefined, undefined])
          expect(told[0]?.changed("age")).toBe(true)
          expect(told[0]?.changed("firstName")).toBe(false)
        })
      )

      it.effect("EH-T203/T204 of a delete: the row as source and record, and what it gives is what delete gives", () =>
        Effect.gen(function* () {
          yield* freshTables
          const told: Array<Table.Delta<typeof People>> = []
          const Noted = noting(told).pipe(
            Table.hooks({ afterDelete: (gone) => Effect.succeed(new Person({ ...gone, firstName: "Gone" })) })
          )
          const person = yield* Repo.insert(People, row)
          expect((yield* Repo.delete(Noted, person)).firstName).toBe("Gone")
          expect(told.map(({ hook }) => hook)).toEqual(["beforeDelete", "afterDelete"])
          expect(told.every((delta) => delta.source === person && delta.record === person)).toBe(true)
          expect(told.every((delta) => delta.changeset === undefined)).toBe(true)
          expect(yield* Repo.count(People)).toBe(0)
        })
      )

      it.effect("EH-T167..T177 of a read: what was asked for as source and queryable, with its options", () =>
        Effect.gen(function* () {
          yield* freshTables
          const told: Array<Table.Delta<typeof People>> = []
          const Noted = noting(told).pipe(
            Table.hooks({
              afterGet: (rows) => Effect.succeed(rows.map((row) => new Person({ ...row, firstName: "filled" })))
            })
          )
          const person = yield* Repo.insert(People, row)
          const where = { email: person.email }
          const read = [
            Option.getOrThrow(yield* Repo.get(Noted, person.id)),
            yield* Repo.fetch(Noted, person.id),
            Option.getOrThrow(yield* Repo.getBy(Noted, where)),
            yield* Repo.fetchBy(Noted, where),
            Option.getOrThrow(yield* Repo.one(Noted, where)),
            ...(yield* Repo.all(Noted)),
            ...(yield* Repo.all(Noted, where))
          ]
          expect(read.map(({ firstName }) => firstName)).toEqual(read.map(() => "filled"))
          yield* Repo.transact(Repo.fetch(Noted, person.id, { lock: "update" }))
          expect(told.map(({ call, source }) => [call, source === Noted || source])).toEqual([
            ["get", person.id],
            ["fetch", person.id],
            ["getBy", where],
            ["fetchBy", where],
            ["one", where],
            ["all", true],
            ["all", where],
            ["fetch", person.id]
          ])
          expect(told.every((delta) => delta.queryable === delta.source && delta.hook === "afterGet")).toBe(true)
          expect(told.at(-1)?.options).toEqual({ lock: "update" })
          // Nothing found: nothing to run on.
          told.length = 0
          yield* Repo.get(Noted, nobody)
          yield* Repo.getBy(Noted, { email: "nobody" })
          yield* Effect.flip(Repo.fetch(Noted, nobody))
          yield* Effect.flip(Repo.fetchBy(Noted, { email: "nobody" }))
          expect(told).toEqual([])
        })
      )

      it.effect("EH-T163..T166 EH-T179..T186 of a preload: the rows as source and record, children first", () =>
        Effect.gen(function* () {
          yield* freshTables
          const told: Array<unknown> = []
          const Noted = noting([]).pipe(
            Table.hooks({
              afterGet: (rows, delta) =>
                Effect.sync(() => {
                  told.push([delta.call, delta.record === delta.source, rows.length])
                  return rows
                })
            })
          )
          const NotedPets = Pets.pipe(
            Table.hooks({
              afterGet: (rows) =>
                Effect.sync(() => {
                  told.push("pets")
                  return rows
                })
            })
          )
          const person = yield* Repo.insert(People, row)
          yield* Repo.insert(Pets, { ownerId: person.id, name: "Rex" })
          yield* Repo.preload(Noted, person, { pets: Table.hasMany(NotedPets, "ownerId") })
          yield* Repo.preload(Noted, [person, person], {
            pets: Table.hasMany(NotedPets, "ownerId", { owner: Table.belongsTo(Noted, "ownerId") })
          })
          expect(told).toEqual(["pets", ["preload", true, 1], ["preload", true, 1], "pets", ["preload", true, 2]])
        })
      )

      it.effect("EH-D11 of a preload of nothing, once on the root", () =>
        Effect.gen(function* () {
          yield* freshTables
          const told: Array<Table.Delta<typeof People>> = []
          const person = yield* Repo.insert(People, row)
          yield* Repo.preload(noting(told), person, {})
          expect(told.map(({ call, hook }) => [call, hook])).toEqual([["preload", "afterGet"]])
        })
      )

      it.effect("EH-T178 nothing of a preload of no rows", () =>
        Effect.gen(function* () {
          yield* freshTables
          const told: Array<Table.Delta<typeof People>> = []
          expect(yield* Repo.preload(noting(told), [], { pets: Table.hasMany(Pets, "ownerId") })).toEqual([])
          expect(told).toEqual([])
        })
      )

      it.effect("the row as it was, read and locked, where a hook of the table asks for it", () =>
        Effect.gen(function* () {
          yield* freshTables
          const old: Array<unknown> = []
          const Audited = People.pipe(
            Table.hooks({
              loadOld: true,
              beforeUpdate: (patch, delta) => Effect.as(note(delta), patch),
              afterUpdate: (row, delta) => Effect.as(note(delta), row),
              beforeDelete: (_, delta) => note(delta)
            })
          )
          const note = (delta: Table.Delta<typeof People>) =>
            Effect.sync(() => void old.push(Option.getOrUndefined(Option.map(delta.old, (was) => was.age))))
          const person = yield* Repo.insert(Audited, row)
          yield* Repo.update(People, person, { age: 40 })
          // Not the row that it is given, which is older.
          yield* Repo.update(Audited, person, { age: 41 })
          const { lines } = yield* logged(Repo.delete(Audited, person.id))
          expect(old).toEqual([40, 40, 41])
          expect(lines.map((line) => line.split("\n")[1]?.split(" ")[0])).toEqual([
            "begin",
            "select",
            "delete",
            "commit"
          ])
          expect(lines[1]).toContain("for no key update")
          // Nobody there: the hook runs all the same, and the statement says so.
          expect((yield* Effect.flip(Repo.delete(Audited, nobody)))._tag).toBe("NotFound")
          expect(old.at(-1)).toBe(undefined)
        })
      )

      it.effect("what annotations around the call say, inner ones over outer ones, in forked fibers too", () =>
        Effect.gen(function* () {
          yield* freshTables
          const told: Array<Table.Delta<typeof People>> = []
          const Noted = noting(told)
          const read = Repo.all(Noted)
          yield* Repo.insert(People, row)
          yield* Effect.all([
            read,
            Repo.annotate({ actor: "bob" })(Effect.flatMap(Effect.fork(read), Fiber.join))
          ]).pipe(Repo.annotate({ actor: "ada", request: 7 }))
          yield* read
          expect(told.map(({ annotations }) => annotations)).toEqual([
            { actor: "ada", request: 7 },
            { actor: "bob", request: 7 },
            {}
          ])
        })
      )
    })

    describe("runs", () => {
      it.effect("EH-T143..T146 before an insert, and what it gives is inserted", () =>
        Effect.gen(function* () {
          yield* freshTables
          const Forced = People.pipe(
            Table.hooks({ beforeInsert: (row) => Effect.succeed({ ...row, firstName: "Marley" }) })
          )
          expect((yield* Repo.insert(Forced, row)).firstName).toBe("Marley")
          expect((yield* Repo.fetchBy(People, { email: row.email })).firstName).toBe("Marley")
        })
      )

      it.effect("EH-T147..T150 EH-T191..T194 before an insert that does not fit its model, and not after it", () =>
        Effect.gen(function* () {
          yield* freshTables
          const told: Array<Table.Delta<typeof People>> = []
          const error = yield* Effect.flip(Repo.insert(noting(told), { ...row, age: 1.5 }))
          expect(error._tag).toBe("InvalidInput")
          expect(told.map(({ hook }) => hook)).toEqual(["beforeInsert"])
        })
      )

      it.effect("EH-T151..T154 before an update, and what it gives is changed", () =>
        Effect.gen(function* () {
          yield* freshTables
          const person = yield* Repo.insert(People, row)
          const Forced = People.pipe(
            Table.hooks({ beforeUpdate: (patch) => Effect.succeed({ ...patch, firstName: "Eager" }) })
          )
          expect((yield* Repo.update(Forced, person, { age: 1 })).firstName).toBe("Eager")
        })
      )

      it.effect("EH-T155..T158 EH-T199..T202 before an update that does not fit its model, and not after it", () =>
        Effect.gen(function* () {
          yield* freshTables
          const told: Array<Table.Delta<typeof People>> = []
          const person = yield* Repo.insert(People, row)
          expect((yield* Effect.flip(Repo.update(noting(told), person, { age: 1.5 })))._tag).toBe("InvalidInput")
          expect(told.map(({ hook }) => hook)).toEqual(["beforeUpdate"])
        })
      )

      it.effect("EH-T159/T160 before a delete, which gives the row", () =>
        Effect.gen(function* () {
          yield* freshTables
          const told: Array<Table.Delta<typeof People>> = []
          const person = yield* Repo.insert(People, row)
          expect((yield* Repo.delete(noting(told), person.id)).email).toBe(person.email)
          expect(told[0]?.hook).toBe("beforeDelete")
        })
      )

      it.effect("EH-T161/T162 EH-T205/T206 before a delete of nobody, which is NotFound, and not after it", () =>
        Effect.gen(function* () {
          yield* freshTables
          const told: Array<Table.Delta<typeof People>> = []
          expect((yield* Effect.flip(Repo.delete(noting(told), nobody)))._tag).toBe("NotFound")
          expect(told.map(({ hook }) => hook)).toEqual(["beforeDelete"])
        })
      )

      it.effect("in order where there are several, each before a delete with the key", () =>
        Effect.gen(function* () {
          yield* freshTables
          const keys: Array<unknown> = []
          const Twice = People.pipe(
            Table.hooks({ beforeDelete: (key) => Effect.sync(() => void keys.push(["first", key])) }),
            Table.hooks({ beforeDelete: (key) => Effect.sync(() => void keys.push(["second", key])) })
          )
          const person = yield* Repo.insert(Twice, row)
          yield* Repo.delete(Twice, person)
          expect(keys).toEqual([
            ["first", person.id],
            ["second", person.id]
          ])
        })
      )

      it.effect("EH-D1 on what the table inserts, in the one shape that this has", () =>
        Effect.gen(function* () {
          yield* freshTables
          const seen: Array<unknown> = []
          const Seeing = People.pipe(
            Table.hooks({
              beforeInsert: (row) =>
                Effect.sync(() => {
                  seen.push(row)
                  return row
                })
            })
          )
          yield* Repo.insert(Seeing, row)
          expect(seen).toEqual([row])
        })
      )

      it.effect("EH-D2 and whatever it throws is a defect that reaches the caller, with nothing written", () =>
        Effect.gen(function* () {
          yield* freshTables
          const Broken = People.pipe(
            Table.hooks({
              afterInsert: (row) => {
                // A method that is not there.
                ;(row as unknown as { readonly missing: () => void }).missing()
                return Effect.succeed(row)
              }
            })
          )
          const exit = yield* Effect.exit(Repo.insert(Broken, row))
          expect(exit).toMatchObject({ cause: { _tag: "Die", defect: expect.any(TypeError) } })
          expect(yield* Repo.count(People)).toBe(0)
        })
      )

      it.effect("EH-D8 inside of the transaction of its call", () =>
        Effect.gen(function* () {
          yield* freshTables
          const Seeing = People.pipe(
            Table.hooks({ afterInsert: (row) => Effect.map(Transaction.inTransaction, (is) => (is ? row : fail())) })
          )
          const fail = () => {
            throw new Error("no transaction")
          }
          yield* Effect.ignore(
            Repo.transact(Effect.zipRight(Repo.insert(Seeing, row), Effect.fail("rolled back" as const)))
          )
          expect(yield* Repo.count(People)).toBe(0)
          yield* Repo.insert(Seeing, row)
        })
      )

      it.effect("EH-D7 EH-D10 on rows only: counting and asking whether there are any runs none", () =>
        Effect.gen(function* () {
          yield* freshTables
          const told: Array<Table.Delta<typeof People>> = []
          const Noted = noting(told)
          yield* Repo.insert(People, row)
          yield* Repo.count(Noted)
          yield* Repo.exists(Noted)
          expect(told).toEqual([])
        })
      )

      it.effect("and can stop the operation with a reason, typed", () =>
        Effect.gen(function* () {
          yield* freshTables
          const Closed = People.pipe(
            Table.hooks({
              afterInsert: (row, delta) => (row.age < 99 ? delta.abort("too young") : Effect.succeed(row))
            })
          )
          const error = yield* Effect.flip(Repo.insert(Closed, row))
          expect(error).toMatchObject({ _tag: "HookAbort", table: "people", operation: "insert", reason: "too young" })
          expect(error.message).toBe("afterInsert of people stopped the insert: too young")
          expect(yield* Repo.count(People)).toBe(0)
        })
      )
    })

    describe("in an open transaction", () => {
      /** Runs a call that fails, handles that, and goes on. */
      const handled = (call: Effect.Effect<unknown, unknown, Repo.Repo>) =>
        Effect.exit(Repo.transact(Effect.zipRight(Effect.exit(call), Repo.insert(People, { ...row, email: "later" }))))
      const failing = (hook: "beforeInsert" | "afterInsert", first: Effect.Effect<unknown, unknown, Repo.Repo>) => {
        const fail = () => Effect.zipRight(first, Effect.fail(new Refused()))
        return hook === "beforeInsert"
          ? People.pipe(Table.hooks({ beforeInsert: fail }))
          : People.pipe(Table.hooks({ afterInsert: fail }))
      }

      it.effect("takes no statement more than the write itself", () =>
        Effect.gen(function* () {
          yield* freshTables
          const { lines } = yield* logged(Repo.transact(Repo.insert(noting([]), row)))
          expect(lines.map((line) => line.split("\n")[1]?.split(" ")[0])).toEqual(["begin", "insert", "commit"])
        })
      )

      it.effect("leaves that as it is when it fails before anything was written, and when there is no such row", () =>
        Effect.gen(function* () {
          yield* freshTables
          expect(Exit.isSuccess(yield* handled(Repo.insert(failing("beforeInsert", Repo.count(People)), row)))).toBe(
            true
          )
          yield* Repo.deleteAll(People, Repo.everything)
          expect(Exit.isSuccess(yield* handled(Repo.update(noting([]), nobody, { age: 1 })))).toBe(true)
          expect((yield* Repo.all(People)).map(({ email }) => email)).toEqual(["later"])
        })
      )

      it.effect("leaves nothing to commit when it fails after something was written, and says so", () =>
        Effect.gen(function* () {
          yield* freshTables
          const writes = Repo.insert(People, { ...row, email: "by the hook" })
          for (const call of [
            Repo.insert(failing("afterInsert", Effect.void), row),
            Repo.insert(failing("beforeInsert", writes), row),
            // The hook before it has written, and then there is no such row.
            Repo.delete(People.pipe(Table.hooks({ beforeDelete: () => Effect.asVoid(writes) })), nobody)
          ]) {
            const exit = yield* handled(call as Effect.Effect<unknown, unknown, Repo.Repo>)
            expect(exit).toMatchObject({ cause: { error: { _tag: "CommitFailed", outcome: "rolledBack" } } })
            expect(String(exit)).toContain("wrap the call in a transact of its own")
          }
          expect(yield* Repo.count(People)).toBe(0)
        })
      )

      it.effect("leaves nothing to commit when it is interrupted after the write", () =>
        Effect.gen(function* () {
          yield* freshTables
          const written = yield* Deferred.make<void>()
          const Waiting = People.pipe(
            Table.hooks({ afterInsert: () => Effect.zipRight(Deferred.succeed(written, undefined), Effect.never) })
          )
          const exit = yield* Effect.exit(
            Repo.transact(
              Effect.gen(function* () {
                const fiber = yield* Effect.fork(Repo.insert(Waiting, row))
                yield* Deferred.await(written)
                yield* Fiber.interrupt(fiber)
              })
            )
          )
          expect(exit).toMatchObject({ cause: { error: { _tag: "CommitFailed" } } })
          expect(yield* Repo.count(People)).toBe(0)
        })
      )

      it.effect("undoes only itself in a transact of its own, or with a savepoint", () =>
        Effect.gen(function* () {
          yield* freshTables
          const Failing = failing("afterInsert", Effect.void)
          expect(Exit.isSuccess(yield* handled(Repo.transact(Repo.insert(Failing, row))))).toBe(true)
          yield* Repo.deleteAll(People, Repo.everything)
          const Careful = Failing.pipe(Table.hooks({ savepoint: true }))
          expect(Exit.isSuccess(yield* handled(Repo.insert(Careful, row)))).toBe(true)
          expect((yield* Repo.all(People)).map(({ email }) => email)).toEqual(["later"])
        })
      )

      it.effect("a conflict that is passed over is no failure, and undoes what a hook has written", () =>
        Effect.gen(function* () {
          yield* freshTables
          yield* Repo.insert(People, row)
          const Writing = People.pipe(
            Table.hooks({
              beforeInsert: (one) => Effect.as(Repo.insert(People, { ...row, email: "by the hook" }), one)
            })
          )
          const skipped = yield* Repo.transact(
            Repo.insert(Writing, row, { onConflict: { target: ["email"], action: "nothing" } } as never)
          )
          expect(Option.isOption(skipped) && Option.isNone(skipped)).toBe(true)
          expect(yield* Repo.count(People)).toBe(1)
        })
      )
    })

    describe("does not run", () => {
      it.effect(
        "EH-T132..T137 EH-D4 where hooks are disabled around the call, and runs where they are enabled again",
        () =>
          Effect.gen(function* () {
            yield* freshTables
            const told: Array<Table.Delta<typeof People>> = []
            const Noted = noting(told)
            const insert = (email: string) => Repo.insert(Noted, { ...row, email })
            expect(yield* Repo.hooksEnabled).toBe(true)
            const inside = yield* Repo.disableHooks(
              Effect.gen(function* () {
                yield* insert("a")
                yield* insert("b")
                yield* Repo.disableHooks(insert("c"))
                expect(told).toEqual([])
                yield* Repo.enableHooks(Repo.enableHooks(insert("d")))
                return yield* Repo.hooksEnabled
              })
            )
            expect(inside).toBe(false)
            expect(told.map(({ changeset }) => changeset?.email)).toEqual(["d", "d"])
            yield* insert("e")
            expect(told).toHaveLength(4)
            expect(yield* Repo.hooksEnabled).toBe(true)
          })
      )

      it.effect("EH-D6 and a fiber that was there before is not concerned by what another one disables", () =>
        Effect.gen(function* () {
          yield* freshTables
          const told: Array<Table.Delta<typeof People>> = []
          const Noted = noting(told)
          yield* Repo.insert(People, row)
          const other = yield* Effect.fork(Effect.zipRight(Effect.yieldNow(), Repo.all(Noted)))
          yield* Repo.disableHooks(
            Effect.zipRight(Effect.flatMap(Effect.fork(Repo.all(Noted)), Fiber.join), Fiber.join(other))
          )
          expect(told).toHaveLength(1)
        })
      )

      it.effect(
        "EH-T138..T142 EH-D5 inside of a hook, however often that calls the Repo, and in the fibers it forks",
        () =>
          Effect.gen(function* () {
            yield* freshTables
            const events: Array<unknown> = []
            const Noted = noting([]).pipe(
              Table.hooks({
                afterGet: (rows) =>
                  Effect.sync(() => {
                    events.push("afterGet inside")
                    return rows
                  })
              })
            )
            const Hooked = People.pipe(
              Table.hooks({
                afterInsert: (row, delta) =>
                  Effect.gen(function* () {
                    yield* Repo.all(Noted)
                    yield* Repo.all(Noted)
                    yield* Effect.flatMap(Effect.forkDaemon(Repo.all(Noted)), Fiber.join)
                    // What the dynamic extent of a hook says holds: enabling hooks in it changes nothing.
                    yield* Repo.enableHooks(Repo.all(Noted))
                    events.push(delta.depth, yield* Repo.inHook, yield* Repo.hooksEnabled)
                    return row
                  })
              })
            )
            expect(yield* Repo.inHook).toBe(false)
            yield* Repo.insert(Hooked, row)
            expect(events).toEqual([0, true, false])
            expect([yield* Repo.inHook, yield* Repo.hooksEnabled]).toEqual([false, true])
          })
      )
    })

    describe("inside of a hook", () => {
      it.effect('runs with reentry: "run", and says how deep it is', () =>
        Effect.gen(function* () {
          yield* freshTables
          const events: Array<unknown> = []
          const Audit = Pets.pipe(
            Table.hooks({
              reentry: "run",
              afterInsert: (pet, delta) =>
                Effect.sync(() => {
                  events.push([pet.name, delta.depth])
                  return pet
                })
            })
          )
          const Hooked = People.pipe(
            Table.hooks({
              afterInsert: (person) => Effect.as(Repo.insert(Audit, { ownerId: person.id, name: "Rex" }), person)
            })
          )
          const person = yield* Repo.insert(Hooked, row)
          yield* Repo.insert(Audit, { ownerId: person.id, name: "Tom" })
          expect(events).toEqual([
            ["Rex", 1],
            ["Tom", 0]
          ])
        })
      )

      it.effect(
        "EH-D9 the hooks of a child's write run between those of its parent, when the child's table says so",
        () =>
          Effect.gen(function* () {
            yield* freshTables
            const events: Array<string> = []
            const note = (event: string) => Effect.sync(() => void events.push(event))
            const Children = Pets.pipe(
              Table.hooks({
                reentry: "run",
                beforeInsert: (pet) => Effect.as(note("child.before"), pet),
                afterInsert: (pet) => Effect.as(note("child.after"), pet)
              })
            )
            const Parents = People.pipe(
              Table.hooks({
                beforeInsert: (person) => Effect.as(note("parent.before"), person),
                afterInsert: (person) =>
                  Repo.insert(Children, { ownerId: person.id, name: "Rex" }).pipe(
                    Effect.zipRight(note("parent.after")),
                    Effect.as(person)
                  )
              })
            )
            yield* Repo.insert(Parents, row)
            expect(events).toEqual(["parent.before", "child.before", "child.after", "parent.after"])
          })
      )

      it.effect("fails with HookLoop where it goes too deep, with the way, and leaves nothing behind", () =>
        Effect.gen(function* () {
          yield* freshTables
          let runs = 0
          const Looping: Table.Table<"people", typeof Person, "id", (typeof People)["constraints"], Loop> = People.pipe(
            Table.hooks({
              reentry: "run",
              maxDepth: 3,
              afterInsert: (person) => {
                runs += 1
                return Effect.as(Repo.insert(Looping, { ...row, email: `${runs}` }), person)
              }
            })
          ) as never
          type Loop = Table.Hook<"insert", import("../../src/repo/RepoError.js").HookLoop, never>
          const error = yield* Effect.flip(Repo.insert(Looping, row))
          expect(error).toMatchObject({
            _tag: "HookLoop",
            path: ["people.afterInsert", "people.afterInsert", "people.afterInsert", "people.afterInsert"]
          })
          expect(error.message).toContain("4 deep: people.afterInsert > people.afterInsert")
          expect(runs).toBe(3)
          expect(yield* Repo.count(People)).toBe(0)
        })
      )

      it.effect('fails the call with HookReentry where it must not run (reentry: "fail")', () =>
        Effect.gen(function* () {
          yield* freshTables
          const Alone = Pets.pipe(Table.hooks({ reentry: "fail", afterInsert: (pet) => Effect.succeed(pet) }))
          const Hooked = People.pipe(
            Table.hooks({
              afterInsert: (person) => Effect.as(Repo.insert(Alone, { ownerId: person.id, name: "Rex" }), person)
            })
          )
          const error = yield* Effect.flip(Repo.insert(Hooked, row))
          expect(error).toMatchObject({
            _tag: "HookReentry",
            hook: "pets.afterInsert",
            path: ["people.afterInsert"]
          })
          expect(yield* Repo.count(People)).toBe(0)
          const person = yield* Repo.insert(People, row)
          expect((yield* Repo.insert(Alone, { ownerId: person.id, name: "Rex" })).name).toBe("Rex")
        })
      )
    })

    describe("of calls for many rows", () => {
      it.effect("EH-D7 runs only where the table has one of that name: those of single rows do not", () =>
        Effect.gen(function* () {
          yield* freshTables
          const told: Array<Table.Delta<typeof People>> = []
          const heard: Array<unknown> = []
          const Noted = noting(told).pipe(
            Table.hooks({ afterCommit: (changes) => Effect.sync(() => void heard.push(changes.length)) })
          )
          expect(yield* Repo.insertAll(Noted, [row, { ...row, email: "b" }])).toBe(2)
          expect(yield* Repo.updateAll(Noted, { age: 36 }, { age: 37 })).toBe(2)
          expect(yield* Repo.deleteAll(Noted, Repo.everything)).toBe(2)
          expect([told, heard]).toEqual([[], []])
        })
      )

      it.effect("may replace what is written and what is given back, in one transaction with it", () =>
        Effect.gen(function* () {
          yield* freshTables
          const told: Array<unknown> = []
          const note = <A>(value: A, delta: Table.Delta<typeof People>) =>
            Effect.sync(() => {
              told.push([delta.hook, delta.call, delta.operation, Array.isArray(value) ? value.length : undefined])
              return value
            })
          const Many = People.pipe(
            Table.hooks({
              beforeInsertAll: (rows, delta) =>
                note(
                  rows.map((one) => ({ ...one, firstName: "Bob" })),
                  delta
                ),
              afterInsertAll: note,
              beforeUpdateAll: (patch, delta) => note({ ...patch, firstName: "Eve" }, delta),
              afterUpdateAll: (rows, delta) =>
                note(
                  rows.map((one) => new Person({ ...one, email: "hidden" })),
                  delta
                ),
              beforeDeleteAll: (condition, delta) => {
                expect(condition).toEqual({ age: 37 })
                expect([delta.source, delta.queryable]).toEqual([condition, condition])
                return Effect.asVoid(note(undefined, delta))
              },
              afterDeleteAll: note
            })
          )
          expect(yield* Repo.insertAll(Many, [row, { ...row, email: "b" }])).toBe(2)
          const changed = yield* Repo.updateAll(Many, { firstName: "Bob" }, { age: 37 }, { returning: true })
          expect(changed.map(({ email, firstName }) => [email, firstName])).toEqual([
            ["hidden", "Eve"],
            ["hidden", "Eve"]
          ])
          expect(yield* Repo.deleteAll(Many, { age: 37 })).toBe(2)
          expect(told).toEqual([
            ["beforeInsertAll", "insertAll", "insert", 2],
            ["afterInsertAll", "insertAll", "insert", 2],
            ["beforeUpdateAll", "updateAll", "update", undefined],
            ["afterUpdateAll", "updateAll", "update", 2],
            ["beforeDeleteAll", "deleteAll", "delete", undefined],
            ["afterDeleteAll", "deleteAll", "delete", 2]
          ])
          const Refusing = People.pipe(Table.hooks({ afterInsertAll: (_, delta) => delta.abort("enough") }))
          expect((yield* Effect.flip(Repo.insertAll(Refusing, [row])))._tag).toBe("HookAbort")
          expect(yield* Repo.count(People)).toBe(0)
          yield* Repo.disableHooks(Repo.insertAll(Refusing, [row]))
          expect(yield* Repo.count(People)).toBe(1)
        })
      )

      it.effect("hears of them after the commit, row for row, where it asks for that", () =>
        Effect.gen(function* () {
          yield* freshTables
          const heard: Array<unknown> = []
          const Heard = People.pipe(
            Table.hooks({
              bulk: true,
              afterCommit: (changes) =>
                Effect.sync(
                  () => void heard.push(changes.map(({ delta, operation, row }) => [delta.call, operation, row.email]))
                )
            })
          )
          yield* Repo.transact(
            Effect.gen(function* () {
              yield* Repo.insertAll(Heard, [row, { ...row, email: "b" }])
              yield* Repo.insert(Heard, { ...row, email: "c" })
              yield* Repo.deleteAll(Heard, { email: "b" })
            })
          )
          expect(heard).toEqual([
            [
              ["insertAll", "insert", row.email],
              ["insertAll", "insert", "b"],
              ["insert", "insert", "c"],
              ["deleteAll", "delete", "b"]
            ]
          ])
        })
      )
    })

    describe("after the commit", () => {
      const committing = (heard: Array<unknown>) =>
        People.pipe(
          Table.hooks({
            afterCommit: (changes) =>
              Effect.flatMap(Transaction.inTransaction, (inside) =>
                Effect.sync(() => void heard.push([inside, ...changes.map((one) => [one.operation, one.row.email])]))
              )
          })
        )

      it.effect("runs once for each transaction, outside of it, with all of its changes in order", () =>
        Effect.gen(function* () {
          yield* freshTables
          const heard: Array<unknown> = []
          const Heard = committing(heard)
          yield* Repo.transact(
            Effect.gen(function* () {
              const one = yield* Repo.insert(Heard, { ...row, email: "a" })
              yield* Transaction.afterCommit(Effect.sync(() => void heard.push("between")))
              yield* Repo.transact(Repo.insert(Heard, { ...row, email: "b" }))
              yield* Repo.update(Heard, one, { email: "c" })
              yield* Repo.delete(Heard, one)
              expect(heard).toEqual([])
            })
          )
          expect(heard).toEqual([
            "between",
            [false, ["insert", "a"], ["insert", "b"], ["update", "c"], ["delete", "c"]]
          ])
          yield* Repo.insert(Heard, { ...row, email: "d" })
          expect(heard.at(-1)).toEqual([false, ["insert", "d"]])
        })
      )

      it.effect("hears nothing of what a savepoint or the transaction rolled back", () =>
        Effect.gen(function* () {
          yield* freshTables
          const heard: Array<unknown> = []
          const Heard = committing(heard)
          yield* Repo.transact(
            Effect.gen(function* () {
              yield* Effect.ignore(
                Repo.transact(Effect.zipRight(Repo.insert(Heard, { ...row, email: "a" }), Effect.fail(new Refused())))
              )
              yield* Repo.insert(Heard, { ...row, email: "b" })
              // The write itself fails: nothing was changed.
              yield* Effect.ignore(Repo.transact(Repo.insert(Heard, { ...row, email: "b" })))
            })
          )
          expect(heard).toEqual([[false, ["insert", "b"]]])
          yield* Effect.ignore(
            Repo.transact(Effect.zipRight(Repo.insert(Heard, { ...row, email: "c" }), Effect.fail(new Refused())))
          )
          expect(heard).toHaveLength(1)
        })
      )

      it.effect("hears nothing of a write whose after-hook failed in a savepoint, although that was handled", () =>
        Effect.gen(function* () {
          yield* freshTables
          const heard: Array<unknown> = []
          const Heard = committing(heard).pipe(
            Table.hooks({
              savepoint: true,
              afterInsert: (row) => (row.age < 18 ? Effect.fail(new Refused()) : Effect.succeed(row))
            })
          )
          yield* Repo.transact(
            Effect.gen(function* () {
              yield* Effect.ignore(Repo.insert(Heard, { ...row, age: 7 }))
              yield* Repo.insert(Heard, { ...row, email: "b" })
            })
          )
          expect(heard).toEqual([[false, ["insert", "b"]]])
          expect(yield* Repo.count(People)).toBe(1)
        })
      )

      it.effect("hears of exactly what was committed, whenever its fiber is interrupted and wherever it yields", () =>
        Effect.gen(function* () {
          const sql = yield* freshTables
          const ends = new Set<number>()
          for (let moment = 0; moment < 80; moment += 1) {
            const heard: Array<unknown> = []
            const Heard = committing(heard).pipe(
              Table.hooks({
                beforeInsert: (one) => Effect.as(Effect.yieldNow(), one),
                afterInsert: (one) => Effect.as(Repo.count(People), one)
              })
            )
            const scenario = Repo.transact(
              Effect.gen(function* () {
                yield* Repo.insert(Heard, { ...row, email: "a" })
                yield* Effect.exit(Repo.transact(Effect.zipRight(Repo.insert(Heard, row), Effect.fail("no"))))
                yield* Repo.insert(Heard, { ...row, email: "b" })
              })
            )
            const fiber = yield* Effect.fork(
              Effect.locally(scenario, FiberRef.currentMaxOpsBeforeYield, 10 + (moment % 20))
            )
            yield* Effect.repeatN(Effect.yieldNow(), moment)
            yield* Effect.repeatN(sql`select 1`, Math.floor(moment / 5))
            yield* Fiber.interrupt(fiber)
            const kept = (yield* Repo.all(People, sql`true order by id`)).map(({ email }) => ["insert", email])
            expect({ moment, heard }).toEqual({ moment, heard: kept.length === 0 ? [] : [[false, ...kept]] })
            expect([0, 2]).toContain(kept.length)
            ends.add(kept.length)
            yield* sql`truncate people cascade`
          }
          expect([...ends].toSorted()).toEqual([0, 2])
        })
      )

      it.effect("cannot undo the commit: what it dies with is logged, and the next one runs", () =>
        Effect.gen(function* () {
          yield* freshTables
          const heard: Array<unknown> = []
          const Dying = People.pipe(
            Table.hooks({ afterCommit: () => Effect.die(new Error("no mail today")) }),
            (table) =>
              table.pipe(Table.hooks({ afterCommit: (changes) => Effect.sync(() => void heard.push(changes.length)) }))
          )
          const lines: Array<string> = []
          const logger = Logger.make(({ cause, message }) => void lines.push(`${String(message)} ${String(cause)}`))
          const inserted = yield* Repo.insert(Dying, row).pipe(
            Effect.provide(Logger.replace(Logger.defaultLogger, logger))
          )
          expect(inserted.email).toBe(row.email)
          expect(yield* Repo.count(People)).toBe(1)
          expect(heard).toEqual([1])
          expect(lines.join("\n")).toContain("no mail today")
        })
      )

      it.effect("needs what the calls are given, and is inside of a hook: what it writes runs no hooks", () =>
        Effect.gen(function* () {
          yield* freshTables
          class Mailer extends Context.Tag("Mailer")<Mailer, { readonly send: (to: string) => void }>() {}
          const sent: Array<string> = []
          const Mailing = People.pipe(
            Table.hooks((table) => ({
              afterCommit: (changes) =>
                Effect.gen(function* () {
                  const { send } = yield* Mailer
                  for (const { row } of changes) send(row.email)
                  send(`in a hook: ${yield* Repo.inHook}`)
                  yield* Effect.ignore(Repo.update(table, changes[0]?.row ?? nobody, { age: 1 }))
                })
            }))
          )
          yield* Repo.transact(Repo.insert(Mailing, row)).pipe(
            Effect.provide(Layer.succeed(Mailer, { send: (to) => void sent.push(to) }))
          )
          expect(sent).toEqual(["ada@example.org", "in a hook: true"])
          expect((yield* Repo.fetchBy(People, { age: 1 })).email).toBe(row.email)
        })
      )

      it.effect("that writes to its own table again and again is found out", () =>
        Effect.gen(function* () {
          yield* freshTables
          let runs = 0
          const lines: Array<string> = []
          const logger = Logger.make(({ cause, message }) => void lines.push(`${String(message)} ${String(cause)}`))
          const Circling: typeof People = People.pipe(
            Table.hooks({
              reentry: "run",
              maxDepth: 5,
              afterCommit: (changes) => {
                runs += 1
                return Effect.ignore(Repo.update(Circling, changes[0]?.row ?? nobody, { age: runs }))
              }
            })
          ) as never
          yield* Repo.insert(Circling, row).pipe(Effect.provide(Logger.replace(Logger.defaultLogger, logger)))
          expect(runs).toBe(5)
          expect(lines.join("\n")).toContain("6 deep: people.afterCommit > ")
        })
      )

      it.effect("that plain after-commit work leads back to again and again is found out too", () =>
        Effect.gen(function* () {
          yield* freshTables
          let runs = 0
          const lines: Array<string> = []
          const logger = Logger.make(({ cause, message }) => void lines.push(`${String(message)} ${String(cause)}`))
          const Circling: typeof People = People.pipe(
            Table.hooks({
              afterUpdate: (person) => {
                runs += 1
                return Effect.as(
                  Transaction.afterCommit(Effect.ignore(Repo.update(Circling, person, { age: runs }))),
                  person
                )
              }
            })
          ) as never
          const person = yield* Repo.insert(People, row)
          yield* Repo.update(Circling, person, { age: 1 }).pipe(
            Effect.provide(Logger.replace(Logger.defaultLogger, logger))
          )
          expect(runs).toBe(100)
          expect(lines.join("\n")).toContain("101 deep")
        })
      )
    })
  })
})
