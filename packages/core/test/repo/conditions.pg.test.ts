/** What `where` means, what a fragment may end in, and what is refused before anything is sent. */
import { Model, SqlClient } from "@effect/sql"
import { describe, expect, layer } from "@effect/vitest"
import { Cause, type Context, Effect, Exit, Option, ParseResult, Schema } from "effect"
import * as Repo from "../../src/repo/Repo.js"
import * as Table from "../../src/repo/Table.js"
import { logged, TestRepo } from "./people.js"

class Guest extends Model.Class<Guest>("Guest")({
  id: Model.Generated(Schema.Number),
  name: Schema.String,
  nick: Model.FieldOption(Schema.String),
  city: Schema.NullOr(Schema.String),
  kind: Schema.Literal("a", "b"),
  tags: Schema.Array(Schema.String)
}) {}

const Guests = Table.make(Guest, { name: "guests", key: "id" })

/** Ada and Bob. */
const twoGuests = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  yield* sql`drop table if exists guests`
  yield* sql`create table guests (id serial primary key, name text, nick text, city text, kind text, tags text[])`
  yield* Repo.insert(Guests, { name: "Ada", nick: Option.none(), city: null, kind: "a", tags: ["x", "y"] })
  yield* Repo.insert(Guests, { name: "Bob", nick: Option.some("bb"), city: "Ulm", kind: "b", tags: [] })
  return sql
})

const names = (condition?: Repo.Condition<typeof Guests>) =>
  Effect.map(Repo.all(Guests, condition), (rows) => rows.map((row) => row.name).sort())

/** What an effect that was forced past the types dies of. */
const defect = <A, E, R>(self: Effect.Effect<A, E, R>) =>
  Effect.map(Effect.exit(self), (exit) =>
    Exit.isFailure(exit)
      ? Option.match(Cause.dieOption(exit.cause), {
          onNone: () => `no defect: ${exit.cause}`,
          onSome: (error) => (error instanceof Error ? error.message : String(error))
        })
      : "it succeeded"
  )

describe("a condition", () => {
  layer(TestRepo, { excludeTestServices: true })((it) => {
    it.effect("that is a fragment out of balance is refused, and what it has in quotes is not shown", () =>
      Effect.gen(function* () {
        const sql = yield* twoGuests
        const said = (text: string) => defect(Repo.all(Guests, sql.literal(text)))
        expect(yield* said("name = 'Ada' and nick = $x$ secret $x$) or (true")).toContain(
          "a condition on guests is a fragment that closes a parenthesis that it has not opened, at character 39 (name = '…' and nick = '…')): a fragment is one condition"
        )
        for (const text of [
          "name = 'secret",
          "name = $$secret",
          "nick = E'\\' secret') or (true",
          "nick = 'it''s secret') or (true"
        ])
          expect(yield* said(text)).toSatisfy(
            (message: string) => message.includes("at character") && !message.includes("secret")
          )
      })
    )

    it.effect("with undefined for a field is refused: it would match every row", () =>
      Effect.gen(function* () {
        yield* twoGuests
        const where = { name: undefined } as never
        const said =
          "field name of guests is undefined in a condition, which would match every row: leave the field out, or ask for null"
        const { lines, result } = yield* logged(
          Effect.all([
            defect(Repo.getBy(Guests, where)),
            defect(Repo.fetchBy(Guests, where)),
            defect(Repo.one(Guests, where)),
            defect(Repo.all(Guests, where)),
            defect(Repo.count(Guests, where)),
            defect(Repo.exists(Guests, where)),
            defect(Repo.all(Guests, { id: 1, name: ["Ada", undefined] } as never))
          ])
        )
        expect(result).toEqual(result.map(() => said))
        expect(lines).toEqual([])
      })
    )

    it.effect("that is none, or names no field of the model, is refused by name", () =>
      Effect.gen(function* () {
        yield* twoGuests
        const repo = yield* Repo.Repo
        for (const none of [null, "id = 1", 1, [], new Map([["name", "Ada"]]), new Date(0), Option.none(), () => 1])
          expect(yield* defect(repo.all(Guests, none as never))).toContain(
            "a condition on guests has to be an object of fields or a fragment of @effect/sql"
          )
        expect(yield* defect(repo.all(Guests, { nope: 1 } as never))).toBe(
          "guests has no field nope in its model, which a condition asks for"
        )
        expect(yield* defect(repo.count(Guests, JSON.parse('{"__proto__":1}')))).toContain("no field __proto__")
      })
    )

    it.effect("with a value that is stored as null asks for null", () =>
      Effect.gen(function* () {
        yield* twoGuests
        expect(yield* names({ nick: Option.none() })).toEqual(["Ada"])
        expect(yield* names({ nick: null })).toEqual(["Ada"])
        expect(yield* names({ city: null })).toEqual(["Ada"])
        expect(yield* Repo.count(Guests, { nick: Option.none() })).toBe(1)
      })
    )

    it.effect("with a list takes null as one of its values, and passes over those that no row can have", () =>
      Effect.gen(function* () {
        yield* twoGuests
        expect(yield* names({ city: ["Ulm", null] })).toEqual(["Ada", "Bob"])
        expect(yield* names({ city: [null] })).toEqual(["Ada"])
        expect(yield* names({ nick: [Option.some("bb"), Option.none()] })).toEqual(["Ada", "Bob"])
        expect(yield* names({ kind: ["a", "z" as "a"] })).toEqual(["Ada"])
        expect(yield* names({ id: [1, "nope" as never] })).toEqual(["Ada"])
        expect(yield* names({ city: [null], id: [1, 2] })).toEqual(["Ada"])
        const { lines, result } = yield* logged(Effect.all([names({ id: [] }), names({ kind: ["z" as "a"] })]))
        expect(result).toEqual([[], []])
        expect(lines).toEqual([])
      })
    )

    it.effect("waits for values that take an effect to encode", () =>
      Effect.gen(function* () {
        yield* twoGuests
        const Late = Schema.transformOrFail(Schema.NullOr(Schema.String), Schema.NullOr(Schema.String), {
          decode: (value) => Effect.succeed(value),
          encode: (value, _, ast) =>
            Effect.zipRight(
              Effect.yieldNow(),
              value === "refused" ? Effect.fail(new ParseResult.Type(ast, value)) : Effect.succeed(value)
            )
        })
        class LateGuest extends Model.Class<LateGuest>("LateGuest")({ id: Schema.Number, city: Late }) {}
        const LateGuests = Table.make(LateGuest, { name: "guests", key: "id" })
        expect(yield* Repo.count(LateGuests, { city: "Ulm" })).toBe(1)
        expect(yield* Repo.count(LateGuests, { city: ["refused", "Ulm", null] })).toBe(2)
        expect(yield* Repo.count(LateGuests, { city: "refused" })).toBe(0)
      })
    )

    it.effect("takes an array as one value where the field is an array", () =>
      Effect.gen(function* () {
        yield* twoGuests
        expect(yield* names({ tags: ["x", "y"] })).toEqual(["Ada"])
        expect(yield* names({ tags: [] })).toEqual(["Bob"])
        expect(yield* names({ tags: ["x"] })).toEqual([])
      })
    )

    it.effect("that ends in a comment still locks", () =>
      Effect.gen(function* () {
        const sql = yield* twoGuests
        const other = (condition: Repo.Condition<typeof Guests>) =>
          Effect.gen(function* () {
            const outside = yield* Effect.context<Repo.Repo>()
            return yield* Repo.transact(
              Effect.zipRight(
                Repo.all(Guests, condition, { lock: "update" }),
                Effect.flip(
                  Effect.mapInputContext(
                    Repo.transact(Repo.fetch(Guests, 1, { lock: "update", wait: "nowait" })),
                    (_: Context.Context<never>) => outside
                  )
                )
              )
            )
          })
        expect(yield* other(sql`id = 1 -- the first`)).toMatchObject({ _tag: "LockTimeout" })
        expect(yield* Repo.count(Guests, sql`id = 1 -- the first`)).toBe(1)
        expect(yield* Repo.exists(Guests, sql`id = 1 -- the first`)).toBe(true)
        expect(yield* Repo.transact(Repo.one(Guests, sql`id = 1 -- the first`, { lock: "update" }))).toMatchObject({
          _tag: "Some"
        })
      })
    )

    it.effect("without a text is refused", () =>
      Effect.gen(function* () {
        const sql = yield* twoGuests
        for (const empty of [sql``, sql.unsafe("  \n")])
          expect(yield* defect(Repo.all(Guests, empty))).toBe(
            "a condition on guests is a fragment without any text: leave the condition out to ask for all rows"
          )
      })
    )

    it.effect("may end in an order and a limit, for count and exists too", () =>
      Effect.gen(function* () {
        const sql = yield* twoGuests
        expect(yield* Repo.count(Guests, sql`name <> '' order by name`)).toBe(2)
        expect(yield* Repo.count(Guests, sql`name <> '' order by name limit 1`)).toBe(1)
        expect(yield* Repo.exists(Guests, sql`name <> '' order by name limit 1`)).toBe(true)
        expect(yield* Repo.one(Guests, sql`name <> '' order by name desc limit 1`)).toMatchObject({
          _tag: "Some",
          value: { name: "Bob" }
        })
      })
    )

    it.effect("of one fetches two rows at most, however many match", () =>
      Effect.gen(function* () {
        const sql = yield* twoGuests
        yield* sql`insert into guests (name, kind, tags) select 'n', 'no kind of the model', '{}' from generate_series(1, 9)`
        // A third row would not fit the model.
        expect(yield* Effect.flip(Repo.one(Guests, sql`true order by guests.id`))).toMatchObject({
          _tag: "MultipleResults"
        })
      })
    )
  })
})

describe("an option", () => {
  layer(TestRepo, { excludeTestServices: true })((it) => {
    it.effect("that does not exist, or has a value that does not, is refused before anything is sent", () =>
      Effect.gen(function* () {
        yield* twoGuests
        const { lines, result } = yield* logged(
          Effect.all(
            [
              { lock: "exclusive" },
              { lock: "update of p nowait --" },
              { lock: "toString" },
              { lok: "update" },
              { lock: "update", wait: "no wait" },
              { lock: "update", wait: "skip locked; drop table guests" },
              { lock: true }
            ].map((options) =>
              defect(Repo.get(Guests, 1, options as never) as Effect.Effect<unknown, unknown, Repo.Repo>)
            )
          )
        )
        const locks = 'one of "update", "no key update", "share", "key share"'
        const waits = 'one of "nowait", "skip locked", or a duration'
        expect(result).toEqual([
          `there is no lock "exclusive" on rows of guests: ${locks}`,
          `there is no lock "update of p nowait --" on rows of guests: ${locks}`,
          `there is no lock "toString" on rows of guests: ${locks}`,
          'there is no option "lok" for reading guests: one of "lock", "wait", "strict", "withDeleted", "preload"',
          `there is no wait "no wait" for rows of guests: ${waits}`,
          `there is no wait "skip locked; drop table guests" for rows of guests: ${waits}`,
          `there is no lock true on rows of guests: ${locks}`
        ])
        expect(lines).toEqual([])
        expect(yield* defect(Repo.get(Guests, "no key" as never, { lok: 1 } as never))).toContain('no option "lok"')
        expect(yield* defect(Repo.all(Guests, { id: [] }, { lok: 1 } as never))).toContain('no option "lok"')
        const none = { returing: true } as never
        const eve = { name: "Eve", nick: Option.none(), city: null, kind: "a", tags: [] } as const
        for (const written of [
          Repo.insert(Guests, eve, none) as Effect.Effect<unknown, unknown, Repo.Repo>,
          Repo.insert(Guests, eve, { onConflict: { returing: true, action: "nothing" } } as never),
          Repo.insertAll(Guests, [], none),
          Repo.updateAll(Guests, { id: 1 }, {}, none),
          Repo.deleteAll(Guests, { id: 1 }, none),
          Repo.page(Guests, { first: 1, returing: true } as never)
        ])
          expect(yield* defect(written)).toContain('there is no option "returing" for ')
      })
    )
  })
})

describe("a method of the Repo", () => {
  layer(TestRepo, { excludeTestServices: true })((it) => {
    it.effect("gives an effect whatever it is called with, and says what is wrong when that runs", () =>
      Effect.gen(function* () {
        yield* twoGuests
        const repo = yield* Repo.Repo
        expect(yield* defect(repo.insert(Guests, null as never))).toContain(
          "insert into guests takes an object of fields"
        )
        expect(yield* defect(repo.update(Guests, 1, null as never))).toContain(
          "update of guests takes an object of fields"
        )
        expect(yield* defect(repo.update(Guests, 1, undefined as never))).toContain(
          "update of guests takes an object of fields"
        )
        expect(yield* defect(repo.get(null as never, 1 as never))).toContain("this is not a table")
        expect(yield* defect(repo.preload({} as never, [], {}))).toContain("this is not a table")
      })
    )
  })
})
