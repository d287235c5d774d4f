/** Values of our own statements are those that the driver's queries give for the same text, whatever the types, the settings and the pieces they come in. */
import type { SqlConnection } from "@effect/sql"
import { describe, expect, layer } from "@effect/vitest"
import { Effect, Either } from "effect"
import { databaseOf } from "../../src/repo/database.js"
import { sqlSource } from "../../src/repo/statementlog.js"
import { EmbeddedPostgres } from "../../src/testing.js"
import { isAtLeast } from "./backends.js"
import { pool } from "./pools.js"

const values: Readonly<Record<string, ReadonlyArray<string>>> = {
  int2: ["0", "-1", "32767", "-32768", "7"],
  int4: ["0", "-2147483648", "2147483647", "-10", "100"],
  int8: ["0", "-9223372036854775808", "9223372036854775807", "-5"],
  oid: ["0", "4294967295", "2147483648"],
  regclass: ["pg_class"],
  xid: ["1"],
  float4: ["NaN", "Infinity", "-Infinity", "-0", "1.1e-30", "3.4028235e38"],
  float8: ["NaN", "-Infinity", "-0", "0.1", "1e308", "5e-324"],
  numeric: ["NaN", "Infinity", "-Infinity", "0.00", "-12345678901234567890.123", "1e100"],
  money: ["12.34"],
  bool: ["t", "f"],
  text: ["", "a", "é", "中文 😀", "NULL", "x".repeat(3000), "ä".repeat(40_000)],
  varchar: ["", "abc"],
  bpchar: ["a  "],
  '"char"': ["q"],
  name: ["n"],
  bytea: ["", "\\x00ff", "\\xdeadbeef"],
  bit: ["1"],
  varbit: ["", "101"],
  json: ['{"a":[1,2,null]}', "null", "1", '"x"'],
  jsonb: ['{"b":1}', "[]", "null"],
  uuid: ["00000000-0000-0000-0000-00000000000f"],
  date: ["2020-01-01", "infinity", "-infinity", "0044-03-15 BC", "10000-01-01"],
  timestamp: ["2020-01-01 00:00:00.123456", "infinity", "0001-01-01 BC"],
  timestamptz: ["2020-01-01 00:00:00+05:30", "-infinity", "0044-03-15 BC", "1890-01-01"],
  time: ["00:00:00", "24:00:00"],
  timetz: ["12:00+03"],
  interval: ["1 year 2 mons -3 days 04:05:06.789", "-1 sec", "0"],
  point: ["(1,2)", "(NaN,Infinity)"],
  circle: ["<(1,2),3>"],
  inet: ["::1", "10.0.0.1/8"],
  macaddr: ["08:00:2b:01:02:03"],
  int4range: ["empty", "[1,5)"],
  tsvector: ["a b"],
  "int2[]": ["{}", "{1,NULL,-3}"],
  "int4[]": ["{}", "{1,NULL,-3}", "{{1,2},{3,4}}", "[0:1]={5,6}"],
  "int8[]": ["{-9223372036854775808,NULL}"],
  "oid[]": ["{4294967295,0}"],
  "text[]": ["{}", '{a,"b\\"c",NULL,"NULL",""}'],
  "bool[]": ["{t,f,NULL}"],
  "float8[]": ["{NaN,Infinity,-0}"],
  "numeric[]": ["{NaN,1.50}"],
  "timestamptz[]": ["{2020-01-01,NULL,infinity}"],
  "date[]": ["{2020-01-01,NULL}"],
  "bytea[]": ['{"\\\\x00ff",NULL}'],
  "json[]": ['{"{\\"a\\":1}",NULL}'],
  "interval[]": ["{1 day}"]
}

/** Numeric has no infinities before PostgreSQL 14. */
const finite = { ...values, numeric: (values.numeric ?? []).filter((value) => !value.includes("Infinity")) }

/** A text with rows of random types; some values of each column are null. */
const statements = (seed: number, values: Readonly<Record<string, ReadonlyArray<string>>>) => {
  const types = Object.keys(values)
  let state = seed
  const below = (limit: number) => {
    state = (state * 1_103_515_245 + 12_345) % 2 ** 31
    return Math.floor((state / 2 ** 31) * limit)
  }
  const pick = <A>(list: ReadonlyArray<A>): A => list[below(list.length)] as A
  const column = () => {
    const type = pick(types)
    const some = values[type] ?? []
    const cases = some.map((value, at) => `when ${at} then '${value.replaceAll("'", "''")}'::${type}`)
    return `case (i * ${1 + below(7)} + ${below(5)}) % ${some.length + 1} ${cases.join(" ")} end`
  }
  return () => {
    const columns = Array.from({ length: pick([0, 1, 2, 5, 20]) }, column)
    return `select ${columns.join(", ")} from generate_series(1, ${pick([0, 1, 3, 40, 300])}) i`
  }
}

/** What PostgreSQL writes values by. */
const settings = [
  "set datestyle = 'ISO, MDY'; set intervalstyle = 'postgres'; set bytea_output = 'hex'; set extra_float_digits = 1; set timezone = 'UTC'",
  "set datestyle = 'German, DMY'; set intervalstyle = 'iso_8601'; set bytea_output = 'escape'; set extra_float_digits = -5; set timezone = 'Asia/Kolkata'",
  "set datestyle = 'SQL, DMY'; set intervalstyle = 'sql_standard'; set timezone = 'America/New_York'"
]

/** A connection's answers, from our own statements and from the driver's queries. */
const both = Effect.gen(function* () {
  const { sql } = yield* pool(1)
  const database = databaseOf(sql)
  const answer = (result: unknown) => {
    // Sound: `pg` gives that for a single statement.
    const { command, rowCount, rows } = result as Readonly<Record<"command" | "rowCount" | "rows", unknown>>
    return { command, rowCount, rows }
  }
  const ours = (text: string, parameters: ReadonlyArray<unknown>, isPrepared: boolean) =>
    Effect.map(database.query(text, parameters, sqlSource, isPrepared, true), answer)
  const on = <A, E>(use: (connection: SqlConnection.Connection) => Effect.Effect<A, E>) =>
    Effect.scoped(Effect.flatMap(sql.reserve, use))
  const theirs = (text: string, parameters: ReadonlyArray<unknown>) =>
    // Sound: the driver takes an object in the place of a text.
    Effect.map(
      on((connection) => connection.executeRaw({ text, rowMode: "array" } as never, parameters)),
      answer
    )
  return { on, ours, sql, theirs }
})

describe("values", () => {
  layer(EmbeddedPostgres, { excludeTestServices: true })((it) => {
    it.scoped(
      "are those of the driver, of all types and in all settings",
      () =>
        Effect.gen(function* () {
          const { ours, sql, theirs } = yield* both
          const next = statements(7, (yield* isAtLeast(14)) ? values : finite)
          for (const setting of settings) {
            yield* sql.unsafe(setting)
            for (let n = 0; n < 40; n += 1) {
              const text = next()
              const expected = yield* theirs(text, [])
              for (const isPrepared of [true, false, true])
                expect(yield* ours(text, [], isPrepared), text.slice(0, 200)).toEqual(expected)
            }
          }
        }),
      60_000
    )

    it.scoped(
      "are those of the driver, in many columns, none, large ones, and with notices and notifications between",
      () =>
        Effect.gen(function* () {
          const { ours, sql, theirs } = yield* both
          yield* sql`create function noisy(i int) returns int language plpgsql as $$ begin if i % 10 = 0 then raise notice 'a notice of %', i; end if; return i; end $$`
          yield* sql`listen told`
          for (const text of [
            `select ${Array.from({ length: 1600 }, (_, at) => `i + ${at}`).join(", ")} from generate_series(1, 5) i`,
            "select repeat('é', 1000000), i, repeat('x', i) from generate_series(1, 3) i",
            "select from generate_series(1, 2000)",
            "select null::int, i from generate_series(1, 2000) i",
            "select repeat('x', i) from generate_series(950, 1100) i",
            "select noisy(i), repeat('x', i % 100) from generate_series(1, 900) i",
            "select repeat('x', i % 100), pg_notify('told', i::text) from generate_series(1, 900) i"
          ]) {
            const expected = yield* theirs(text, [])
            for (const isPrepared of [true, false, true]) expect(yield* ours(text, [], isPrepared)).toEqual(expected)
          }
        })
    )

    it.scoped("are those of the driver whatever the pieces that they come in", () =>
      Effect.gen(function* () {
        const { on, ours, theirs } = yield* both
        const text =
          "select i, repeat('é', i * 7 % 200), null::text, i % 2 = 0, now()::date, row(i) from generate_series(-150, 150) i"
        const expected = yield* theirs(text, [])
        const { pg }: { readonly pg: Driver } = yield* on((connection) => Effect.succeed(connection as never))
        const { stream } = pg.connection
        const emit = stream.emit.bind(stream)
        let size = 0
        stream.emit = (event, ...rest) => {
          const [bytes] = rest
          if (event !== "data" || !Buffer.isBuffer(bytes)) return emit(event, ...rest)
          for (let at = 0; at < bytes.length; at += size) emit(event, bytes.subarray(at, at + size))
          return true
        }
        for (size of [1, 2, 3, 5, 7, 64, 500, 1023, 1024, 1025, 1100, 2048, 3001, 5000, 9999])
          expect(yield* ours(text, [], true)).toEqual(expected)
      })
    )

    it.scoped("are sent as the driver sends them", () =>
      Effect.gen(function* () {
        const { ours, theirs } = yield* both
        const same = (text: string, value: unknown) =>
          Effect.gen(function* () {
            const [own, other] = yield* Effect.all([
              Effect.either(ours(text, [value], false)),
              Effect.either(theirs(text, [value]))
            ])
            expect([Either.isRight(own), Either.getOrUndefined(own)]).toEqual([
              Either.isRight(other),
              Either.getOrUndefined(other)
            ])
          })
        const single: ReadonlyArray<unknown> = [
          ...["", "a", "é😀", "it's \\ \"", "\ud800", "a\u0000b", "x".repeat(100_000)],
          ...[0, -0, 1.5, -1e300, 1e21, 5e-324, Number.NaN, Number.POSITIVE_INFINITY, 2n ** 80n, -1n],
          ...[true, false, null, undefined, new Date(0), new Date(-62_198_755_200_000), Buffer.from([0, 255, 92])],
          ...[new Uint8Array([1, 2]), { a: [1, { b: null }] }, { toPostgres: () => "own" }]
        ]
        for (const value of single) yield* same("select $1::text", value)
        const lists: ReadonlyArray<unknown> = [
          [],
          ["a", "", 'b"c\\', "NULL", "null", null, undefined, "{}", ",", " x "],
          [1, -0, 1.5, Number.NaN, 1e21, 3n, true],
          [
            ["a", "b"],
            ["c", null]
          ],
          [new Date(0)],
          [Buffer.from([1])],
          [{ a: 1 }]
        ]
        for (const value of lists) yield* same("select $1::text[]", value)
      })
    )
  })
})

interface Driver {
  readonly connection: { readonly stream: { emit(event: string, ...rest: Array<unknown>): boolean } }
}
