/** What a transaction's end means for the cache, on a real PostgreSQL. */

import { Model, SqlClient, SqlError } from "@effect/sql"
import { describe, expect, layer } from "@effect/vitest"
import { Cache } from "@effecto/cache"
import { Repo, Table } from "@effecto/core"
import { DbError } from "@effecto/core/RepoError"
import * as Transaction from "@effecto/core/Transaction"
import { EmbeddedPostgres } from "@effecto/core/testing"
import { Context, Deferred, Effect, Fiber, Layer, Option, Schema } from "effect"

/** A table of one row, a cache before it, and what its loads have read. */
const fixture = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  yield* sql`drop table if exists rows`
  yield* sql`create table rows (key text primary key, value int not null)`
  yield* sql`insert into rows values ('k', 1)`
  const reads: Array<number> = []
  const select = (key: string) =>
    Effect.map(sql<{ value: number }>`select value from rows where key = ${key}`, ([row]) => {
      if (row !== undefined) reads.push(row.value)
      return Option.fromNullable(row?.value)
    })
  const cache = yield* Cache.make({ name: "rows", lookup: select })
  const set = (value: number) => sql`update rows set value = ${value} where key = 'k'`
  return { sql, cache, reads, set, select }
})

const onAnotherFiber = <A, E>(effect: Effect.Effect<A, E>) =>
  // A fiber of its own, started outside of the transaction: as another request would be.
  Effect.promise(() => Effect.runPromise(effect))

layer(Repo.layer().pipe(Layer.provideMerge(EmbeddedPostgres)), { excludeTestServices: true })((it) => {
  describe("evicting after a write by itself that failed", () => {
    it.scoped("removes the key where the row was written all the same: what came back did not fit the model", () =>
      Effect.gen(function* () {
        const { cache, sql } = yield* fixture
        class Row extends Model.Class<Row>("Row")({
          key: Model.GeneratedByApp(Schema.String),
          value: Schema.Int.pipe(Schema.lessThan(10))
        }) {}
        const Rows = Table.make(Row, { name: "rows", key: "key" })
        yield* sql`create or replace function ten() returns trigger language plpgsql as 'begin new.value := new.value * 10; return new; end'`
        yield* sql`create trigger ten before update on rows for each row execute function ten()`
        expect(yield* cache.get("k")).toEqual(Option.some(1))
        const write = Repo.update(Rows, "k", { value: 2 }).pipe(cache.evicting("k"))
        expect(yield* Effect.flip(write)).toMatchObject({ _tag: "DbError", kind: "decode" })
        expect(yield* cache.get("k")).toEqual(Option.some(20))
      })
    )

    it.scoped("removes the key where nobody knows whether it was written, and only there", () =>
      Effect.gen(function* () {
        const { cache, select, set, sql } = yield* fixture
        const database = (kind: DbError["kind"], code: string | undefined, retryable: boolean) =>
          new DbError({ operation: "update rows", kind, code, retryable, reason: "", cause: undefined })
        const byHand = (cause: unknown) => new SqlError.SqlError({ cause, message: "" })
        const failures: ReadonlyArray<readonly [unknown, isWritten: boolean]> = [
          [database("connection", "57P01", false), true],
          [database("connection", "ECONNREFUSED", true), false],
          [database("constraint", "23505", false), false],
          [byHand(new Error("Connection terminated unexpectedly")), true],
          [byHand(Object.assign(new Error("gone"), { code: "57P01" })), true],
          [byHand(Object.assign(new Error("gone"), { code: "EPIPE" })), true],
          [byHand(Object.assign(new Error("no"), { code: "23505" })), false],
          ["an error of the program's own", false]
        ]
        for (const [failure, isWritten] of failures) {
          yield* set(1)
          yield* cache.put("k", 1)
          yield* Effect.flip(Effect.zipRight(set(2), Effect.fail(failure)).pipe(cache.evicting("k")))
          expect([failure, yield* cache.get("k")]).toEqual([failure, Option.some(isWritten ? 2 : 1)])
          yield* set(1)
          yield* cache.put("k", 1)
          yield* Effect.exit(Effect.zipRight(set(2), Effect.die(failure)).pipe(cache.evicting("k")))
          expect(["died of it", failure, yield* cache.get("k")]).toEqual([
            "died of it",
            failure,
            Option.some(isWritten ? 2 : 1)
          ])
        }
        expect(yield* select("k")).toEqual(Option.some(2))
        yield* cache.put("k", 1)
        // The server ends the connection in the middle of a statement.
        yield* Effect.exit(sql`select pg_terminate_backend(pg_backend_pid())`.pipe(cache.evicting("k")))
        expect(yield* cache.get("k")).toEqual(Option.some(2))
      })
    )
  })

  describe("evicting in a transaction", () => {
    it.scoped(
      "removes the key after the commit: until then others read the old value and the transaction its own",
      () =>
        Effect.gen(function* () {
          const { cache, reads, set } = yield* fixture
          yield* cache.get("k")
          yield* Transaction.transact(
            Effect.gen(function* () {
              yield* set(2).pipe(cache.evicting("k"))
              expect(yield* cache.get("k")).toEqual(Option.some(2))
              expect(yield* cache.getOption("k")).toEqual(Option.none())
              expect(yield* onAnotherFiber(cache.get("k"))).toEqual(Option.some(1))
            })
          )
          expect(yield* cache.get("k")).toEqual(Option.some(2))
          expect(yield* cache.get("k")).toEqual(Option.some(2))
          expect(reads).toEqual([1, 2, 2])
        })
    )

    it.scoped("removes nothing when the transaction is rolled back, and its reads are forgotten", () =>
      Effect.gen(function* () {
        const { cache, reads, set } = yield* fixture
        yield* cache.get("k")
        const refused = Transaction.transact(
          Effect.gen(function* () {
            yield* set(2).pipe(cache.evicting("k"))
            expect(yield* cache.get("k")).toEqual(Option.some(2))
            return yield* Effect.fail("rolled back" as const)
          })
        )
        expect(yield* Effect.flip(refused)).toBe("rolled back")
        expect(yield* cache.get("k")).toEqual(Option.some(1))
        // Another transaction reads through the cache again.
        expect(yield* Transaction.transact(cache.get("k"))).toEqual(Option.some(1))
        expect(reads).toEqual([1, 2])
      })
    )

    it.scoped("removes nothing for a savepoint that is rolled back, and what the rest wrote", () =>
      Effect.gen(function* () {
        const { cache, set } = yield* fixture
        yield* cache.put("k", 1)
        yield* cache.put("other", 1)
        yield* Transaction.transact(
          Effect.gen(function* () {
            yield* Effect.void.pipe(cache.evicting("other"))
            yield* Effect.ignore(
              Transaction.transact(Effect.zipRight(set(2).pipe(cache.evicting("k")), Effect.fail("no")))
            )
          })
        )
        expect(yield* cache.getOption("k")).toEqual(Option.some(1))
        expect(yield* cache.getOption("other")).toEqual(Option.none())
      })
    )

    it.scoped("removes what was loaded anew between the write and the commit", () =>
      Effect.gen(function* () {
        const { cache, set } = yield* fixture
        yield* Transaction.transact(
          Effect.gen(function* () {
            yield* set(2).pipe(cache.evicting("k"))
            expect(yield* onAnotherFiber(cache.get("k"))).toEqual(Option.some(1))
          })
        )
        expect(yield* cache.get("k")).toEqual(Option.some(2))
      })
    )

    it.scoped("does not let a load that began before the commit be kept after it", () =>
      Effect.gen(function* () {
        const { set, select } = yield* fixture
        const gate = yield* Deferred.make<void>()
        const read = yield* Deferred.make<void>()
        const slow = yield* Cache.make({
          name: "slow",
          lookup: (key: string) =>
            Effect.tap(select(key), () => Effect.zipRight(Deferred.succeed(read, undefined), Deferred.await(gate)))
        })
        const early = yield* Effect.fork(slow.get("k"))
        yield* Deferred.await(read)
        yield* Transaction.transact(set(2).pipe(slow.evicting("k")))
        yield* Deferred.succeed(gate, undefined)
        expect(yield* Fiber.join(early)).toEqual(Option.some(1))
        expect(yield* slow.get("k")).toEqual(Option.some(2))
      })
    )
  })

  describe("loading in a transaction", () => {
    it.scoped("reads in the transaction and keeps nothing", () =>
      Effect.gen(function* () {
        const { cache, reads, set } = yield* fixture
        yield* Transaction.transact(
          Effect.gen(function* () {
            yield* set(2)
            expect(yield* cache.get("k")).toEqual(Option.some(2))
            expect(yield* cache.getOrLoad("list", Effect.succeed(7))).toBe(7)
            yield* set(3)
            expect(yield* cache.get("k")).toEqual(Option.some(3))
          })
        )
        expect(yield* cache.size).toBe(0)
        expect(reads).toEqual([2, 3])
      })
    )

    it.scoped("gives the caller's effect the caller's services, whatever the cache was made with", () =>
      Effect.gen(function* () {
        const Source = Context.GenericTag<"Source", number>("Source")
        const cache = yield* Effect.provideService(Cache.make<string, number>({ name: "lists" }), Source, 1)
        const load = Effect.provideService(cache.getOrLoad("list", Source), Source, 8)
        expect([yield* Transaction.transact(load), yield* load]).toEqual([8, 8])
      })
    )

    it.scoped("serves what was already held and the transaction has not touched", () =>
      Effect.gen(function* () {
        const { cache, reads } = yield* fixture
        yield* cache.get("k")
        expect(yield* Transaction.transact(cache.get("k"))).toEqual(Option.some(1))
        expect(reads).toEqual([1])
      })
    )

    it.scoped("a load outside runs without the transaction that the cache was made in", () =>
      Effect.gen(function* () {
        const { select, set } = yield* fixture
        const cache = yield* Transaction.transact(
          Effect.zipRight(set(2), Cache.make({ name: "made inside", lookup: select }))
        )
        expect(yield* cache.get("k")).toEqual(Option.some(2))
      })
    )
  })

  describe("loading in a fiber that outlives its transaction", () => {
    it.scoped("is loading outside of it", () =>
      Effect.gen(function* () {
        const { cache, select, set } = yield* fixture
        const over = yield* Deferred.make<void>()
        const survivor = yield* Transaction.transact(
          Effect.zipRight(
            set(2),
            Effect.forkDaemon(
              Effect.zipRight(
                Deferred.await(over),
                Effect.all([
                  cache.getOrLoad("list", Effect.map(select("k"), Option.getOrThrow)),
                  Effect.map(cache.get("k"), Option.getOrThrow)
                ])
              )
            )
          )
        )
        yield* Deferred.succeed(over, undefined)
        expect(yield* Fiber.join(survivor)).toEqual([2, 2])
        expect(yield* cache.size).toBe(2)
      })
    )
  })

  describe("put, delete and clear in a transaction", () => {
    it.scoped("put keeps nothing and removes the key after the commit", () =>
      Effect.gen(function* () {
        const { cache } = yield* fixture
        yield* cache.put("k", 1)
        yield* Transaction.transact(
          Effect.gen(function* () {
            yield* cache.put("k", 2)
            expect(yield* onAnotherFiber(cache.getOption("k"))).toEqual(Option.some(1))
          })
        )
        expect(yield* cache.getOption("k")).toEqual(Option.none())
      })
    )

    it.scoped(
      "whatever writes looks as if it had, to the transaction, and removes the key for others after the commit",
      () =>
        Effect.gen(function* () {
          const { cache } = yield* fixture
          for (const [answer, write] of [
            [false, cache.putIfAbsent("k", 2)],
            [
              Option.some(2),
              cache.update(
                "k",
                Option.map((value) => value + 1)
              )
            ],
            [
              Option.some(1),
              cache.getAndUpdate(
                "k",
                Option.map((value) => value + 1)
              )
            ],
            [Option.some(1), cache.take("k")],
            [2, cache.deleteAll(["k", "k", "other"])]
          ] as const) {
            yield* cache.put("k", 1)
            yield* cache.put("other", 1)
            yield* Transaction.transact(
              Effect.gen(function* () {
                expect(yield* write as Effect.Effect<unknown>).toEqual(answer)
                expect(yield* cache.has("k")).toBe(answer === false)
                expect(yield* onAnotherFiber(cache.getOption("k"))).toEqual(Option.some(1))
              })
            )
            expect(yield* cache.has("k")).toBe(answer === false)
          }
        })
    )

    it.scoped("expire takes nothing away from others before the commit, and nothing at all if there is none", () =>
      Effect.gen(function* () {
        const { cache } = yield* fixture
        const left: Array<unknown> = []
        for (const end of [Effect.fail("no"), Effect.void]) {
          yield* cache.put("k", 1)
          yield* Effect.ignore(
            Transaction.transact(
              Effect.gen(function* () {
                left.push(yield* cache.expire("none", 0), yield* cache.expire("k", 0))
                left.push(yield* cache.has("k"), yield* onAnotherFiber(cache.has("k")))
                yield* end
              })
            )
          )
          left.push(yield* cache.has("k"))
        }
        expect(left).toEqual([false, true, false, true, true, false, true, false, true, false])
      })
    )

    it.scoped("touch is a read: it stands whatever becomes of the transaction, and takes nothing away", () =>
      Effect.gen(function* () {
        const { cache } = yield* fixture
        yield* cache.put("k", 1)
        expect(yield* Transaction.transact(cache.touch("k"))).toBe(true)
        expect(yield* cache.has("k")).toBe(true)
      })
    )

    it.scoped("keys, entries and size leave out what the transaction has written, and only for the transaction", () =>
      Effect.gen(function* () {
        const { cache } = yield* fixture
        const all = Effect.all([cache.keys, cache.entries, cache.size])
        yield* cache.put("k", 1)
        yield* cache.put("other", 2)
        const full = [
          ["k", "other"],
          [
            ["k", 1],
            ["other", 2]
          ],
          2
        ]
        for (const [write, seen] of [
          [cache.delete("k"), [["other"], [["other", 2]], 1]],
          [cache.put("k", 5), [["other"], [["other", 2]], 1]],
          [cache.clear, [[], [], 0]]
        ] as const) {
          yield* Effect.ignore(
            Transaction.transact(
              Effect.gen(function* () {
                expect(yield* all).toEqual(full)
                yield* write
                expect(yield* all).toEqual(seen)
                expect(yield* onAnotherFiber(all)).toEqual(full)
                return yield* Effect.fail("rolled back")
              })
            )
          )
          expect(yield* all).toEqual(full)
        }
      })
    )

    it.scoped("what one transaction has written, every open transaction reads around the cache", () =>
      Effect.gen(function* () {
        const { cache, reads, set } = yield* fixture
        yield* cache.get("k")
        yield* Transaction.transact(
          Effect.gen(function* () {
            yield* set(2).pipe(cache.evicting("k"))
            const sql = yield* SqlClient.SqlClient
            const other = Effect.provideService(Transaction.transact(cache.get("k")), SqlClient.SqlClient, sql)
            expect(yield* onAnotherFiber(other)).toEqual(Option.some(1))
          })
        )
        expect(reads).toEqual([1, 1])
      })
    )

    it.scoped("a second update in one transaction finds nothing, for the first has kept nothing", () =>
      Effect.gen(function* () {
        const { cache } = yield* fixture
        yield* cache.put("k", 5)
        const answers = Effect.all([
          Cache.increment(cache, "k"),
          Cache.increment(cache, "k"),
          cache.putIfAbsent("k", 9),
          cache.putIfAbsent("k", 9)
        ])
        expect(yield* Transaction.transact(answers)).toEqual([6, 1, true, true])
        expect(yield* cache.has("k")).toBe(false)
      })
    )

    it.scoped("delete and clear are seen by the transaction at once and by others after the commit", () =>
      Effect.gen(function* () {
        const { cache } = yield* fixture
        for (const remove of [cache.delete("k"), cache.clear]) {
          yield* cache.put("k", 1)
          yield* Transaction.transact(
            Effect.gen(function* () {
              yield* remove
              expect([yield* cache.has("k"), yield* cache.delete("k")]).toEqual([false, false])
              expect(yield* onAnotherFiber(cache.has("k"))).toBe(true)
            })
          )
          expect(yield* cache.has("k")).toBe(false)
        }
      })
    )
  })
})
