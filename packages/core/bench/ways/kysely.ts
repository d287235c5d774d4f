/** kysely on `pg`, with its plugin for names in camel case. */
import type { Way } from "../contest.js"
import { peer } from "../peers.js"
import { pooled, summed, summedAtOnce } from "./summed.js"

type Row = Record<string, never>

/** As much of its builder as is used; every step gives another one. */
interface Query {
  where(column: string, operator: string, value: unknown): Query
  values(row: object): Query
  set(patch: object): Query
  selectAll(): Query
  returningAll(): Query
  execute(): Promise<ReadonlyArray<Row>>
  executeTakeFirstOrThrow(): Promise<Row>
}

interface Kysely {
  selectFrom(table: string): Query
  insertInto(table: string): Query
  updateTable(table: string): Query
  transaction(): { execute<A>(use: (on: Kysely) => Promise<A>): Promise<A> }
  destroy(): Promise<void>
}

interface Module {
  readonly Kysely: new (options: object) => Kysely
  readonly PostgresDialect: new (options: object) => object
  readonly CamelCasePlugin: new () => object
  readonly sql: (
    text: TemplateStringsArray,
    ...values: ReadonlyArray<unknown>
  ) => { execute(on: Kysely): Promise<unknown> }
}

export const kysely = async (): Promise<Way> => {
  const { CamelCasePlugin, Kysely, PostgresDialect, sql } = peer<Module>("kysely")
  const { close, pool } = await pooled()
  const db = new Kysely({ dialect: new PostgresDialect({ pool }), plugins: [new CamelCasePlugin()] })
  const age = async (query: Query) => Number((await query.executeTakeFirstOrThrow()).age)
  const get = (key: number) => age(db.selectFrom("people").selectAll().where("id", "=", key))
  const update = (on: Kysely, key: number) =>
    age(
      on
        .updateTable("people")
        .set({ age: key % 100 })
        .where("id", "=", key)
        .returningAll()
    )
  return {
    get: (keys) => summed(keys, get),
    concurrent: (keys) => summedAtOnce(keys, get),
    insert: (amounts) =>
      summed(amounts, async (amount) =>
        Number(
          (
            await db
              .insertInto("entries")
              .values({ ownerName: "Ada", amount, isOpen: true, note: null })
              .returningAll()
              .executeTakeFirstOrThrow()
          ).amount
        )
      ),
    update: (keys) => summed(keys, (key) => update(db, key)),
    list: async () => (await db.selectFrom("people").selectAll().execute()).length,
    transaction: (keys) =>
      summed(keys, (key) =>
        db.transaction().execute(async (on) => {
          await sql`select pg_advisory_xact_lock(${key})`.execute(on)
          return update(on, key)
        })
      ),
    preload: async (keys) => {
      const people = await db.selectFrom("people").selectAll().where("id", "in", keys).execute()
      const ids = people.map(({ id }) => Number(id))
      const posts = await db.selectFrom("posts").selectAll().where("personId", "in", ids).execute()
      const byPerson = new Map<number, Array<object>>(ids.map((id) => [id, []]))
      for (const post of posts) byPerson.get(Number(post.personId))?.push(post)
      return [...byPerson.values()].reduce((sum, group) => sum + group.length, 0)
    },
    close: async () => {
      await db.destroy()
      await close()
    }
  }
}
