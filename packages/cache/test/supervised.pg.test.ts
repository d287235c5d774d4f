/** What a restart of a supervised cache means for transactions that are open meanwhile, on a real PostgreSQL. */

import { SqlClient } from "@effect/sql"
import { expect, layer } from "@effect/vitest"
import { Cache } from "@effecto/cache"
import * as Supervised from "@effecto/core/Supervised"
import * as SupervisionTree from "@effecto/core/SupervisionTree"
import * as TestSupervision from "@effecto/core/TestSupervision"
import * as Transaction from "@effecto/core/Transaction"
import { EmbeddedPostgres } from "@effecto/core/testing"
import { Context, Deferred, Effect, Fiber, Logger, Option } from "effect"

class Rows extends Context.Tag("test/Rows")<Rows, Cache.Cache<string, number>>() {}

const restart = Effect.zipRight(TestSupervision.crash("app/rows"), TestSupervision.awaitRestart("app/rows"))

const tree = Effect.map(SqlClient.SqlClient, (sql) =>
  Cache.layer(Rows, {
    name: "rows",
    lookup: (key) =>
      Effect.provideService(
        Effect.flatMap(SqlClient.SqlClient, (sql) =>
          Effect.map(Effect.orDie(sql<{ value: number }>`select value from rows where key = ${key}`), ([row]) =>
            Option.fromNullable(row?.value)
          )
        ),
        SqlClient.SqlClient,
        sql
      )
  }).pipe(Supervised.layer({ id: "rows" }), SupervisionTree.layer({ name: "app", intensity: 100 }))
)

/** A transaction that writes a row, restarts the cache, reads, and ends as it is told; meanwhile somebody outside reads, too. */
const scenario = (
  write: (cache: Cache.Cache<string, number>, update: Effect.Effect<void>) => Effect.Effect<unknown>,
  end: Effect.Effect<void, string>
) =>
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    yield* sql`drop table if exists rows`
    yield* sql`create table rows (key text primary key, value int not null)`
    yield* sql`insert into rows values ('k', 1)`
    return yield* Effect.gen(function* () {
      const cache = yield* Rows
      const written = yield* Deferred.make<void>()
      const restarted = yield* Deferred.make<void>()
      const seen: Array<unknown> = []
      yield* cache.get("k")
      const writer = yield* Effect.fork(
        Transaction.transact(
          Effect.gen(function* () {
            const update = Effect.orDie(Effect.asVoid(sql`update rows set value = 2 where key = 'k'`))
            yield* write(yield* Supervised.current(Rows), update)
            yield* Deferred.succeed(written, undefined)
            yield* Deferred.await(restarted)
            seen.push(["inside", yield* cache.get("k")])
            yield* end
          })
        )
      )
      yield* Deferred.await(written)
      yield* restart
      seen.push(["outside", yield* cache.get("k")])
      yield* Deferred.succeed(restarted, undefined)
      yield* Fiber.await(writer)
      seen.push(["afterwards", yield* cache.getOption("k")])
      return seen
    }).pipe(SupervisionTree.provide(yield* tree), Effect.provide(Logger.remove(Logger.defaultLogger)))
  })

layer(EmbeddedPostgres, { excludeTestServices: true })("a restart while a transaction is open", (it) => {
  const writes = {
    evicting: (cache: Cache.Cache<string, number>, update: Effect.Effect<void>) => update.pipe(cache.evicting("k")),
    put: (cache: Cache.Cache<string, number>, update: Effect.Effect<void>) =>
      Effect.zipRight(update, cache.put("k", 2)),
    clear: (cache: Cache.Cache<string, number>, update: Effect.Effect<void>) => Effect.zipRight(update, cache.clear)
  }
  for (const [name, write] of Object.entries(writes)) {
    it.effect(
      `${name}: the next instance forgets the old value at the COMMIT, and the transaction reads around it`,
      () =>
        Effect.gen(function* () {
          expect(yield* scenario(write, Effect.void)).toEqual([
            ["outside", Option.some(1)],
            ["inside", Option.some(2)],
            ["afterwards", Option.none()]
          ])
        })
    )

    it.effect(`${name}: the next instance keeps what it has after a ROLLBACK`, () =>
      Effect.gen(function* () {
        expect(yield* scenario(write, Effect.fail("no"))).toEqual([
          ["outside", Option.some(1)],
          ["inside", Option.some(2)],
          ["afterwards", Option.some(1)]
        ])
      })
    )
  }
})
