/** Inserts, many of them inside of one transaction. */
import { Repo } from "@effecto/core"
import { Effect } from "effect"
import type { Contestant } from "../../../../scripts/bench/Contestant.js"
import { databaseWithRepo, type Entry } from "../rows.js"
import { entry } from "./effecto.js"

export type Inserting = Awaited<ReturnType<typeof databaseWithRepo>>

const amounts = Array.from({ length: 100 }, (_, at) => at)

export const inserting = <E>(
  insert: (row: typeof Entry.insert.Type) => Effect.Effect<Entry, E, Repo.Repo>
): Contestant<Inserting, number> => ({
  setup: databaseWithRepo,
  ops: amounts.length,
  run: ({ runtime }) =>
    runtime.runPromise(
      Repo.transact(
        Effect.gen(function* () {
          let sum = 0
          for (const amount of amounts) sum += (yield* insert(entry(amount))).amount
          return sum
        })
      )
    ),
  validate: (sum) => {
    if (sum !== 4950) throw new Error(`the amounts add up to ${sum}`)
  },
  teardown: ({ runtime }) => runtime.dispose()
})
