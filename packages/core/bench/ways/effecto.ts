/** Ours: instances of the models. */
import { AdvisoryLock, Repo, Table } from "@effecto/core"
import { Effect, Option } from "effect"
import type { Way } from "../contest.js"
import { databaseWithRepo, Entries, People, Person, Posts } from "../rows.js"

export const entry = (amount: number) => ({ ownerName: "Ada", amount, isOpen: true, note: null })

const posts = Table.hasMany(Posts, "personId")

export const effecto = async (): Promise<Way> => {
  const { runtime } = await databaseWithRepo()
  const summed = <E>(keys: ReadonlyArray<number>, each: (key: number) => Effect.Effect<Person, E, Repo.Repo>) =>
    runtime.runPromise(
      Effect.gen(function* () {
        let sum = 0
        for (const key of keys) sum += (yield* each(key)).age
        return sum
      })
    )
  const updated = (key: number) => Repo.update(People, key, { age: key % 100 })
  return {
    get: (keys) => summed(keys, (key) => Repo.fetch(People, key)),
    concurrent: (keys) =>
      runtime.runPromise(
        Effect.map(
          Effect.forEach(keys, (key) => Repo.get(People, key), { concurrency: "unbounded" }),
          (rows) => rows.reduce((sum, row) => sum + Option.getOrThrow(row).age, 0)
        )
      ),
    insert: (amounts) =>
      runtime.runPromise(
        Effect.gen(function* () {
          let sum = 0
          for (const amount of amounts) sum += (yield* Repo.insert(Entries, entry(amount))).amount
          return sum
        })
      ),
    update: (keys) => summed(keys, updated),
    list: () =>
      runtime.runPromise(
        Effect.map(Repo.all(People), (people) => (people[0] instanceof Person ? people.length : Number.NaN))
      ),
    transaction: (keys) =>
      summed(keys, (key) =>
        Repo.transact(Effect.zipRight(AdvisoryLock.acquire(AdvisoryLock.keyOf("people", key)), updated(key)))
      ),
    preload: (keys) =>
      runtime.runPromise(
        Effect.gen(function* () {
          const people = yield* Repo.preload(People, yield* Repo.all(People, { id: keys }), { posts })
          return people.reduce((sum, person) => sum + person.posts.length, 0)
        })
      ),
    close: () => runtime.dispose()
  }
}

/** With gets at the same time as one statement. */
export const batching = async (): Promise<Pick<Way, "concurrent" | "close">> => {
  const { runtime } = await databaseWithRepo()
  return {
    concurrent: (keys) =>
      runtime.runPromise(
        Effect.forEach(keys, (key) => Repo.get(People, key), { concurrency: "unbounded" }).pipe(
          Repo.withBatching,
          Effect.map((rows) => rows.reduce((sum, row) => sum + Option.getOrThrow(row).age, 0))
        )
      ),
    close: () => runtime.dispose()
  }
}
