/** From a SQLSTATE of class 23 to the violation of a constraint that the table declares. */
import {
  CheckViolation,
  type CommitFailed,
  DbError,
  ExclusionViolation,
  ForeignKeyViolation,
  ServerAnswer,
  type StatementError,
  UniqueViolation
} from "./RepoError.js"
import { answerOf, isConnectionProblem, statementError, wasNeverSent } from "./sqlstate.js"
import type { ConstraintKind } from "./Table.js"
import type { TableImplementation } from "./tableimplementation.js"

const kinds: Readonly<Record<string, ConstraintKind>> = {
  "23505": "unique",
  "23503": "foreignKey",
  "23001": "foreignKey",
  "23514": "check",
  "23P01": "exclusion"
}

const classes = {
  unique: UniqueViolation,
  foreignKey: ForeignKeyViolation,
  check: CheckViolation,
  exclusion: ExclusionViolation
}

type Violation = UniqueViolation | ForeignKeyViolation | CheckViolation | ExclusionViolation

const violation = (table: TableImplementation, operation: string, answer: unknown): Violation | undefined => {
  if (!(answer instanceof ServerAnswer) || answer.code === undefined || answer.constraint === undefined)
    return undefined
  const kind = kinds[answer.code]
  const declared = Object.hasOwn(table.constraints, answer.constraint)
    ? table.constraints[answer.constraint]
    : undefined
  if (kind === undefined || declared?.kind !== kind) return undefined
  // Names of constraints are unique within their table only. A foreign key that keeps a row from being deleted is another table's.
  if (kind !== "foreignKey" && answer.table !== undefined && answer.table !== table.name) return undefined
  return new classes[kind]({
    table: table.name,
    constraint: answer.constraint,
    fields: declared.fields,
    operation,
    cause: answer
  })
}

/**
 * What a write failed with. `verb` reads on from "could not …" and goes before the table's name: "insert into". When the connection is lost on the way
 * the write may have been done, unless it was never sent, or belongs to a transaction, which is lost with the connection.
 */
export const writeError = (
  table: TableImplementation,
  verb: string,
  error: unknown,
  inTransaction: boolean
): Violation | StatementError => {
  const answer = answerOf(error)
  const found = violation(table, verb, answer)
  if (found !== undefined) return found
  const classified = statementError(error, `${verb} ${table.name}`)
  if (classified._tag !== "DbError" || classified.kind !== "connection") return classified
  if (inTransaction)
    return new DbError({
      ...fieldsOf(classified),
      retryable: true,
      reason: `${classified.reason} Nothing of the transaction it belongs to is kept: run the whole of it again.`
    })
  if (answer instanceof ServerAnswer && wasNeverSent(answer)) return classified
  return new DbError({
    ...fieldsOf(classified),
    retryable: false,
    reason: `${classified.reason} Whether it was done is not known: look before trying again.`
  })
}

const fieldsOf = ({ cause, code, kind, operation, reason, retryable }: DbError) => ({
  cause,
  code,
  kind,
  operation,
  reason,
  retryable
})

/** The commit of a transaction that was opened for one write and its hooks: to the caller it is that write which failed. */
export const commitError = (
  table: TableImplementation,
  verb: string,
  failure: CommitFailed
): Violation | StatementError => {
  const found = violation(table, verb, failure.cause)
  if (found !== undefined) return found
  const { cause, outcome } = failure
  const isLost = cause instanceof ServerAnswer && isConnectionProblem(cause)
  return new DbError({
    operation: `${verb} ${table.name}`,
    kind: isLost || outcome === "unknown" ? "connection" : "statement",
    code: failure.code,
    retryable: isLost && outcome === "rolledBack",
    reason: failure.message,
    cause: failure
  })
}
