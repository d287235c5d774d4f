/** Reads SQLSTATEs: from what the driver reported to the errors of `RepoError.ts`, values left out. */
import { isStale } from "./prepared.js"
import { DbError, SerializationFailure, ServerAnswer, type StatementError, TransactionClosed } from "./RepoError.js"

/** The parts of `pg`'s DatabaseError and of Node's system errors that are read here. */
interface Reported {
  readonly code?: unknown
  readonly message?: unknown
  readonly constraint?: unknown
  readonly schema?: unknown
  readonly table?: unknown
  readonly column?: unknown
  readonly routine?: unknown
  readonly syscall?: unknown
}

const text = (value: unknown): string | undefined => (typeof value === "string" && value !== "" ? value : undefined)

/** The text was written by whoever wrote the function: `raise exception 'bad value %', new.email`. Any SQLSTATE can be given to it. */
const isRaised = ({ code, routine }: Reported): boolean =>
  code === "P0001" || code === "P0004" || routine === "exec_stmt_raise" || routine === "exec_stmt_assert"

/** Class 22 quotes the value that it did not like; so do the types' own input functions. Names are quoted only by other classes. */
const withoutValues = (message: string, found: Reported): string =>
  isRaised(found)
    ? "a function or trigger of the database raised an exception, whose text may hold values: it is in the server's log"
    : text(found.code)?.startsWith("22")
      ? message.replace(/".*"/gs, "…").replace(/: .*$/s, "")
      : message

/** Codes of a connection that was not made. Those of the server come before it takes any statement. */
const refusedCodes = new Set([
  "ECONNREFUSED",
  "ENOENT",
  "ENOTFOUND",
  "EAI_AGAIN",
  "28P01",
  "28000",
  "3D000",
  "53300",
  "57P03"
])

/** What `pg` and its pool say, without any code, where there was nothing to send on. */
const unsentMessages = /not queryable|timeout exceeded when trying to connect|calling end on the pool/

const isUnsent = (error: unknown, { code, message, syscall }: Reported): boolean => {
  // @effect/sql-pg says by this what it was doing: the statement comes after it.
  for (let at = error; at instanceof Error; at = at.cause)
    if (at.message.startsWith("Failed to acquire connection")) return true
  return typeof code === "string"
    ? refusedCodes.has(code) || syscall === "connect" || syscall === "getaddrinfo"
    : typeof message === "string" && unsentMessages.test(message)
}

/** The innermost cause that carries a code, or the innermost one at all. */
const reported = (error: unknown): Reported | TransactionClosed => {
  let found: Reported = {}
  for (let at = error; typeof at === "object" && at !== null; at = "cause" in at ? at.cause : undefined) {
    if (at instanceof TransactionClosed) return at
    found = at
    if ("code" in at && typeof at.code === "string") break
  }
  return found
}

export const answerOf = (error: unknown): ServerAnswer | TransactionClosed => {
  const found = reported(error)
  if (found instanceof TransactionClosed) return found
  const code = text(found.code)
  return new ServerAnswer({
    message: withoutValues(text(found.message) ?? String(error), found),
    code,
    constraint: text(found.constraint),
    schema: text(found.schema),
    table: text(found.table),
    column: text(found.column),
    neverSent: isUnsent(error, found)
  })
}

const remedies: Readonly<Record<string, string>> = {
  ECONNREFUSED: "nothing listens there; start the server or correct its address",
  ENOENT: "there is no socket at that path; start the server or correct its address",
  ENOTFOUND: "there is no host of that name; correct its address",
  EAI_AGAIN: "the name of the host could not be looked up; check the network",
  ETIMEDOUT: "no answer in time; check the network and the address",
  EHOSTUNREACH: "the host cannot be reached; check the network and the address",
  "28P01": "the password was refused; correct user and password",
  "28000": "the user was refused; correct the user, or allow it in pg_hba.conf",
  "3D000": "there is no such database; create it or correct the name",
  "53300": "the server has no connection left; use fewer, or raise max_connections"
}

/** The code says that the server ended the connection, or that there never was one. */
const lostCodes = /^(08...|57P0[1-5]|25P03|25P04)$/

/** Codes of the system, of its sockets and of TLS. Of five letters only those that a socket can have: a function of the database may raise any. */
const systemCodes = /^(EIO|EBADF|EBUSY|EINTR|ENXIO|EPERM|EPIPE|E(?!RR_)[A-Z_]{5,}|ERR_(SOCKET|SSL|STREAM|TLS)_\w+)$/

/** What `pg` and its pool say without any code when a connection is gone. */
const lostMessages =
  /connection terminated|connection error|connection ended|not queryable|client was closed|timeout exceeded when trying to connect|calling end on the pool/i

/** Whether the connection cannot be used any more (or never could). */
export const isConnectionProblem = (answer: ServerAnswer): boolean =>
  answer.code === undefined
    ? lostMessages.test(answer.message)
    : lostCodes.test(answer.code) || systemCodes.test(answer.code) || answer.code in remedies

/** Codes of the system and of Node are longer, or an E and four more letters (EPIPE). */
const sqlState = /^(?!E[A-Z]{4}$)[0-9A-Z]{5}$/

/** PostgreSQL has said what became of it, and goes on. Without that it may have been done, unless it was never sent. */
export const isAnswered = (answer: ServerAnswer): boolean =>
  answer.code !== undefined && sqlState.test(answer.code) && !isConnectionProblem(answer)

/** What it is about certainly never reached the server. */
export const wasNeverSent = (answer: ServerAnswer): boolean => answer.neverSent

const connectionReason = (answer: ServerAnswer): string => {
  const said = answer.code === undefined ? answer.message : `${answer.code} ${answer.message}`
  if (/timeout exceeded when trying to connect/i.test(answer.message))
    return "no connection was free in time. Use fewer at once, raise maxConnections, or look for a transaction that stays open."
  const remedy = answer.code === undefined ? undefined : remedies[answer.code]
  if (remedy !== undefined) return `PostgreSQL cannot be reached (${said}): ${remedy}.`
  if (answer.code === "57P03")
    return `PostgreSQL cannot be reached (${said}): it is starting or stopping; try again in a moment.`
  if (answer.neverSent && answer.code !== undefined)
    return `PostgreSQL cannot be reached (${said}): check the network and the address.`
  return `the connection to PostgreSQL was lost (${said}). See that the server runs, then try again: the next call opens a new connection.`
}

const statementReason = (answer: ServerAnswer): { readonly kind: DbError["kind"]; readonly reason: string } => {
  const said = answer.code === undefined ? answer.message : `${answer.message} (${answer.code})`
  switch (answer.code) {
    case "25P02":
      return {
        kind: "aborted",
        reason:
          "an earlier statement of this transaction failed, and PostgreSQL refuses everything until it is rolled back (25P02). Let the failure end the transaction, or wrap the part that may fail in a transact of its own."
      }
    case "42P01":
      return {
        kind: "statement",
        reason: `${said}. Create it (is a migration missing?), or correct the table's name or schema.`
      }
    case "42703":
      return { kind: "statement", reason: `${said}. Add it (is a migration missing?), or correct the model.` }
    case "57014":
      return { kind: "statement", reason: `${said}: it was cancelled, or took longer than statement_timeout allows.` }
    case "55P03":
      return { kind: "statement", reason: `${said}: another transaction holds the lock.` }
    case "42501":
      return { kind: "statement", reason: `${said}. Grant the user that right.` }
  }
  if (answer.code?.startsWith("23") && answer.constraint !== undefined)
    return {
      kind: "constraint",
      reason: `${said}. Declare ${answer.constraint} in Table.make's constraints to get an error with a name of its own.`
    }
  if (answer.code === "23502" && answer.column !== undefined)
    return { kind: "constraint", reason: `${said}. Give ${answer.column} a value, or the column a default.` }
  if (isStale(answer.code, answer.message))
    return {
      kind: "statement",
      reason: `${said}: its table was altered after it had been prepared. Run the whole transaction again, it is prepared anew then.`
    }
  return { kind: "statement", reason: `${said}.` }
}

/** What a statement failed with, as a typed error; `operation` reads on from "could not …". */
export const statementError = (error: unknown, operation: string): StatementError => {
  const answer = answerOf(error)
  if (answer instanceof TransactionClosed) return new TransactionClosed({ operation, reason: answer.reason })
  const { cause }: { readonly cause?: unknown } = Object(error)
  // Refused before it was sent: there is no answer to read.
  if (cause instanceof DbError && cause.kind === "refused") {
    const { code, kind, reason, retryable } = cause
    return new DbError({ operation, kind, code, retryable, reason, cause: undefined })
  }
  return classified(answer, operation)
}

export const classified = (answer: ServerAnswer, operation: string): DbError | SerializationFailure => {
  if (answer.code === "40001" || answer.code === "40P01")
    return new SerializationFailure({ operation, code: answer.code, cause: answer })
  if (isConnectionProblem(answer))
    return new DbError({
      operation,
      kind: "connection",
      code: answer.code,
      retryable: true,
      reason: connectionReason(answer),
      cause: answer
    })
  return new DbError({
    operation,
    code: answer.code,
    retryable: answer.code === "55P03" || isStale(answer.code, answer.message),
    cause: answer,
    ...statementReason(answer)
  })
}
