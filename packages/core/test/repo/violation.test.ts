import { Model, SqlError } from "@effect/sql"
import { describe, expect, it } from "@effect/vitest"
import { Schema } from "effect"
import { CommitFailed, isRetryable, ServerAnswer } from "../../src/repo/RepoError.js"
import * as Table from "../../src/repo/Table.js"
import { implementationOf } from "../../src/repo/tableimplementation.js"
import { commitError, writeError } from "../../src/repo/violation.js"

class Person extends Model.Class<Person>("Person")({ id: Schema.Number, age: Schema.Number }) {}

const people = implementationOf(
  Table.make(Person, {
    name: "people",
    key: "id",
    constraints: { age_check: Table.check("age"), pets_owner_fkey: Table.foreignKey("id") }
  })
)

const reported = (fields: Record<string, unknown>, message = "Failed to execute statement") =>
  new SqlError.SqlError({ message, cause: Object.assign(new Error(), fields) })

const failed = (fields: Record<string, unknown>, inTransaction = false, message?: string) =>
  writeError(people, "insert into", reported(fields, message), inTransaction)

describe("writeError", () => {
  it("knows a constraint by its name and its table: another table's of that name is not this one's", () => {
    const check = { code: "23514", constraint: "age_check", message: "violates" }
    expect(failed({ ...check, table: "people" })).toMatchObject({ _tag: "CheckViolation", table: "people" })
    expect(failed({ ...check, table: "pets" })).toMatchObject({ _tag: "DbError", kind: "constraint" })
    expect(failed({ ...check, code: "23505", table: "people" })).toMatchObject({ _tag: "DbError" })
    expect(failed({ code: "23503", constraint: "pets_owner_fkey", table: "pets" })).toMatchObject({
      _tag: "ForeignKeyViolation"
    })
  })

  const unknown = "Whether it was done is not known: look before trying again."

  it("says that it is not known whether a write was done when the connection was lost on its way", () => {
    for (const fields of [
      { message: "Connection terminated unexpectedly" },
      { code: "ECONNRESET", message: "read ECONNRESET", syscall: "read" },
      { code: "ETIMEDOUT", message: "read ETIMEDOUT", syscall: "read" },
      { code: "ENETDOWN", message: "read ENETDOWN", syscall: "read" },
      { code: "57P01", message: "terminating connection due to administrator command" }
    ]) {
      const error = failed(fields)
      expect(error.message).toContain(unknown)
      expect(isRetryable(error)).toBe(false)
    }
  })

  it.each([
    [{ message: "timeout exceeded when trying to connect" }, "Failed to acquire connection"],
    [{ message: "Connection terminated due to connection timeout" }, "Failed to acquire connection"],
    [{ message: "Client has encountered a connection error and is not queryable" }, undefined],
    [{ code: "ECONNREFUSED", message: "connect ECONNREFUSED", syscall: "connect" }, undefined],
    [{ code: "ETIMEDOUT", message: "connect ETIMEDOUT", syscall: "connect" }, undefined],
    [{ code: "ENETUNREACH", message: "connect ENETUNREACH", syscall: "connect" }, undefined],
    [{ code: "ENOTFOUND", message: "getaddrinfo ENOTFOUND", syscall: "getaddrinfo" }, undefined],
    [{ code: "53300", message: "too many clients" }, undefined],
    [{ code: "57P03", message: "starting up" }, undefined]
  ])("lets a write that was never sent be tried again: %j", (fields, message) => {
    const error = failed(fields, false, message)
    expect(error.message).not.toContain("not known")
    expect(isRetryable(error)).toBe(true)
  })

  it("knows that a write of a lost transaction is not kept", () => {
    const error = failed({ message: "Connection terminated unexpectedly" }, true)
    expect(error.message).not.toContain("not known")
    expect(error.message).toContain("Nothing of the transaction it belongs to is kept")
    expect(isRetryable(error)).toBe(true)
  })
})

describe("commitError", () => {
  const commitFailed = (outcome: "rolledBack" | "unknown", message: string) =>
    commitError(
      people,
      "insert into",
      new CommitFailed({ code: undefined, outcome, reason: "r", cause: new ServerAnswer({ message }) })
    )

  it("lets a write be tried again when its commit was never sent, and not when its outcome is unknown", () => {
    const never = commitFailed("rolledBack", "Client has encountered a connection error and is not queryable")
    expect([never._tag, isRetryable(never)]).toEqual(["DbError", true])
    expect(isRetryable(commitFailed("unknown", "Connection terminated unexpectedly"))).toBe(false)
    expect(isRetryable(commitFailed("rolledBack", "something else"))).toBe(false)
  })
})
