/** Statements that were prepared before their table was altered. */
import { SqlClient } from "@effect/sql"
import { describe, expect, layer } from "@effect/vitest"
import { Effect, Option } from "effect"
import { EmbeddedPostgres } from "../../src/testing.js"
import { ada, freshTables, People, PersonId } from "./people.js"
import { pool } from "./pools.js"

const id = PersonId.make(1)

const prepared = Effect.gen(function* () {
  yield* freshTables
  const one = yield* pool(1)
  yield* one.repo.insert(People, { ...ada, nickName: Option.none() })
  yield* one.repo.get(People, id)
  return one
})

describe("a table that is altered", () => {
  layer(EmbeddedPostgres, { excludeTestServices: true })((it) => {
    it.scoped("by the transaction itself can be read before and after, in savepoints too", () =>
      Effect.gen(function* () {
        const { repo, sql } = yield* prepared
        const found = yield* repo.transact(
          Effect.gen(function* () {
            yield* repo.fetch(People, id)
            yield* sql`alter table people alter column age type bigint`
            const inner = yield* repo.transact(repo.fetch(People, id))
            return [inner.age, (yield* repo.fetch(People, id)).age]
          })
        )
        expect(found).toEqual([36, 36])
        expect((yield* repo.fetch(People, id)).age).toBe(36)
      })
    )

    it.scoped("elsewhere fails a transaction in a way that can be run again, and retry does", () =>
      Effect.gen(function* () {
        const { repo } = yield* prepared
        const outside = yield* SqlClient.SqlClient
        yield* outside`alter table people alter column age type bigint`
        const error = yield* Effect.flip(repo.transact(repo.fetch(People, id)))
        expect(error).toMatchObject({ _tag: "DbError", code: "0A000", retryable: true })
        expect(error.message).toContain("its table was altered after it had been prepared")
        yield* outside`alter table people alter column age type int`
        const found = yield* repo.transact(repo.fetch(People, id), { retry: { times: 1, base: 1 } })
        expect(found.age).toBe(36)
      })
    )

    it.scoped("elsewhere is nothing that a statement outside of a transaction notices", () =>
      Effect.gen(function* () {
        const { repo } = yield* prepared
        const outside = yield* SqlClient.SqlClient
        yield* outside`alter table people alter column age type bigint`
        expect((yield* repo.fetch(People, id)).age).toBe(36)
      })
    )

    it.scoped("and names that were discarded are made again", () =>
      Effect.gen(function* () {
        const { repo, sql } = yield* prepared
        yield* sql`discard all`
        expect((yield* repo.fetch(People, id)).age).toBe(36)
        yield* sql`discard all`
        const found = yield* repo.transact(repo.fetch(People, id), { retry: { times: 1, base: 1 } })
        expect(found.age).toBe(36)
      })
    )
  })
})
