// @effect-diagnostics *:off
import type { SqlClient } from "@effect/sql"
import { Effect, type Scope } from "effect"
import { describe, expect, it } from "tstyche"
import * as AdvisoryLock from "../src/locks/AdvisoryLock.js"
import * as Repo from "../src/repo/Repo.js"
import type * as RepoError from "../src/repo/RepoError.js"
import type * as Transaction from "../src/repo/Transaction.js"

describe("AdvisoryLock", () => {
  it("cannot be taken outside of a transaction", () => {
    expect(AdvisoryLock.acquire("books")).type.toBe<
      Effect.Effect<void, RepoError.StatementError, Transaction.Transaction>
    >()
    expect(AdvisoryLock.acquire("books")).type.not.toBeAssignableTo<
      Effect.Effect<void, RepoError.StatementError, Repo.Repo>
    >()
    expect(AdvisoryLock.tryAcquire("books")).type.not.toBeAssignableTo<
      Effect.Effect<boolean, RepoError.StatementError, Repo.Repo>
    >()
    expect(Effect.runPromise).type.not.toBeCallableWith(AdvisoryLock.acquire("books"))
  })

  it("fails with LockTimeout only when a wait can end", () => {
    expect(AdvisoryLock.acquire(["a", "b"], { wait: "1 second" })).type.toBe<
      Effect.Effect<void, RepoError.LockTimeout | RepoError.StatementError, Transaction.Transaction>
    >()
    expect(AdvisoryLock.acquire("a", { mode: "shared" })).type.toBe<
      Effect.Effect<void, RepoError.StatementError, Transaction.Transaction>
    >()
    expect(AdvisoryLock.acquire).type.not.toBeCallableWith(1)
    expect(AdvisoryLock.acquire).type.not.toBeCallableWith("a", { mode: "shared", wiat: "nowait" })
    expect(AdvisoryLock.session).type.not.toBeCallableWith("a", { mode: "shared", wiat: "nowait" })
  })

  it("can be taken with a transaction of its own, whose Transaction the effect may ask for", () => {
    expect(AdvisoryLock.with("a")(AdvisoryLock.acquire("b"))).type.toBe<
      Effect.Effect<void, Transaction.TransactError, SqlClient.SqlClient>
    >()
    expect(Effect.void.pipe(AdvisoryLock.with("a", { wait: "1 second" }))).type.toBe<
      Effect.Effect<void, RepoError.LockTimeout | Transaction.TransactError, SqlClient.SqlClient>
    >()
    expect(AdvisoryLock.with).type.not.toBeCallableWith("a", { wiat: "nowait" })
  })

  it("can be taken inside of one", () => {
    expect(Repo.transact(AdvisoryLock.acquire(AdvisoryLock.key("books")))).type.toBe<
      Effect.Effect<void, Transaction.TransactError, Repo.Repo>
    >()
  })

  it("withSession adds LockLost, and LockTimeout only when a wait can end", () => {
    expect(Effect.void.pipe(AdvisoryLock.withSession("a"))).type.toBe<
      Effect.Effect<void, RepoError.LockLost | RepoError.StatementError, SqlClient.SqlClient>
    >()
    expect(AdvisoryLock.session("a", { wait: "nowait" })).type.toBe<
      Effect.Effect<
        AdvisoryLock.SessionLock,
        RepoError.LockTimeout | RepoError.StatementError,
        SqlClient.SqlClient | Scope.Scope
      >
    >()
  })
})
