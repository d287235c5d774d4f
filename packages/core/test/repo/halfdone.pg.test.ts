/** A write whose hooks are not through is not committed, whoever was interrupted or failed when; and what wrote nothing spoils nothing. */
import { Model, SqlClient } from "@effect/sql"
import { describe, expect, layer } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Logger, LogLevel, Option, Schema } from "effect"
import * as Repo from "../../src/repo/Repo.js"
import * as Table from "../../src/repo/Table.js"
import { ada, freshTables, People, PersonId, Pets, TestRepo } from "./people.js"

const row = { ...ada, nickName: Option.none() }
const bob = { ...row, firstName: "Bob", email: "bob@example.org" }

/** The names of people who are there. */
const names = Effect.map(Repo.all(People), (rows) => rows.map(({ firstName }) => firstName).toSorted())

const spoiled = { cause: { error: { _tag: "CommitFailed", outcome: "rolledBack" } } }

/** Each insert into people takes until others who want the lock have let go of it. */
const slowly = Effect.flatMap(
  SqlClient.SqlClient,
  (sql) => sql`
    create or replace function slowly() returns trigger language plpgsql as
      'begin perform pg_advisory_xact_lock(4711); return new; end'`
).pipe(
  Effect.zipRight(
    Effect.flatMap(
      SqlClient.SqlClient,
      (sql) => sql`create trigger slowly before insert on people for each row execute function slowly()`
    )
  )
)

/** Somebody waits for the lock. */
const waited = Effect.flatMap(SqlClient.SqlClient, (sql) =>
  Effect.repeat(
    sql<{ n: number }>`select count(*)::int as n from pg_locks where locktype = 'advisory' and not granted`,
    {
      until: ([found]) => found?.n === 1
    }
  )
)

/**
 * Runs an effect in a transaction in which another fiber has a savepoint open: statements wait for their turn until it is let go of.
 */
const outOfTurn = <A, E, R>(use: (letGo: Effect.Effect<void, unknown>) => Effect.Effect<A, E, R>) =>
  Repo.transact(
    Effect.gen(function* () {
      const open = yield* Deferred.make<void>()
      const end = yield* Deferred.make<void>()
      const sibling = yield* Effect.fork(
        Repo.transact(Effect.zipRight(Deferred.succeed(open, undefined), Deferred.await(end)))
      )
      yield* Deferred.await(open)
      return yield* use(Effect.zipRight(Deferred.succeed(end, undefined), Fiber.join(sibling)))
    })
  )

describe("a write between hooks", () => {
  layer(TestRepo, { excludeTestServices: true })((it) => {
    it.effect("that is interrupted between its statement's answer and its hooks leaves nothing to commit", () =>
      Effect.gen(function* () {
        yield* freshTables
        const ran: Array<string> = []
        const Hooked = People.pipe(
          Table.hooks({
            afterInsert: (row) => Effect.as(Repo.insert(People, bob), row),
            afterCommit: () => Effect.sync(() => void ran.push("afterCommit"))
          })
        )
        let victim: Fiber.RuntimeFiber<unknown, unknown> | undefined
        // The statement's line is logged when it has been answered.
        const logger = Logger.make(({ message }) => {
          if (String(message).includes("insert into")) victim?.unsafeInterruptAsFork(victim.id())
        })
        const exit = yield* Effect.exit(
          Repo.transact(
            Effect.gen(function* () {
              victim = yield* Effect.fork(
                Repo.insert(Hooked, row).pipe(
                  Effect.provide(Logger.replace(Logger.defaultLogger, logger)),
                  Logger.withMinimumLogLevel(LogLevel.Debug)
                )
              )
              ran.push((yield* Fiber.await(victim))._tag)
            })
          )
        )
        expect(ran).toEqual(["Failure"])
        expect(exit).toMatchObject(spoiled)
        expect(yield* names).toEqual([])
      })
    )

    it.effect("that is interrupted while it waits for its turn has written nothing, and spoils nothing", () =>
      Effect.gen(function* () {
        yield* freshTables
        const Hooked = People.pipe(Table.hooks({ afterInsert: (row) => Effect.succeed(row) }))
        yield* outOfTurn((letGo) =>
          Effect.gen(function* () {
            const waiting = yield* Effect.fork(Repo.insert(Hooked, row))
            yield* Effect.yieldNow()
            yield* Fiber.interrupt(waiting)
            yield* letGo
            yield* Repo.insert(Hooked, bob)
          })
        )
        expect(yield* names).toEqual(["Bob"])
      })
    )

    it.effect("that is interrupted while it waits for its turn lets its finalizers write for themselves", () =>
      Effect.gen(function* () {
        yield* freshTables
        const Hooked = People.pipe(Table.hooks({ afterInsert: (row) => Effect.succeed(row) }))
        yield* outOfTurn((letGo) =>
          Effect.gen(function* () {
            const waiting = yield* Effect.fork(
              Effect.onInterrupt(Repo.insert(Hooked, row), () => Effect.ignore(Repo.insert(People, bob)))
            )
            yield* Effect.yieldNow()
            yield* Fiber.interruptFork(waiting)
            yield* Effect.yieldNow()
            yield* letGo
            yield* Fiber.await(waiting)
          })
        )
        expect(yield* names).toEqual(["Bob"])
      })
    )

    for (const [where, inside] of [
      ["transaction", <A, E, R>(self: Effect.Effect<A, E, R>) => self],
      ["savepoint", <A, E, R>(self: Effect.Effect<A, E, R>) => Repo.transact(self)]
    ] as const)
      it.effect(`whose statement is on its way when its ${where} ends is not kept without its hook`, () =>
        Effect.gen(function* () {
          const sql = yield* freshTables
          yield* slowly
          const Hooked = People.pipe(Table.hooks({ afterInsert: (_, delta) => delta.abort("no") }))
          const held = yield* Deferred.make<void>()
          const release = yield* Deferred.make<void>()
          const holder = yield* Effect.fork(
            Repo.transact(
              Effect.gen(function* () {
                yield* sql`select pg_advisory_xact_lock(4711)`
                yield* Deferred.succeed(held, undefined)
                yield* Deferred.await(release)
              })
            )
          )
          yield* Deferred.await(held)
          yield* Effect.fork(Effect.zipRight(waited, Deferred.succeed(release, undefined)))
          const exit = yield* Effect.exit(
            inside(
              Repo.transact(
                Effect.gen(function* () {
                  yield* Effect.forkDaemon(Repo.insert(Hooked, row))
                  // A statement that is on its way is waited for by the end.
                  yield* Effect.promise(() => new Promise(setImmediate))
                })
              )
            )
          )
          yield* Fiber.join(holder)
          expect(exit).toMatchObject(spoiled)
          expect(yield* names).toEqual([])
        })
      )

    it.effect("whose row comes back unreadable leaves nothing to commit: its hooks have not run", () =>
      Effect.gen(function* () {
        const sql = yield* freshTables
        yield* sql`create or replace function longer() returns trigger language plpgsql as
          'begin new.email := repeat(new.email, 9); return new; end'`
        yield* sql`create trigger longer before insert on people for each row execute function longer()`
        class Short extends Model.Class<Short>("Short")({
          id: Model.Generated(PersonId),
          firstName: Schema.String,
          email: Schema.String.pipe(Schema.maxLength(20)),
          age: Schema.Int,
          createdAt: Model.DateTimeInsertFromDate,
          updatedAt: Model.DateTimeUpdateFromDate
        }) {}
        const ran: Array<string> = []
        const Hooked = Table.make(Short, { name: "people", key: "id" }).pipe(
          Table.hooks({
            afterInsert: (row) =>
              Effect.as(
                Effect.sync(() => ran.push("afterInsert")),
                row
              )
          })
        )
        const exit = yield* Effect.exit(
          Repo.transact(
            Effect.catchTag(Repo.insert(Hooked, ada), "DbError", ({ kind }) => Effect.sync(() => ran.push(kind)))
          )
        )
        expect(ran).toEqual(["decode"])
        expect(exit).toMatchObject(spoiled)
        expect(yield* names).toEqual([])
      })
    )

    it.effect("that stops before it wrote anything leaves alone what others wrote meanwhile", () =>
      Effect.gen(function* () {
        yield* freshTables
        const go = yield* Deferred.make<void>()
        const Hooked = People.pipe(
          Table.hooks({ beforeInsert: (_, delta) => Effect.zipRight(Deferred.await(go), delta.abort("no")) })
        )
        yield* Repo.transact(
          Effect.all(
            [
              Effect.ignore(Repo.insert(Hooked, row)),
              Effect.zipRight(Repo.insert(People, bob), Deferred.succeed(go, undefined))
            ],
            { concurrency: "unbounded" }
          )
        )
        expect(yield* names).toEqual(["Bob"])
      })
    )

    it.effect("keeps what its hooks wrote in a transact of their own", () =>
      Effect.gen(function* () {
        yield* freshTables
        const Hooked = People.pipe(
          Table.hooks({ afterInsert: (row) => Effect.as(Effect.orDie(Repo.transact(Repo.insert(People, bob))), row) })
        )
        yield* Repo.transact(Repo.insert(Hooked, row))
        expect(yield* names).toEqual(["Ada", "Bob"])
      })
    )

    it.effect("that stops after a hook undid what it wrote has written nothing", () =>
      Effect.gen(function* () {
        yield* freshTables
        const Hooked = People.pipe(
          Table.hooks({
            beforeInsert: (_, delta) =>
              Effect.zipRight(
                Effect.ignore(Repo.transact(Effect.zipRight(Repo.insert(People, bob), Effect.fail("undone")))),
                delta.abort("no")
              )
          })
        )
        yield* Repo.transact(Effect.ignore(Repo.insert(Hooked, row)))
        expect(yield* names).toEqual([])
      })
    )

    it.effect(
      "that stops after a hook wrote through another hooked write, or in a transact of its own, is not kept in part",
      () =>
        Effect.gen(function* () {
          yield* freshTables
          const Inner = People.pipe(Table.hooks({ reentry: "run", afterInsert: (row) => Effect.succeed(row) }))
          for (const write of [Repo.insert(Inner, bob), Repo.transact(Repo.insert(People, bob))] as ReadonlyArray<
            Effect.Effect<unknown, unknown, Repo.Repo>
          >) {
            const Hooked = People.pipe(
              Table.hooks({
                beforeInsert: (_, delta) => Effect.zipRight(Effect.orDie(write), delta.abort("no"))
              })
            )
            expect(yield* Effect.exit(Repo.transact(Effect.ignore(Repo.insert(Hooked, row))))).toMatchObject(spoiled)
            expect(yield* names).toEqual([])
          }
        })
    )

    it.effect(
      "that stops after a hook called a function by hand is not kept; after a check by hand nothing is lost",
      () =>
        Effect.gen(function* () {
          const sql = yield* freshTables
          yield* sql`create or replace function writing() returns int language plpgsql as
          'begin insert into people (first_name, email, age, created_at, updated_at) values (''by hand'', ''h'', 1, now(), now()); return 1; end'`
          const stopping = (check: Effect.Effect<unknown, unknown>) =>
            Effect.exit(
              Repo.transact(
                Effect.zipRight(
                  Repo.insert(People, bob),
                  Effect.ignore(
                    Repo.insert(
                      People.pipe(
                        Table.hooks({
                          beforeInsert: (_, delta) => Effect.zipRight(Effect.orDie(check), delta.abort("no"))
                        })
                      ),
                      row
                    )
                  )
                )
              )
            )
          expect(yield* stopping(sql`select writing()`)).toMatchObject(spoiled)
          expect(yield* names).toEqual([])
          const checks = sql`select count(*) from people where lower(email) in (select lower(email) from people)`
          expect(Exit.isSuccess(yield* stopping(checks))).toBe(true)
          expect(yield* names).toEqual(["Bob"])
        })
    )
  })
})

describe("a read with hooks", () => {
  layer(TestRepo, { excludeTestServices: true })((it) => {
    it.effect(
      "that fails after its hook wrote leaves nothing to commit; one whose hook only failed spoils nothing",
      () =>
        Effect.gen(function* () {
          yield* freshTables
          yield* Repo.insert(People, row)
          const reading = (first: Effect.Effect<unknown, unknown, Repo.Repo>) =>
            Effect.exit(
              Repo.transact(
                Effect.ignore(
                  Repo.all(
                    People.pipe(
                      Table.hooks({ afterGet: () => Effect.zipRight(Effect.orDie(first), Effect.fail("no")) })
                    )
                  )
                )
              )
            )
          expect(yield* reading(Repo.insert(People, bob))).toMatchObject(spoiled)
          expect(yield* names).toEqual(["Ada"])
          expect(Exit.isSuccess(yield* reading(Repo.count(People)))).toBe(true)
        })
    )
  })
})

describe("a hook after the commit", () => {
  layer(TestRepo, { excludeTestServices: true })((it) => {
    it.effect("that is one function for two tables is called for each, and once for a table", () =>
      Effect.gen(function* () {
        yield* freshTables
        const calls: Array<ReadonlyArray<string>> = []
        const audit = {
          afterCommit: (changes: ReadonlyArray<{ readonly delta: { readonly table: { readonly name: string } } }>) =>
            Effect.sync(() => void calls.push(changes.map(({ delta }) => delta.table.name)))
        }
        const HookedPeople = People.pipe(Table.hooks(audit))
        const HookedPets = Pets.pipe(Table.hooks(audit))
        yield* Repo.transact(
          Effect.gen(function* () {
            const { id } = yield* Repo.insert(HookedPeople, row)
            yield* Repo.insert(HookedPets, { ownerId: id, name: "Rex" })
            yield* Repo.update(HookedPeople, id, { age: 37 })
          })
        )
        expect(calls).toEqual([["pets"], ["people", "people"]])
      })
    )
  })
})
