import { SqlError } from "@effect/sql"
import { describe, expect, it } from "@effect/vitest"
import { isRetryable } from "../../src/repo/RepoError.js"
import { statementError } from "../../src/repo/sqlstate.js"

/** What the driver reports, as @effect/sql wraps it. */
const reported = (fields: Record<string, unknown>) =>
  new SqlError.SqlError({ message: "Failed to execute statement", cause: Object.assign(new Error(), fields) })

const read = (fields: Record<string, unknown>) => statementError(reported(fields), "read people")

describe("statementError", () => {
  it.each([
    ["57P01", "terminating connection due to administrator command"],
    ["08006", "connection failure"],
    ["ECONNRESET", "read ECONNRESET"],
    ["EPIPE", "write EPIPE"],
    ["ENETDOWN", "read ENETDOWN"],
    ["EIO", "read EIO"],
    ["ERR_STREAM_DESTROYED", "Cannot call write after a stream was destroyed"],
    ["ERR_SSL_WRONG_VERSION_NUMBER", "wrong version number"],
    [undefined, "Connection terminated unexpectedly"],
    [undefined, "Client has encountered a connection error and is not queryable"]
  ])("reads %s %j as a lost connection, with a remedy", (code, message) => {
    const error = read({ code, message })
    expect(error).toMatchObject({ _tag: "DbError", kind: "connection", retryable: true })
    expect(error.message).toBe(
      `could not read people: the connection to PostgreSQL was lost (${code === undefined ? "" : `${code} `}${message}). See that the server runs, then try again: the next call opens a new connection.`
    )
  })

  it.each([
    ["ECONNREFUSED", "connect ECONNREFUSED 127.0.0.1:5432", "start the server"],
    ["ENOENT", "connect ENOENT /tmp/x/.s.PGSQL.5432", "start the server"],
    ["28P01", "password authentication failed", "correct user and password"],
    ["3D000", "database does not exist", "create it"],
    ["57P03", "the database system is starting up", "try again in a moment"]
  ])("reads %s as a server that cannot be reached, with a remedy", (code, message, remedy) => {
    const error = read({ code, message })
    expect(error).toMatchObject({ _tag: "DbError", kind: "connection", code })
    expect(error.message).toContain("could not read people: PostgreSQL cannot be reached")
    expect(error.message).toContain(remedy)
  })

  it.each(["ENETUNREACH", "EHOSTDOWN", "EMFILE", "EPERM"])(
    "reads %s on the way to a server as one that cannot be reached, and may be by the next call",
    (code) => {
      const error = read({ code, message: `connect ${code} 192.0.2.1:5432`, syscall: "connect" })
      expect(error).toMatchObject({ _tag: "DbError", kind: "connection", code, retryable: true })
      expect(error.message).toBe(
        `could not read people: PostgreSQL cannot be reached (${code} connect ${code} 192.0.2.1:5432): check the network and the address.`
      )
    }
  )

  it.each(["HELLO", "EHELO", "P0001"])("reads %s that a function of the database has raised as its answer", (code) => {
    expect(read({ code, message: "no" })).toMatchObject({ _tag: "DbError", kind: "statement", retryable: false })
  })

  it("reads a code of Node's for something else than a connection as what a statement failed with", () => {
    expect(read({ code: "ERR_INVALID_ARG_TYPE", message: "no text" })).toMatchObject({ kind: "statement" })
  })

  it("reads a pool that has no connection free as what it is", () => {
    expect(read({ message: "timeout exceeded when trying to connect" }).message).toContain(
      "no connection was free in time"
    )
  })

  it.each(["40001", "40P01"])("reads %s as a serialization failure, which may be retried", (code) => {
    const error = read({ code, message: "could not serialize access" })
    expect(error).toMatchObject({ _tag: "SerializationFailure", code })
    expect(isRetryable(error)).toBe(true)
  })

  it.each([
    ["22P02", 'invalid input syntax for type integer: "top secret"'],
    ["22003", 'value "70000000000 secret" is out of range for type integer'],
    ["22P02", 'invalid input value for enum mood: "secret"']
  ])("leaves the value out of what PostgreSQL said with %s", (code, message) => {
    const error = read({ code, message, detail: "secret", where: "secret" })
    expect(error.message).not.toContain("secret")
    expect(String((error.cause as Error).stack)).not.toContain("secret")
    expect(JSON.stringify(error)).not.toContain("secret")
    expect(isRetryable(error)).toBe(false)
  })

  it("names what is missing for the commonest mistakes", () => {
    expect(read({ code: "42P01", message: 'relation "people" does not exist' }).message).toBe(
      'could not read people: relation "people" does not exist (42P01). Create it (is a migration missing?), or correct the table\'s name or schema.'
    )
    expect(read({ code: "25P02", message: "current transaction is aborted" })).toMatchObject({ kind: "aborted" })
  })
})
