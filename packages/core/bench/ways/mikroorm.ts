/** mikro-orm with schemas instead of decorators; a fork of its entity manager for each piece of work, as its users have one for each request. */
import type { Way } from "../contest.js"
import { peer } from "../peers.js"
import { database } from "../rows.js"
import { summed, summedAtOnce } from "./summed.js"

interface Person {
  age: number
  city: string | null
  readonly posts: { readonly length: number }
}

interface Manager {
  findOneOrFail(name: string, where: object): Promise<Person>
  find(name: string, where: object, options?: object): Promise<ReadonlyArray<Person>>
  create(name: string, row: object): { readonly amount: number }
  persist(row: object): Manager
  flush(): Promise<void>
  execute(text: string, values: ReadonlyArray<unknown>): Promise<unknown>
  transactional<A>(use: (manager: Manager) => Promise<A>): Promise<A>
}

interface Module {
  readonly EntitySchema: new (options: object) => object
  readonly MikroORM: { init(options: object): Promise<{ readonly em: { fork(): Manager }; close(): Promise<void> }> }
}

export const mikroorm = async (): Promise<Way> => {
  const { EntitySchema, MikroORM } = peer<Module>("@mikro-orm/postgresql")
  const people = new EntitySchema({
    name: "Person",
    tableName: "people",
    properties: {
      id: { type: "integer", primary: true, autoincrement: false },
      firstName: { type: "string" },
      lastName: { type: "string" },
      email: { type: "string" },
      age: { type: "integer" },
      isActive: { type: "boolean" },
      city: { type: "string", nullable: true },
      posts: { kind: "1:m", entity: "Post", mappedBy: "person" }
    }
  })
  const posts = new EntitySchema({
    name: "Post",
    tableName: "posts",
    properties: {
      id: { type: "integer", primary: true, autoincrement: false },
      title: { type: "string" },
      person: { kind: "m:1", entity: "Person", fieldName: "person_id" }
    }
  })
  const entries = new EntitySchema({
    name: "Entry",
    tableName: "entries",
    properties: {
      id: { type: "integer", primary: true },
      ownerName: { type: "string" },
      amount: { type: "integer" },
      isOpen: { type: "boolean" },
      note: { type: "string", nullable: true }
    }
  })
  const { address, runtime } = await database()
  const orm = await MikroORM.init({
    host: address.host,
    port: address.port,
    dbName: address.database,
    user: address.user,
    entities: [people, posts, entries]
  })
  const get = async (key: number) => (await orm.em.fork().findOneOrFail("Person", { id: key })).age
  /** It reads before it writes, and writes what has changed: so something has to. */
  const update = async (em: Manager, key: number) => {
    const row = await em.findOneOrFail("Person", { id: key })
    row.city = row.city === "a" ? "b" : "a"
    await em.flush()
    return row.age
  }
  return {
    get: (keys) => summed(keys, get),
    concurrent: (keys) => summedAtOnce(keys, get),
    insert: (amounts) =>
      summed(amounts, async (amount) => {
        const em = orm.em.fork()
        const row = em.create("Entry", { ownerName: "Ada", amount, isOpen: true, note: null })
        await em.persist(row).flush()
        return row.amount
      }),
    update: (keys) => summed(keys, (key) => update(orm.em.fork(), key)),
    list: async () => (await orm.em.fork().find("Person", {})).length,
    transaction: (keys) =>
      summed(keys, (key) =>
        orm.em.fork().transactional(async (em) => {
          await em.execute("select pg_advisory_xact_lock(?)", [key])
          return update(em, key)
        })
      ),
    preload: async (keys) =>
      (await orm.em.fork().find("Person", { id: { $in: keys } }, { populate: ["posts"] })).reduce(
        (sum, person) => sum + person.posts.length,
        0
      ),
    close: async () => {
      await orm.close()
      await runtime.dispose()
    }
  }
}
