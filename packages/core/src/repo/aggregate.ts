/** One value over many rows. */
import { Statement } from "@effect/sql"
import { BigDecimal, Effect, Option } from "effect"
import { quoted } from "./columnnames.js"
import { asked } from "./condition.js"
import type { Database } from "./database.js"
import { Mismatch, numberFrom } from "./fieldplan.js"
import { DbError, type StatementError } from "./RepoError.js"
import { statementError } from "./sqlstate.js"
import type * as Table from "./Table.js"
import type { TableImplementation } from "./tableimplementation.js"
import type { Reads } from "./tableplan.js"
import { unknownWord } from "./word.js"

/**
 * What {@link aggregate} works out: of the values that are not null, their number, sum, mean, smallest or greatest.
 *
 * @since 0.1.0
 * @category models
 */
export type Aggregate = "count" | "sum" | "avg" | "min" | "max"

/** What a field holds when it holds something. */
type Held<Value> = Value extends Option.Option<infer Inner> ? Inner : NonNullable<Value>

/** Fields that can be added up. */
type Summable<Row> = {
  [Field in keyof Row & string]: Held<Row[Field]> extends number | bigint | BigDecimal.BigDecimal ? Field : never
}[keyof Row & string]

/**
 * The fields that an aggregate takes.
 *
 * @since 0.1.0
 * @category models
 */
export type AggregateField<T extends Table.Any, A extends Aggregate> = A extends "sum" | "avg"
  ? Summable<Table.Row<T>>
  : keyof Table.Row<T> & string

/** Whatever brand a number has, a sum of such is a number. */
type Plain<Value> = Value extends number ? number : Value extends bigint ? bigint : BigDecimal.BigDecimal

/**
 * What an aggregate gives: none where there is no value to work it out from.
 *
 * @since 0.1.0
 * @category models
 */
export type Aggregated<T extends Table.Any, A extends Aggregate, Field extends keyof Table.Row<T>> = A extends "count"
  ? number
  : Option.Option<
      A extends "sum"
        ? Plain<Held<Table.Row<T>[Field]>>
        : A extends "avg"
          ? Held<Table.Row<T>[Field]> extends BigDecimal.BigDecimal
            ? BigDecimal.BigDecimal
            : number
          : Held<Table.Row<T>[Field]>
    >

const words: ReadonlyArray<unknown> = ["count", "sum", "avg", "min", "max"]

const kindOf = (decoded: unknown): "number" | "bigint" | "decimal" | undefined => {
  const held = Option.isOption(decoded) ? Option.getOrNull(decoded) : decoded
  return typeof held === "number"
    ? "number"
    : typeof held === "bigint"
      ? "bigint"
      : BigDecimal.isBigDecimal(held)
        ? "decimal"
        : undefined
}

export const aggregate = (
  database: Database,
  table: TableImplementation,
  reads: Reads,
  word: Aggregate,
  name: string,
  condition: unknown
): Effect.Effect<unknown, StatementError> => {
  const { plan } = table
  if (!words.includes(word)) throw new Error(unknownWord(`the aggregate of ${table.name}`, word, words))
  const field = plan.field(name)
  if (field === undefined)
    throw new Error(`${table.name} has no field ${name} in its model, which an aggregate asks for`)
  const operation = `work out the ${word} of ${name} in ${table.name}`
  const column = quoted(field.column)
  const tooLarge = (actual: string, remedy: string) =>
    new DbError({
      operation,
      kind: "decode",
      code: undefined,
      retryable: false,
      reason: `${actual}. ${remedy}`,
      cause: undefined
    })
  const read = (value: unknown, sample: unknown): Effect.Effect<unknown, DbError> => {
    if (word === "count") return Effect.succeed(Number(value))
    if (value === null || value === undefined) return Effect.succeed(Option.none())
    try {
      if (word === "min" || word === "max") {
        const decoded = field.decode(value)
        return Effect.succeed(Option.isOption(decoded) ? decoded : Option.some(decoded))
      }
      // What kind of number the field holds shows in one of its values: a sum or a mean is of another type in PostgreSQL.
      const kind = kindOf(field.decode(sample))
      const text = String(value)
      if (kind === "decimal") return Effect.succeed(Option.some(BigDecimal.unsafeFromString(text)))
      if (word === "avg") return Effect.succeed(Option.some(Number(text)))
      if (kind === "bigint") return Effect.succeed(Option.some(BigInt(text)))
      const number = numberFrom(value)
      return typeof number === "number"
        ? Effect.succeed(Option.some(number))
        : Effect.fail(
            tooLarge(
              "a JavaScript number cannot hold the result exactly",
              "Use Schema.BigIntFromSelf or Schema.BigDecimal for the field, or add up in SQL."
            )
          )
    } catch (problem) {
      if (!(problem instanceof Mismatch)) throw problem
      return Effect.fail(
        tooLarge(
          `the result is ${problem.actual}, but field ${name} of the model expects ${problem.expected}`,
          problem.remedy ?? "Correct the model, or the column's type."
        )
      )
    }
  }
  return Effect.flatMap(asked(database.client, table, condition), (where) => {
    if (where === undefined) return word === "count" ? Effect.succeed(0) : Effect.succeed(Option.none())
    // A fragment may end in an order and a limit of its own: then it is about the rows it gives.
    const from = Statement.isFragment(condition)
      ? `(select * from ${reads.fromText}${where.text}) as ${quoted(table.name)}`
      : `${reads.fromText}${where.text}`
    const sample = word === "sum" || word === "avg" ? `, min(${column}) as "sample"` : ""
    const text = `select ${word}(${column}) as "result"${sample} from ${from}`
    return Effect.matchEffect(database.query(text, where.parameters, plan.source), {
      onFailure: (error) => Effect.fail(statementError(error, operation)),
      onSuccess: (answer) => read(answer.rows[0]?.result, answer.rows[0]?.sample)
    })
  })
}
