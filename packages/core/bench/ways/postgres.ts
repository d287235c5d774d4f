/** postgres.js: named statements, several in flight on each connection. */
import type { Way } from "../contest.js"
import { peer } from "../peers.js"
import { database } from "../rows.js"

interface Aged {
  readonly age: number
}

interface Sql {
  <Row>(text: TemplateStringsArray, ...values: ReadonlyArray<unknown>): Promise<ReadonlyArray<Row>>
  begin<A>(use: (sql: Sql) => Promise<A>): Promise<A>
  end(): Promise<void>
}

const ageOf = (rows: ReadonlyArray<Aged>) => rows[0]?.age ?? Number.NaN

export const postgres = async (): Promise<Way> => {
  const make = peer<(options: object) => Sql>("postgres")
  const { address, runtime } = await database()
  const sql = make({ ...address, max: 10 })
  const get = (key: number) =>
    sql<Aged>`select id, first_name, last_name, email, age, is_active, city from people where id = ${key}`
  const updated = (on: Sql, key: number) =>
    on<Aged>`update people set age = ${key % 100} where id = ${key} returning id, first_name, last_name, email, age, is_active, city`
  return {
    get: async (keys) => {
      let sum = 0
      for (const key of keys) sum += ageOf(await get(key))
      return sum
    },
    concurrent: async (keys) => (await Promise.all(keys.map(get))).reduce((sum, rows) => sum + ageOf(rows), 0),
    insert: async (amounts) => {
      let sum = 0
      for (const amount of amounts) {
        const rows = await sql<{
          amount: number
        }>`insert into entries (owner_name, amount, is_open, note) values (${"Ada"}, ${amount}, ${true}, ${null}) returning id, owner_name, amount, is_open, note`
        sum += rows[0]?.amount ?? Number.NaN
      }
      return sum
    },
    update: async (keys) => {
      let sum = 0
      for (const key of keys) sum += ageOf(await updated(sql, key))
      return sum
    },
    list: async () => (await sql`select id, first_name, last_name, email, age, is_active, city from people`).length,
    transaction: async (keys) => {
      let sum = 0
      for (const key of keys)
        sum += await sql.begin(async (on) => {
          await on`select pg_advisory_xact_lock(${key})`
          return ageOf(await updated(on, key))
        })
      return sum
    },
    preload: async (keys) => {
      const people = await sql<{
        id: number
      }>`select id, first_name, last_name, email, age, is_active, city from people where id = any(${keys})`
      const ids = people.map(({ id }) => id)
      const posts = await sql<{
        person_id: number
      }>`select id, person_id, title from posts where person_id = any(${ids})`
      const byPerson = new Map<number, Array<object>>(ids.map((id) => [id, []]))
      for (const post of posts) byPerson.get(post.person_id)?.push(post)
      return [...byPerson.values()].reduce((sum, group) => sum + group.length, 0)
    },
    close: async () => {
      await sql.end()
      await runtime.dispose()
    }
  }
}
