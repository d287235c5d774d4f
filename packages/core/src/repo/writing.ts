/** The statements that write one row, with what they fail with; their hooks are not known here. */
import { Effect, type Fiber } from "effect"
import { announced } from "./announcing.js"
import type { Answer } from "./connection.js"
import { type Database, foreignConnection } from "./database.js"
import { Later, Mismatch } from "./fieldplan.js"
import { frameOf } from "./frame.js"
import { type Conflict, conflictText } from "./onconflict.js"
import type { Piggyback } from "./pipeline.js"
import { DbError, type InvalidInput, type NotFound, StaleRow, type StatementError } from "./RepoError.js"
import { isRow, keyOf, notFound, versionOf } from "./rowkey.js"
import { statementError } from "./sqlstate.js"
import { timedDecoding } from "./statementtimes.js"
import type { TableImplementation } from "./tableimplementation.js"
import type { Done } from "./tableplan.js"
import { commitError, writeError } from "./violation.js"

/** What a write does, as its errors say it. */
export type Verb = "insert into" | "update" | "delete from" | "restore a row of"

export type WriteFailure = ReturnType<typeof writeError>

const done: Readonly<Record<Verb, Done>> = {
  "insert into": "inserted",
  update: "changed",
  "delete from": "deleted",
  "restore a row of": "changed"
}

/** What a write is given, if it is an object. */
export const fieldsGiven = (
  table: TableImplementation,
  verb: string,
  given: unknown
): Readonly<Record<string, unknown>> => {
  if (typeof given !== "object" || given === null || Array.isArray(given))
    throw new Error(`${verb} ${table.name} takes an object of fields`)
  // Sound: an object, looked at by the names of its fields.
  return given as Readonly<Record<string, unknown>>
}

/** Rows that a fiber was answered with, as instances of the model. */
export const decodedIn = (
  fiber: Fiber.RuntimeFiber<unknown, unknown>,
  table: TableImplementation,
  rows: Answer["rows"],
  done?: Done
): Effect.Effect<ReadonlyArray<object>, DbError> => {
  const decoded = timedDecoding(fiber, () => table.plan.decode(rows, done))
  return decoded instanceof DbError ? Effect.fail(decoded) : Effect.succeed(decoded)
}

export const decoded = (
  table: TableImplementation,
  answer: Answer,
  done?: Done
): Effect.Effect<ReadonlyArray<object>, DbError> =>
  Effect.withFiberRuntime((fiber) => decodedIn(fiber, table, answer.rows, done))

/** A row's version as its column holds it; what is no version is compared as it is, and equals none. */
const storedVersion = ({ version: column }: TableImplementation["plan"], version: unknown): unknown => {
  if (column === undefined) return version
  try {
    const encoded = column.encode(version)
    return encoded instanceof Later ? version : encoded
  } catch (problem) {
    if (problem instanceof Mismatch) return version
    throw problem
  }
}

/** The row did not come back: a conflict was answered with nothing. */
export class Skipped {
  readonly _tag = "Skipped"
}

const dropped = (table: TableImplementation) =>
  new DbError({
    operation: `insert into ${table.name}`,
    kind: "statement",
    code: undefined,
    retryable: false,
    reason: "nothing was inserted: a rule or a trigger of the table dropped the row.",
    cause: undefined
  })

export class Writing {
  constructor(private readonly database: Database) {}

  /** A statement that reads by key, without hooks. */
  private readonly byKey = (
    table: TableImplementation,
    parameters: ReadonlyArray<unknown>
  ): Effect.Effect<ReadonlyArray<object>, StatementError> =>
    Effect.matchEffect(this.database.query(table.plan.getText, parameters, table.plan.source, true, true), {
      onFailure: (error) => Effect.fail(statementError(error, `read ${table.name}`)),
      onSuccess: (answer) => decoded(table, answer)
    })

  /** Turns what a statement failed with into what the write did. */
  failing(table: TableImplementation, verb: Verb) {
    return (error: unknown): Effect.Effect<never, WriteFailure> =>
      Effect.withFiberRuntime((fiber) => {
        const { currentContext } = fiber
        const inTransaction =
          frameOf(currentContext, this.database.client) !== undefined || foreignConnection(currentContext) !== undefined
        return Effect.fail(writeError(table, verb, error, inTransaction))
      })
  }

  /** One statement that writes rows and gives them back. */
  rows(
    table: TableImplementation,
    verb: Verb,
    text: string,
    parameters: ReadonlyArray<unknown>,
    /** The keys of what is written, where they are known beforehand. */
    keys: ReadonlyArray<unknown> | "all",
    prepared = true
  ): Effect.Effect<ReadonlyArray<object>, WriteFailure> {
    const statement = (piggyback?: Piggyback): Effect.Effect<ReadonlyArray<object>, WriteFailure> =>
      Effect.matchEffect(this.database.query(text, parameters, table.plan.source, prepared, true, piggyback), {
        onFailure: this.failing(table, verb),
        onSuccess: (answer) => decoded(table, answer, done[verb])
      })
    return announced(
      this.database,
      table,
      keys,
      (rows) => rows.map((row) => keyOf(table, row)),
      (failure) => commitError(table, verb, failure),
      statement,
      parameters
    )
  }

  /** One statement that writes rows and only says how many. */
  number(
    table: TableImplementation,
    verb: Verb,
    text: string,
    parameters: ReadonlyArray<unknown>
  ): Effect.Effect<number, WriteFailure> {
    const statement: Effect.Effect<number, WriteFailure> = Effect.matchEffect(
      this.database.query(text, parameters, table.plan.source),
      { onFailure: this.failing(table, verb), onSuccess: (answer) => Effect.succeed(answer.rowCount ?? 0) }
    )
    return announced(
      this.database,
      table,
      "all",
      (count) => (count === 0 ? [] : "all"),
      (failure) => commitError(table, verb, failure),
      () => statement
    )
  }

  insert(
    table: TableImplementation,
    row: unknown,
    conflict: Conflict | undefined
  ): Effect.Effect<object, WriteFailure | InvalidInput | Skipped> {
    return Effect.flatMap(table.plan.encodeInsert(fieldsGiven(table, "insert into", row)), (values) =>
      Effect.flatMap(
        this.rows(
          table,
          "insert into",
          table.plan.insertText(values.columns, conflictText(this.database.client, table, values, conflict)),
          values.parameters,
          "all"
        ),
        ([inserted]) =>
          inserted === undefined
            ? Effect.fail(conflict?.action === "nothing" ? new Skipped() : dropped(table))
            : Effect.succeed(inserted)
      )
    )
  }

  private one(table: TableImplementation, key: unknown, row: object | undefined) {
    return row === undefined ? Effect.fail(notFound(table, key)) : Effect.succeed(row)
  }

  /** Why a write with a version found no row: it is gone, or it has another version. */
  private changed(
    table: TableImplementation,
    key: unknown,
    encoded: ReadonlyArray<unknown>,
    version: unknown,
    row: object | undefined
  ): Effect.Effect<object, StatementError | NotFound | StaleRow> {
    if (row !== undefined || version === undefined) return this.one(table, key, row)
    return Effect.flatMap(this.byKey(table, encoded), ([found]) =>
      Effect.fail(
        found === undefined
          ? notFound(table, key)
          : new StaleRow({ table: table.name, fields: table.plan.keyFields, expected: version })
      )
    )
  }

  update(
    table: TableImplementation,
    target: unknown,
    patch: unknown
  ): Effect.Effect<object, WriteFailure | InvalidInput | NotFound | StaleRow> {
    const { plan } = table
    const key = keyOf(table, target)
    const fields = fieldsGiven(table, "update of", patch)
    const isEmpty = plan.isEmpty(fields)
    if (isEmpty && isRow(table, target)) return Effect.succeed(target)
    const version = versionOf(table, target)
    const checked = version === undefined ? [] : [storedVersion(plan, version)]
    return Effect.matchEffect(plan.encodeKey(key), {
      onFailure: () => Effect.fail(notFound(table, key)),
      onSuccess: (encoded) =>
        isEmpty
          ? // Read without its hooks: what they fail with and need is not in the type of an update.
            Effect.flatMap(this.byKey(table, encoded), ([row]) => this.one(table, key, row))
          : Effect.flatMap(plan.encodeUpdate(fields), (values) =>
              Effect.flatMap(
                this.rows(
                  table,
                  "update",
                  plan.updateText(values.columns, version !== undefined),
                  [...values.parameters, ...encoded, ...checked],
                  [key]
                ),
                ([row]) => this.changed(table, key, encoded, version, row)
              )
            )
    })
  }

  delete(table: TableImplementation, target: unknown): Effect.Effect<object, WriteFailure | NotFound | StaleRow> {
    const { plan } = table
    const key = keyOf(table, target)
    const version = versionOf(table, target)
    const checked = version === undefined ? [] : [storedVersion(plan, version)]
    return Effect.matchEffect(plan.encodeKey(key), {
      onFailure: () => Effect.fail(notFound(table, key)),
      onSuccess: (encoded) =>
        Effect.flatMap(
          this.rows(table, "delete from", plan.deleteText(version !== undefined), [...encoded, ...checked], [key]),
          ([row]) => this.changed(table, key, encoded, version, row)
        )
    })
  }

  restore(table: TableImplementation, target: unknown): Effect.Effect<object, WriteFailure | NotFound> {
    const key = keyOf(table, target)
    const text = table.plan.restoreText
    return Effect.matchEffect(table.plan.encodeKey(key), {
      onFailure: () => Effect.fail(notFound(table, key)),
      onSuccess: (encoded) =>
        Effect.flatMap(this.rows(table, "restore a row of", text, encoded, [key]), ([row]) => this.one(table, key, row))
    })
  }
}
