/**
 * The rows with many keys, each key with its own result.
 *
 *   one query for all ─▶ it fails for what one of them is ─▶ a query for each half of them, and so on
 *                    └─▶ rows ─▶ is each of them one that was asked for by its own key? ─▶ done
 *                                  └▶ a key that is left may be another spelling of one of these: the database alone can tell
 */
import { DbError, SerializationFailure, TransactionClosed } from "@effecto/core/RepoError"
import { Effect, Either, Option } from "effect"
import { type Keyed, KeyMap, keyOf } from "./keyMap.js"
import { hasOneSpelling } from "./rowkey.js"

export interface Source<K, Row, E, R> {
  readonly all: (keys: ReadonlyArray<K>) => Effect.Effect<ReadonlyArray<Row>, E, R>
  readonly one: (key: K) => Effect.Effect<Option.Option<Row>, E, R>
  readonly keyOf: (row: Row) => K
}

type Found<K, Row, E> = readonly [key: K, row: Either.Either<Row, E>]

/** Whether the others could be read without one of them: a key that the column cannot hold, a row that does not fit the model, or that a hook refused. */
const isOfOne = (error: unknown): boolean => {
  if (error instanceof DbError) return error.kind === "decode" || error.code?.startsWith("22") === true
  return !(error instanceof SerializationFailure || error instanceof TransactionClosed)
}

export const rowsByKey = <K, Row, E, R>(
  source: Source<K, Row, E, R>,
  keys: ReadonlyArray<K>
): Effect.Effect<ReadonlyArray<Found<K, Row, E>>, E, R> =>
  Effect.matchEffect(source.all(keys), {
    onSuccess: (rows) => respelled(source, keys, rows),
    onFailure: (error) => {
      if (!isOfOne(error)) return Effect.fail(error)
      const [first] = keys
      if (keys.length === 1 && first !== undefined) return Effect.succeed([[first, Either.left(error)] as const])
      const half = Math.ceil(keys.length / 2)
      return Effect.zipWith(
        rowsByKey(source, keys.slice(0, half)),
        rowsByKey(source, keys.slice(half)),
        (some, others) => [...some, ...others]
      )
    }
  })

/** What was read, and beside it what is there under a key that it does not have itself: an upper-case uuid, citext. */
const respelled = <K, Row, E, R>(
  source: Source<K, Row, E, R>,
  keys: ReadonlyArray<K>,
  rows: ReadonlyArray<Row>
): Effect.Effect<ReadonlyArray<Found<K, Row, E>>, E, R> =>
  Effect.gen(function* () {
    const known = new KeyMap<K, Keyed<K>>(keyOf)
    const found: Array<Found<K, Row, E>> = rows.map((row) => {
      const key = source.keyOf(row)
      known.set(key, { key })
      return [key, Either.right(row)]
    })
    const left = keys.filter((key) => !hasOneSpelling(key) && known.get(key) === undefined)
    // They can only be keys of the rows that were found.
    if (rows.length === 0 || left.length === 0) return found
    if (left.length > 1 && (yield* source.all(left)).length === 0) return found
    for (const key of left) {
      const row = yield* source.one(key)
      if (Option.isSome(row)) found.push([key, Either.right(row.value)])
    }
    return found
  })
