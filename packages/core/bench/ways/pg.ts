/** The bare driver: rows as it gives them. */
import pg from "pg"
import type { Way } from "../contest.js"
import { columns, database } from "../rows.js"

interface Aged {
  readonly age: number
}

type Query = <Row extends object>(
  text: string,
  values: ReadonlyArray<unknown>
) => Promise<{ readonly rows: Array<Row> }>

const getText = `select ${columns} from people where id = $1`
const insertText =
  "insert into entries (owner_name, amount, is_open, note) values ($1, $2, $3, $4) returning id, owner_name, amount, is_open, note"
const updateText = `update people set age = $1 where id = $2 returning ${columns}`
const parentsText = `select ${columns} from people where id = any($1)`
const postsText = "select id, person_id, title from posts where person_id = any($1)"
const lockText = "select pg_advisory_xact_lock($1)"

/** One after the other, on any connection. */
const one = async (query: Query, text: string, each: ReadonlyArray<ReadonlyArray<unknown>>) => {
  let sum = 0
  for (const values of each) sum += (await query<Aged>(text, values)).rows[0]?.age ?? Number.NaN
  return sum
}

const make = (query: Query, transaction: Way["transaction"], close: Way["close"]): Way => ({
  get: (keys) =>
    one(
      query,
      getText,
      keys.map((key) => [key])
    ),
  concurrent: async (keys) => {
    const found = await Promise.all(keys.map((key) => query<Aged>(getText, [key])))
    return found.reduce((sum, { rows: [row] }) => sum + (row?.age ?? Number.NaN), 0)
  },
  insert: async (amounts) => {
    let sum = 0
    for (const amount of amounts) {
      const { rows } = await query<{ amount: number }>(insertText, ["Ada", amount, true, null])
      sum += rows[0]?.amount ?? Number.NaN
    }
    return sum
  },
  update: (keys) =>
    one(
      query,
      updateText,
      keys.map((key) => [key % 100, key])
    ),
  list: async () => (await query(`select ${columns} from people`, [])).rows.length,
  transaction,
  preload: async (keys) => {
    const people = (await query<{ id: number; posts?: Array<object> }>(parentsText, [keys])).rows
    const byId = new Map(people.map((person) => [person.id, person]))
    for (const person of people) person.posts = []
    const posts = (await query<{ person_id: number }>(postsText, [people.map(({ id }) => id)])).rows
    for (const post of posts) byId.get(post.person_id)?.posts?.push(post)
    return people.reduce((sum, person) => sum + (person.posts?.length ?? Number.NaN), 0)
  },
  close
})

/** Texts have names when they are to be prepared. */
const namer = (isNamed: boolean) => {
  const names = new Map<string, string>()
  return (text: string, values: ReadonlyArray<unknown>): pg.QueryConfig => {
    if (!isNamed) return { text, values: [...values] }
    let name = names.get(text)
    if (name === undefined) {
      name = `s${names.size}`
      names.set(text, name)
    }
    return { name, text, values: [...values] }
  }
}

const pooled = (isNamed: boolean) => async (): Promise<Way> => {
  const { address, runtime } = await database()
  const pool = new pg.Pool({ ...address })
  const named = namer(isNamed)
  return make(
    (text, values) => pool.query(named(text, values)),
    async (keys) => {
      let sum = 0
      for (const key of keys) {
        const client = await pool.connect()
        try {
          await client.query("begin")
          await client.query(named(lockText, [key]))
          sum += (await client.query<Aged>(named(updateText, [key % 100, key]))).rows[0]?.age ?? Number.NaN
          await client.query("commit")
        } finally {
          client.release()
        }
      }
      return sum
    },
    async () => {
      await pool.end()
      await runtime.dispose()
    }
  )
}

export const plain = pooled(false)
export const named = pooled(true)

/** One connection in the driver's pipeline mode: what is sent at once travels at once. */
export const pipelined = async (): Promise<Way> => {
  const { address, runtime } = await database()
  // Sound: `pg` 8.23 knows the option, its types do not yet.
  const client = new pg.Client({ ...address, pipeline: true } as pg.ClientConfig)
  await client.connect()
  const named = namer(true)
  return make(
    (text, values) => client.query(named(text, values)),
    async (keys) => {
      let sum = 0
      for (const key of keys) {
        const [, , updated] = await Promise.all([
          client.query("begin"),
          client.query(named(lockText, [key])),
          client.query<Aged>(named(updateText, [key % 100, key])),
          client.query("commit")
        ])
        sum += updated.rows[0]?.age ?? Number.NaN
      }
      return sum
    },
    async () => {
      await client.end()
      await runtime.dispose()
    }
  )
}
