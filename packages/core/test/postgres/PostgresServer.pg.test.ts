import { SqlClient } from "@effect/sql"
import { describe, expect, it, layer } from "@effect/vitest"
import { Effect } from "effect"
import { EmbeddedPostgres } from "../../src/testing.js"

layer(EmbeddedPostgres)("EmbeddedPostgres", (it) => {
  it.effect("answers", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const rows = yield* sql<{ answer: number; version: string }>`select 42 as answer, version()`
      console.log(rows)
      expect(rows[0]?.answer).toBe(42)
    })
  )
})
