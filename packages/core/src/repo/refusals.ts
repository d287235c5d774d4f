/** Why a statement is not run, or is not believed. */
import { SqlError } from "@effect/sql"
import { Effect } from "effect"
import { outsideReason } from "./driver.js"
import { DbError, TransactionClosed } from "./RepoError.js"

const refusal = (message: string, reason: string, kind: "refused" | "statement" = "statement") =>
  Effect.fail(
    new SqlError.SqlError({
      cause: new DbError({
        operation: "run this statement",
        kind,
        code: undefined,
        retryable: false,
        reason,
        cause: undefined
      }),
      message
    })
  )

export const controlled = refusal(
  "A transaction cannot be begun or ended by a statement of its own",
  "transact alone begins and ends its transaction. Wrap in it what belongs together, and let the effect fail to roll it back; inside of another it is a savepoint."
)

export const leftOpen = refusal(
  "A statement left a transaction open",
  "it consists of several, one of which begins a transaction that none of them ends: what was done in that is rolled back. Wrap it in transact."
)

export const unnarrowed = refusal(
  "This statement would reach rows that a middleware keeps its call away from",
  "a middleware narrows it to some rows of the table, which a statement of this kind cannot be. An upsert, for one, could replace a row of somebody else.",
  "refused"
)

export const lost = refusal("The transaction of this statement is not open any more", outsideReason)

export const closed = Effect.suspend(() =>
  Effect.fail(
    new SqlError.SqlError({
      cause: new TransactionClosed({ operation: "run this statement", reason: "ended" }),
      message: "The transaction of this statement has ended"
    })
  )
)
