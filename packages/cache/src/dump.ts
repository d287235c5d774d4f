/** What a cache holds, as something that can be written down and read back by another process. */
import { Clock, Effect, type ParseResult, Schema } from "effect"
import type { Cache } from "./Cache.js"

/**
 * How keys and values are written down. `version` names what they mean: a dump of another version is not read, so that a new release does not begin with
 * what an old one understood differently.
 *
 * @since 0.1.0
 * @category models
 */
export interface DumpOptions<K, KI, V, VI, R> {
  readonly key: Schema.Schema<K, KI, R>
  readonly value: Schema.Schema<V, VI, R>
  readonly version?: string | undefined
}

const orNever = Schema.NullOr(Schema.NonNegative)

const Dumped = Schema.Struct({
  format: Schema.Literal(1),
  version: Schema.String,
  at: Schema.Number,
  entries: Schema.Array(
    Schema.Struct({ key: Schema.Unknown, value: Schema.Unknown, left: orNever, idle: orNever, max: orNever })
  )
})

/**
 * What a cache held at a moment, in plain values: as far as the schemas encode to such, `JSON.stringify` takes it. Times are milliseconds, `null` for never.
 *
 * @since 0.1.0
 * @category models
 */
export type Dump = typeof Dumped.Type

const finite = (millis: number): number | null => (millis === Number.POSITIVE_INFINITY ? null : millis)

/**
 * What the cache holds now, with the lifetimes it has left. Nothing is renewed. Fails if a key or a value does not fit its schema.
 *
 * @since 0.1.0
 * @category operations
 * @example
 * ```ts
 * import { Cache } from "@effecto/cache"
 * import { Effect, Schema } from "effect"
 *
 * const schemas = { key: Schema.String, value: Schema.Number }
 *
 * const program = Effect.gen(function* () {
 *   const before = yield* Cache.make<string, number>({ name: "before", idle: "1 hour" })
 *   yield* before.put("a", 1)
 *   const written = JSON.stringify(yield* Cache.dump(before, schemas))
 *
 *   const after = yield* Cache.make<string, number>({ name: "after", idle: "1 hour" })
 *   yield* Cache.restore(after, schemas, JSON.parse(written))
 *   console.log(yield* after.entries) // [ [ 'a', 1 ] ]
 * })
 *
 * Effect.runPromise(Effect.scoped(program))
 * ```
 */
export const dump = <K, V, E, KI, VI, R>(
  cache: Cache<K, V, E>,
  { key, value, version = "" }: DumpOptions<K, KI, V, VI, R>
): Effect.Effect<Dump, ParseResult.ParseError, R> =>
  Effect.gen(function* () {
    const [contents, at] = yield* Effect.zip(cache.contents, Clock.currentTimeMillis)
    const entries = yield* Effect.forEach(contents, (content) =>
      Effect.gen(function* () {
        return {
          key: yield* Schema.encode(key)(content.key),
          value: yield* Schema.encode(value)(content.value),
          left: finite(content.left),
          idle: finite(content.idle),
          max: finite(content.max)
        }
      })
    )
    return { format: 1, version, at, entries }
  })

/**
 * Puts back what was dumped, as far as it has not expired since and there is nothing under its key, and answers how many values that were. Idle lifetimes start
 * anew; time is taken off by the wall clock, for there is no other between two processes. A dump of another version is left alone. Fails on what is no dump.
 *
 * It knows nothing of what was written in between: what has to be as new as the database says is better loaded again.
 *
 * @since 0.1.0
 * @category operations
 */
export const restore = <K, V, E, KI, VI, R>(
  cache: Cache<K, V, E>,
  { key, value, version = "" }: DumpOptions<K, KI, V, VI, R>,
  dumped: unknown
): Effect.Effect<number, ParseResult.ParseError, R> =>
  Effect.gen(function* () {
    const { at, entries, version: theirs } = yield* Schema.decodeUnknown(Dumped)(dumped)
    if (theirs !== version) return 0
    const passed = Math.max((yield* Clock.currentTimeMillis) - at, 0)
    let restored = 0
    for (const entry of entries) {
      if (entry.left !== null && entry.left <= passed) continue
      const lifetime = {
        idle: entry.idle ?? Number.POSITIVE_INFINITY,
        max: entry.max === null ? Number.POSITIVE_INFINITY : Math.max(entry.max - passed, 0)
      }
      // Sound: what a schema does not take is its failure.
      const decodedKey = yield* Schema.decode(key)(entry.key as KI)
      const decodedValue = yield* Schema.decode(value)(entry.value as VI)
      if (yield* cache.putIfAbsent(decodedKey, decodedValue, lifetime)) restored += 1
    }
    return restored
  })
