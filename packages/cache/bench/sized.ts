/** Reads with a sliding lifetime among few and among many entries. */
import { Cache } from "@effecto/cache"
import { Effect, Scope } from "effect"
import type { Contestant } from "../../../scripts/bench/Contestant.js"
import { IDLE, zipf } from "./keys.js"

const DRAWS = 200_000

export interface Timed {
  readonly value: number
  deadline: number
}

const drawn = (entries: number) => {
  const keys = zipf(entries, DRAWS)
  return { keys, sum: keys.reduce((sum, key) => sum + key, 0) }
}

const validate = (sum: number, state: { readonly sum: number }) => {
  if (sum !== state.sum) throw new Error(`the hits add up to ${sum}, not to ${state.sum}`)
}

export interface Filled<C> {
  readonly cache: C
  readonly keys: ReadonlyArray<number>
  readonly sum: number
}

export const effectoWith = (entries: number): Contestant<Filled<Cache.Cache<number, number>>, number> => ({
  setup: () =>
    Effect.runPromise(
      Effect.gen(function* () {
        const cache = yield* Scope.extend(
          Cache.make<number, number>({ name: "bench", idle: IDLE }),
          yield* Scope.make()
        )
        for (let key = 0; key < entries; key += 1) yield* cache.put(key, key)
        return { cache, ...drawn(entries) }
      })
    ),
  ops: DRAWS,
  run: ({ cache, keys }) =>
    Effect.runPromise(
      Effect.gen(function* () {
        let sum = 0
        for (const key of keys) sum += yield* cache.fetch(key)
        return sum
      })
    ),
  validate
})

export const mapWith = (entries: number): Contestant<Filled<Map<number, Timed>>, number> => ({
  setup: () => {
    const cache = new Map<number, Timed>()
    for (let key = 0; key < entries; key += 1) cache.set(key, { value: key, deadline: performance.now() + IDLE })
    return { cache, ...drawn(entries) }
  },
  ops: DRAWS,
  run: ({ cache, keys }) => {
    let sum = 0
    for (const key of keys) {
      const entry = cache.get(key)
      const now = performance.now()
      if (entry !== undefined && now < entry.deadline) {
        entry.deadline = now + IDLE
        sum += entry.value
      }
    }
    return sum
  },
  validate
})
