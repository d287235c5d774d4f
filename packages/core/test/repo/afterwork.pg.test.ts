/** Where the work that waits for the end of a transaction runs, and what it finds there. */
import { SqlClient } from "@effect/sql"
import { describe, expect, layer } from "@effect/vitest"
import { Deferred, Effect, Fiber } from "effect"
import * as Transaction from "../../src/repo/Transaction.js"
import { EmbeddedPostgres } from "../../src/testing.js"
import { pool } from "./pools.js"

const table = Effect.flatMap(
  SqlClient.SqlClient,
  (sql) => sql`drop table if exists notes; create table notes (id int primary key)`
)

const insert = (sql: SqlClient.SqlClient, id: number) =>
  Effect.orDie(Effect.asVoid(sql`insert into notes values (${id})`))

const ids = Effect.map(
  Effect.flatMap(SqlClient.SqlClient, (sql) => sql<{ id: number }>`select id from notes order by id`),
  (rows) => rows.map((row) => row.id)
)

describe("work after a transaction that is inside of another database's", () => {
  layer(EmbeddedPostgres, { excludeTestServices: true })((it) => {
    for (const [name, register] of [
      ["afterCommit", Transaction.afterCommit],
      ["onCommitOrNow", Transaction.onCommitOrNow]
    ] as const)
      it.scoped(`${name} belongs to that other one: it is rolled back with it`, () =>
        Effect.gen(function* () {
          yield* table
          const [one, other] = [yield* pool(1), yield* pool(1)]
          yield* Effect.flip(
            one.repo.transact(
              Effect.gen(function* () {
                yield* other.repo.transact(Effect.zipRight(insert(other.sql, 1), register(insert(one.sql, 2))))
                expect(yield* one.sql`select id from notes order by id`).toEqual([{ id: 1 }, { id: 2 }])
                return yield* Effect.fail("no" as const)
              })
            )
          )
          expect(yield* ids).toEqual([1])
        })
      )

    it.scoped("afterRollback belongs to that other one, too", () =>
      Effect.gen(function* () {
        yield* table
        const [one, other] = [yield* pool(1), yield* pool(1)]
        yield* one.repo.transact(
          other.repo
            .transact(Effect.zipRight(Transaction.afterRollback(insert(one.sql, 2)), Effect.fail("no" as const)))
            .pipe(Effect.flip)
        )
        expect(yield* ids).toEqual([2])
      })
    )

    it.scoped("runs outside of both when the other one has ended before", () =>
      Effect.gen(function* () {
        yield* table
        const [one, other] = [yield* pool(1), yield* pool(1)]
        const [begun, go] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
        const fiber = yield* one.repo.transact(
          other.repo
            .transact(
              Deferred.succeed(begun, undefined).pipe(
                Effect.zipRight(Transaction.afterCommit(insert(one.sql, 2))),
                Effect.zipRight(Deferred.await(go))
              )
            )
            .pipe(Effect.forkDaemon, Effect.zipLeft(Deferred.await(begun)))
        )
        yield* Deferred.succeed(go, undefined)
        yield* Fiber.join(fiber)
        expect(yield* ids).toEqual([2])
      })
    )

    it.scoped("a savepoint inside of the other's transaction keeps both open to their statements", () =>
      Effect.gen(function* () {
        yield* table
        const [one, other] = [yield* pool(2), yield* pool(2)]
        yield* Effect.flip(
          one.repo.transact(
            other.repo.transact(Effect.zipRight(one.repo.transact(insert(other.sql, 3)), Effect.fail("no" as const)))
          )
        )
        expect(yield* ids).toEqual([])
      })
    )
  })
})

describe("onCommitOrNow in a fiber that has outlived its transaction", () => {
  layer(EmbeddedPostgres, { excludeTestServices: true })((it) => {
    it.scoped("runs now, and outside of it", () =>
      Effect.gen(function* () {
        yield* table
        const { repo, sql } = yield* pool(1)
        const ended = yield* Deferred.make<void>()
        const fiber = yield* repo.transact(
          Effect.forkDaemon(
            Effect.zipRight(
              Deferred.await(ended),
              Transaction.onCommitOrNow(
                repo.transact(insert(sql, 1)).pipe(Effect.zipRight(insert(sql, 2)), Effect.orDie)
              )
            )
          )
        )
        yield* Deferred.succeed(ended, undefined)
        yield* Fiber.join(fiber)
        expect(yield* ids).toEqual([1, 2])
      })
    )
  })
})
