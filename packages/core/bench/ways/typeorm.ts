/** typeorm with schemas instead of decorators. */
import pg from "pg"
import type { Way } from "../contest.js"
import { peer } from "../peers.js"
import { database } from "../rows.js"
import { summed, summedAtOnce } from "./summed.js"

interface Person {
  age: number
  readonly posts?: ReadonlyArray<object>
}

interface Repository<Row> {
  findOneByOrFail(where: object): Promise<Row>
  find(options?: object): Promise<ReadonlyArray<Row>>
  save(row: object): Promise<Row>
}

interface Manager {
  getRepository<Row>(schema: object): Repository<Row>
  query(text: string, values: ReadonlyArray<unknown>): Promise<unknown>
}

interface DataSource extends Manager {
  initialize(): Promise<unknown>
  destroy(): Promise<void>
  transaction<A>(use: (manager: Manager) => Promise<A>): Promise<A>
}

interface Module {
  readonly DataSource: new (options: object) => DataSource
  readonly EntitySchema: new (options: object) => object
  readonly In: (values: ReadonlyArray<unknown>) => object
}

export const typeorm = async (): Promise<Way> => {
  const { DataSource, EntitySchema, In } = peer<Module>("typeorm")
  const people = new EntitySchema({
    name: "people",
    columns: {
      id: { type: "int", primary: true },
      firstName: { type: "text", name: "first_name" },
      lastName: { type: "text", name: "last_name" },
      email: { type: "text" },
      age: { type: "int" },
      isActive: { type: "bool", name: "is_active" },
      city: { type: "text", nullable: true }
    },
    relations: { posts: { type: "one-to-many", target: "posts", inverseSide: "person" } }
  })
  const posts = new EntitySchema({
    name: "posts",
    columns: { id: { type: "int", primary: true }, title: { type: "text" } },
    relations: { person: { type: "many-to-one", target: "people", joinColumn: { name: "person_id" } } }
  })
  const entries = new EntitySchema({
    name: "entries",
    columns: {
      id: { type: "int", primary: true, generated: "identity" },
      ownerName: { type: "text", name: "owner_name" },
      amount: { type: "int" },
      isOpen: { type: "bool", name: "is_open" },
      note: { type: "text", nullable: true }
    }
  })
  const { address, runtime } = await database()
  const source = new DataSource({
    type: "postgres",
    driver: pg,
    host: address.host,
    port: address.port,
    database: address.database,
    username: address.user,
    entities: [people, posts, entries]
  })
  await source.initialize()
  const all = source.getRepository<Person>(people)
  const get = async (key: number) => (await all.findOneByOrFail({ id: key })).age
  /** It reads before it writes, and writes what has changed: so something has to. */
  const update = async (on: Manager, key: number) => {
    const repository = on.getRepository<Person & { city: string }>(people)
    const row = await repository.findOneByOrFail({ id: key })
    row.city = row.city === "a" ? "b" : "a"
    return (await repository.save(row)).age
  }
  return {
    get: (keys) => summed(keys, get),
    concurrent: (keys) => summedAtOnce(keys, get),
    insert: (amounts) =>
      summed(
        amounts,
        async (amount) =>
          (
            await source
              .getRepository<{ amount: number }>(entries)
              .save({ ownerName: "Ada", amount, isOpen: true, note: null })
          ).amount
      ),
    update: (keys) => summed(keys, (key) => update(source, key)),
    list: async () => (await all.find()).length,
    transaction: (keys) =>
      summed(keys, (key) =>
        source.transaction(async (on) => {
          await on.query("select pg_advisory_xact_lock($1)", [key])
          return update(on, key)
        })
      ),
    preload: async (keys) =>
      (await all.find({ where: { id: In(keys) }, relations: { posts: true } })).reduce(
        (sum, person) => sum + (person.posts?.length ?? Number.NaN),
        0
      ),
    close: async () => {
      await source.destroy()
      await runtime.dispose()
    }
  }
}
