/** Ends of transactions that are not seen coming: none is known, so the reader of texts is told to miss one. */
import { SqlClient } from "@effect/sql"
import { describe, expect, layer } from "@effect/vitest"
import { Effect, Exit } from "effect"
import { vi } from "vitest"
import * as Transaction from "../../src/repo/Transaction.js"
import { EmbeddedPostgres } from "../../src/testing.js"

vi.mock("../../src/repo/sqltext.js", async (original) => {
  const read = await original<typeof import("../../src/repo/sqltext.js")>()
  return {
    ...read,
    controls: (text: string, which: "first" | "any") => text !== hidden && read.controls(text, which)
  }
})

const hidden = "select 1; insert into notes values (1); commit; begin"

const table = Effect.flatMap(
  SqlClient.SqlClient,
  (sql) => sql`drop table if exists notes; create table notes (id int primary key)`
)

const ids = Effect.map(
  Effect.flatMap(SqlClient.SqlClient, (sql) => sql<{ id: number }>`select id from notes order by id`),
  (rows) => rows.map((row) => row.id)
)

describe("inside of a transaction", () => {
  layer(EmbeddedPostgres, { excludeTestServices: true })((it) => {
    it.effect(
      "an end that no reading of a text finds is noticed by what PostgreSQL answers: nothing more is sent, and success is not reported",
      () =>
        Effect.gen(function* () {
          yield* table
          const sql = yield* SqlClient.SqlClient
          const events: Array<string> = []
          const error = yield* Effect.flip(
            Transaction.transact(
              Effect.gen(function* () {
                yield* Transaction.afterCommit(Effect.sync(() => events.push("committed")))
                yield* Transaction.afterRollback(Effect.sync(() => events.push("rolled back")))
                events.push((yield* Effect.flip(sql.unsafe(hidden))).message)
                events.push(Exit.isFailure(yield* Effect.exit(sql`insert into notes values (2)`)) ? "refused" : "sent")
                yield* Effect.flip(Transaction.transact(sql`insert into notes values (3)`))
              })
            )
          )
          expect(error).toMatchObject({ _tag: "CommitFailed", outcome: "unknown" })
          expect(events).toEqual(["The transaction of this statement is not open any more", "refused"])
          expect(yield* ids).toEqual([1])
        })
    )

    it.effect(
      "what such an end leaves unknown is not said to be rolled back, by a savepoint and by a failure neither",
      () =>
        Effect.gen(function* () {
          yield* table
          const sql = yield* SqlClient.SqlClient
          const events: Array<string> = []
          const registered = Effect.zipRight(
            Transaction.afterRollback(Effect.sync(() => events.push("rolled back"))),
            Transaction.onCommitOrNow(Effect.sync(() => events.push("kept or not")))
          )
          const nested = Effect.exit(
            Transaction.transact(Effect.zipRight(registered, Effect.ignore(sql.unsafe(hidden))))
          )
          const exit = yield* Effect.exit(Transaction.transact(Effect.zipRight(nested, Effect.fail("mine" as const))))
          expect(exit).toEqual(Exit.fail("mine"))
          expect(events.splice(0)).toEqual(["kept or not"])
          yield* sql`delete from notes`
          const inner = yield* Effect.flip(
            Transaction.transact(Effect.zipRight(registered, Effect.flatten(Effect.flatMap(nested, Effect.succeed))))
          )
          expect(inner).toMatchObject({ _tag: "CommitFailed", outcome: "unknown" })
          expect(events.splice(0)).toEqual(["kept or not", "kept or not"])
          expect(yield* ids).toEqual([1])
        })
    )
  })
})
