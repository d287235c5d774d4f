// @effect-diagnostics *:off
import type { SqlClient } from "@effect/sql"
import { Effect } from "effect"
import { describe, expect, it } from "tstyche"
import * as Repo from "../src/repo/Repo.js"
import type * as RepoError from "../src/repo/RepoError.js"
import * as Transaction from "../src/repo/Transaction.js"

describe("Transaction", () => {
  it("transact adds its own failures, and provides the Transaction", () => {
    expect(Repo.transact(Transaction.afterCommit(Effect.void))).type.toBe<
      Effect.Effect<void, Transaction.TransactError, Repo.Repo>
    >()
    expect(Effect.fail("no" as const).pipe(Repo.transact({ isolation: "serializable" }))).type.toBe<
      Effect.Effect<never, "no" | Transaction.TransactError, Repo.Repo>
    >()
    expect(Transaction.transact(Effect.succeed(1))).type.toBe<
      Effect.Effect<number, Transaction.TransactError, SqlClient.SqlClient>
    >()
    expect(Repo.transact).type.not.toBeCallableWith(Effect.void, { isolation: "chaos" })
    expect(Repo.transact).type.not.toBeCallableWith(Effect.void, { isolation: "serializable", readonly: true })
    expect(Transaction.transact).type.not.toBeCallableWith({ retry: { times: 3 }, timeot: "1 second" })
  })

  it("a timeout adds its failure, and only a timeout", () => {
    expect(Repo.transact(Effect.void, { timeout: "1 second" })).type.toBe<
      Effect.Effect<void, Transaction.TransactError | RepoError.TransactionTimeout, Repo.Repo>
    >()
    expect(Effect.void.pipe(Transaction.transact({ timeout: "1 second" }))).type.toBe<
      Effect.Effect<void, Transaction.TransactError | RepoError.TransactionTimeout, SqlClient.SqlClient>
    >()
    expect(Repo.transact(Effect.void, { lockTimeout: "1 second" })).type.toBe<
      Effect.Effect<void, Transaction.TransactError, Repo.Repo>
    >()
  })

  it("work for after the commit needs a transaction", () => {
    expect(Transaction.afterCommit(Effect.void)).type.toBe<Effect.Effect<void, never, Transaction.Transaction>>()
    expect(Transaction.afterCommit(Effect.void)).type.not.toBeAssignableTo<Effect.Effect<void>>()
    expect(Transaction.afterRollback(Effect.void)).type.not.toBeAssignableTo<Effect.Effect<void>>()
    expect(Effect.runPromise).type.not.toBeCallableWith(Transaction.afterCommit(Effect.void))
  })

  it("work for after the commit cannot fail", () => {
    expect(Transaction.afterCommit).type.not.toBeCallableWith(Effect.fail("no"))
    expect(Transaction.afterRollback).type.not.toBeCallableWith(Effect.fail("no"))
    expect(Transaction.onCommitOrNow).type.not.toBeCallableWith(Effect.fail("no"))
  })

  it("onCommitOrNow needs none", () => {
    expect(Transaction.onCommitOrNow(Effect.void)).type.toBe<Effect.Effect<void>>()
  })
})
