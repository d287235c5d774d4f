/** Fields of columns of the types json and jsonb. */
import { Model } from "@effect/sql"
import { ParseResult, Schema } from "effect"

/** What JSON says, or nothing where it cannot say it. */
const stringified = (value: unknown): string | undefined => {
  try {
    return JSON.stringify(value)
  } catch {
    return undefined
  }
}

/**
 * A field whose values are stored as JSON, and are their own schema's in the model's JSON variants.
 *
 * @since 0.1.0
 * @category models
 */
export type Json<A, I> = ReturnType<
  typeof Model.Field<{
    readonly select: Schema.Schema<A, unknown>
    readonly insert: Schema.Schema<A, unknown>
    readonly update: Schema.Schema<A, unknown>
    readonly json: Schema.Schema<A, I>
    readonly jsonCreate: Schema.Schema<A, I>
    readonly jsonUpdate: Schema.Schema<A, I>
  }>
>

/**
 * A field of a column of the type json or jsonb, whatever JSON can say: texts, numbers and arrays too.
 *
 * A struct of such a column needs nothing of the kind, because the driver sends an object as JSON. It sends an array as PostgreSQL's own, and a text as it
 * is; what this field writes is JSON already. `null` is SQL's NULL. What JSON cannot say is `InvalidInput`. In the model's JSON variants the field is
 * the schema itself.
 *
 * @since 0.1.0
 * @category models
 * @example
 * ```ts
 * import { Model } from "@effect/sql"
 * import { Table } from "@effecto/core"
 * import { Schema } from "effect"
 *
 * class Post extends Model.Class<Post>("Post")({
 *   id: Model.Generated(Schema.Number),
 *   tags: Table.json(Schema.Array(Schema.String))
 * }) {}
 *
 * const Posts = Table.make(Post, { name: "posts", key: "id" })
 *
 * console.log(Posts.name) // posts
 * ```
 */
export const json = <A, I>(schema: Schema.Schema<A, I>): Json<A, I> => {
  const stored: Schema.Schema<A, unknown> = Schema.transformOrFail(Schema.Unknown, schema, {
    // Sound: the schema looks at it next, and believes nothing.
    decode: (value) => ParseResult.succeed(value as I),
    encode: (value, _, ast) => {
      if (value === null) return ParseResult.succeed(null)
      const text = stringified(value)
      return text === undefined ? ParseResult.fail(new ParseResult.Type(ast, value)) : ParseResult.succeed(text)
    }
  })
  return Model.Field({
    select: stored,
    insert: stored,
    update: stored,
    json: schema,
    jsonCreate: schema,
    jsonUpdate: schema
  })
}
