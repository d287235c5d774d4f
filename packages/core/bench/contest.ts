/** The Repo's operations as contests: a way to reach the database does some of them, in batches, and each bench runs one. */
import type { Contestant } from "../../../scripts/bench/Contestant.js"
import { keys, manyKeys, parents, rows, sumOfAges } from "./rows.js"

/** What a library does, each with an answer that shows whether it did. */
export interface Way {
  /** One after the other; the sum of their ages. */
  readonly get: (keys: ReadonlyArray<number>) => Promise<number>
  /** All at once; the sum of their ages. */
  readonly concurrent: (keys: ReadonlyArray<number>) => Promise<number>
  /** Adds an entry of this amount for each; the sum of what the inserted rows hold. */
  readonly insert: (amounts: ReadonlyArray<number>) => Promise<number>
  /** Sets the age of each to what it is; the sum of what the updated rows hold. */
  readonly update: (keys: ReadonlyArray<number>) => Promise<number>
  /** How many people there are. */
  readonly list: () => Promise<number>
  /** For each a transaction that takes an advisory lock and updates; the sum of what the updated rows hold. */
  readonly transaction: (keys: ReadonlyArray<number>) => Promise<number>
  /** People with their posts; how many posts these are. */
  readonly preload: (keys: ReadonlyArray<number>) => Promise<number>
  readonly close: () => Promise<void>
}

const validateTo = (expected: number) => (found: number) => {
  if (found !== expected) throw new Error(`the answer is ${found}, not ${expected}`)
}

const amounts = Array.from({ length: 50 }, (_, at) => at)

const contest =
  <Name extends keyof Way>(ops: number, run: (way: Pick<Way, Name>) => Promise<number>, sum: number) =>
  (open: () => Promise<Pick<Way, Name | "close">>): Contestant<Pick<Way, Name | "close">, number> => ({
    setup: open,
    ops,
    run,
    validate: validateTo(sum),
    teardown: (way) => way.close()
  })

export const get = contest<"get">(keys.length, (way) => way.get(keys), sumOfAges(keys))
export const concurrent = contest<"concurrent">(1, (way) => way.concurrent(manyKeys), sumOfAges(manyKeys))
export const insert = contest<"insert">(amounts.length, (way) => way.insert(amounts), 1225)
export const update = contest<"update">(keys.length, (way) => way.update(keys), sumOfAges(keys))
export const list = contest<"list">(1, (way) => way.list(), rows)
export const transaction = contest<"transaction">(keys.length, (way) => way.transaction(keys), sumOfAges(keys))
export const preload = contest<"preload">(1, (way) => way.preload(parents), 1000)
