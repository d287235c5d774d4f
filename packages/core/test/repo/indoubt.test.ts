/** Which failures leave it open whether a write was done. */
import { SqlError } from "@effect/sql"
import { describe, expect, it } from "vitest"
import { commitFailure } from "../../src/repo/ending.js"
import { isInDoubt } from "../../src/repo/indoubt.js"
import {
  CommitFailed,
  DbError,
  SerializationFailure,
  ServerAnswer,
  TransactionClosed
} from "../../src/repo/RepoError.js"
import { hasOneSpelling } from "../../src/repo/rowkey.js"

const byHand = (cause: unknown) => new SqlError.SqlError({ cause, message: "Failed to execute statement" })

const reported = (code: string | undefined, message: string, syscall?: string) =>
  byHand(Object.assign(new Error(message), { code, syscall }))

const failed = (kind: DbError["kind"], retryable: boolean, cause?: unknown) =>
  new DbError({ operation: "update people", kind, code: undefined, retryable, reason: "", cause })

const ended = (outcome: "rolledBack" | "unknown") =>
  new CommitFailed({ code: undefined, outcome, reason: "", cause: undefined })

const ownCause: { cause?: unknown } = {}
ownCause.cause = ownCause

describe("isInDoubt", () => {
  it.each([
    ["a COMMIT without an answer", ended("unknown")],
    ["a write whose connection was lost on the way", failed("connection", false)],
    ["a row that did not fit its model", failed("decode", false)],
    [
      "a value that could not be read",
      failed("statement", false, new ServerAnswer({ message: "that cannot be read" }))
    ],
    ["a connection that ended, by hand", reported(undefined, "Connection terminated unexpectedly")],
    ["a server that stops", reported("57P01", "terminating connection due to administrator command")],
    ["a network that is gone", reported("ENETDOWN", "read ENETDOWN", "read")],
    ["a pipe that is broken", reported("EPIPE", "write EPIPE", "write")],
    ["a record of TLS that is none", reported("ERR_SSL_WRONG_VERSION_NUMBER", "wrong version number")],
    ["a COMMIT without an answer, by hand", byHand(ended("unknown"))],
    ["what the program has made of one", new Error("not saved", { cause: failed("connection", false) })],
    ["what it has made of that", { reason: "no", cause: new Error("not saved", { cause: byHand(new Error("gone")) }) }]
  ])("says so of %s", (_, error) => expect(isInDoubt(error)).toBe(true))

  it.each([
    ["a COMMIT that was refused", ended("rolledBack")],
    ["a connection that was lost before, or with its transaction", failed("connection", true)],
    ["a constraint", failed("constraint", false, new ServerAnswer({ message: "no", code: "23505" }))],
    ["what was never sent", failed("statement", false, new ServerAnswer({ message: "no", neverSent: true }))],
    ["what we refused to send", byHand(failed("refused", false))],
    ["a transaction that is over", byHand(new TransactionClosed({ operation: "write", reason: "ended" }))],
    ["a conflict", new SerializationFailure({ operation: "write", code: "40001", cause: undefined })],
    ["a refusal, by hand", reported("23505", "duplicate key")],
    ["a code that a function of the database has raised", reported("HELLO", "hello")],
    ["a server that nobody reached", reported("ECONNREFUSED", "connect ECONNREFUSED", "connect")],
    ["a COMMIT that was refused, by hand", byHand(ended("rolledBack"))],
    ["what the program has made of a constraint", new Error("not saved", { cause: failed("constraint", false) })],
    ["an error of the program's own", new Error("no")],
    ["one that is its own cause", ownCause],
    ["nothing", undefined]
  ])("does not of %s", (_, error) => expect(isInDoubt(error)).toBe(false))
})

describe("commitFailure", () => {
  it.each(["ENETDOWN", "EPIPE", "57P01", "ERR_SSL_WRONG_VERSION_NUMBER"])(
    "does not know of a COMMIT whose connection ended with %s",
    (code) => expect(commitFailure(reported(code, "gone", "read")).outcome).toBe("unknown")
  )

  it.each(["23503", "HELLO", "P0001"])("believes PostgreSQL that it was refused with %s", (code) =>
    expect(commitFailure(reported(code, "no")).outcome).toBe("rolledBack")
  )
})

describe("hasOneSpelling", () => {
  it("is true of numbers, bigints, booleans and fields of such, and of nothing else", () => {
    const one = [1, -0.5, 1n, true, { hall: 1, no: 2n }]
    const several = ["a", new Date(1), new Uint8Array([1]), [1], null, undefined, { hall: "a", no: 2n }]
    expect(one.filter((key) => !hasOneSpelling(key))).toEqual([])
    expect(several.filter(hasOneSpelling)).toEqual([])
  })
})
