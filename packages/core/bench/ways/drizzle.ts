/** drizzle-orm on `pg`; what belongs to rows through its relational queries. */
import type { Way } from "../contest.js"
import { peer } from "../peers.js"
import { pooled, summed, summedAtOnce } from "./summed.js"

type Row = Record<string, never>
type Column = (name: string) => object
type Table = Readonly<Record<string, object>>

/** As much of its builder as is used; every step gives another one, which is a promise as well. */
interface Query extends Promise<ReadonlyArray<Row>> {
  from(table: Table): Query
  where(condition: object): Query
  values(row: object): Query
  set(patch: object): Query
  returning(): Query
}

interface Drizzle {
  select(): Query
  insert(table: Table): Query
  update(table: Table): Query
  execute(text: object): Promise<unknown>
  transaction<A>(use: (on: Drizzle) => Promise<A>): Promise<A>
  readonly query: { readonly people: { findMany(options: object): Promise<ReadonlyArray<{ posts: Array<object> }>> } }
}

interface Core {
  readonly pgTable: (name: string, columns: object) => Table
  readonly integer: Column
  readonly text: Column
  readonly boolean: Column
}

interface Orm {
  readonly eq: (column: object | undefined, value: unknown) => object
  readonly inArray: (column: object | undefined, values: ReadonlyArray<unknown>) => object
  readonly relations: (
    table: Table,
    make: (kinds: Record<string, (...args: ReadonlyArray<unknown>) => object>) => object
  ) => object
  readonly sql: (text: TemplateStringsArray, ...values: ReadonlyArray<unknown>) => object
}

export const drizzle = async (): Promise<Way> => {
  const { boolean, integer, pgTable, text } = peer<Core>("drizzle-orm/pg-core")
  const { eq, inArray, relations, sql } = peer<Orm>("drizzle-orm")
  const { drizzle: make } = peer<{ drizzle: (pool: unknown, options: object) => Drizzle }>("drizzle-orm/node-postgres")
  const people = pgTable("people", {
    id: Object(integer("id")).primaryKey(),
    firstName: text("first_name"),
    lastName: text("last_name"),
    email: text("email"),
    age: integer("age"),
    isActive: boolean("is_active"),
    city: text("city")
  })
  const posts = pgTable("posts", {
    id: Object(integer("id")).primaryKey(),
    personId: integer("person_id"),
    title: text("title")
  })
  const entries = pgTable("entries", {
    id: Object(integer("id")).primaryKey().generatedAlwaysAsIdentity(),
    ownerName: text("owner_name"),
    amount: integer("amount"),
    isOpen: boolean("is_open"),
    note: text("note")
  })
  const schema = {
    people,
    posts,
    peopleRelations: relations(people, ({ many }) => ({ posts: many?.(posts) })),
    postsRelations: relations(posts, ({ one }) => ({
      person: one?.(people, { fields: [posts.personId], references: [people.id] })
    }))
  }
  const { close, pool } = await pooled()
  const db = make(pool, { schema })
  const age = async (query: Query) => Number((await query)[0]?.age)
  const get = (key: number) => age(db.select().from(people).where(eq(people.id, key)))
  const update = (on: Drizzle, key: number) =>
    age(
      on
        .update(people)
        .set({ age: key % 100 })
        .where(eq(people.id, key))
        .returning()
    )
  return {
    get: (keys) => summed(keys, get),
    concurrent: (keys) => summedAtOnce(keys, get),
    insert: (amounts) =>
      summed(amounts, async (amount) =>
        Number(
          (await db.insert(entries).values({ ownerName: "Ada", amount, isOpen: true, note: null }).returning())[0]
            ?.amount
        )
      ),
    update: (keys) => summed(keys, (key) => update(db, key)),
    list: async () => (await db.select().from(people)).length,
    transaction: (keys) =>
      summed(keys, (key) =>
        db.transaction(async (on) => {
          await on.execute(sql`select pg_advisory_xact_lock(${key})`)
          return update(on, key)
        })
      ),
    preload: async (keys) =>
      (await db.query.people.findMany({ where: inArray(people.id, keys), with: { posts: true } })).reduce(
        (sum, person) => sum + person.posts.length,
        0
      ),
    close: async () => {
      await pool.end()
      await close()
    }
  }
}
