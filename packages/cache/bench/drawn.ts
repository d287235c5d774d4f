/** Hits among more or fewer entries, with keys by Zipf's law or all alike: for each contestant the same. */
import type { Contestant } from "../../../scripts/bench/Contestant.js"
import { uniform, zipf } from "./keys.js"

const DRAWS = 20_000

export const variants: ReadonlyArray<string> = ["zipf", "uniform"].flatMap((law) =>
  [1_000, 100_000, 1_000_000].map((entries) => `${law} ${entries}`)
)

export interface Drawn<Filled> {
  readonly filled: Filled
  readonly keys: ReadonlyArray<number>
  readonly names: ReadonlyArray<string>
  readonly sum: number
}

/** A cache that is filled with every key below `entries`, each its own value, and the sum of what it answers for the drawn ones. */
export const drawn = <Filled>(
  fill: (entries: number) => Filled | Promise<Filled>,
  read: (filled: Filled, keys: ReadonlyArray<number>, names: ReadonlyArray<string>) => number | Promise<number>
): Contestant<Drawn<Filled>, number> => ({
  setup: async (variant) => {
    const [law, size] = variant.split(" ")
    const entries = Number(size)
    const keys = law === "zipf" ? zipf(entries, DRAWS) : uniform(entries, DRAWS)
    return {
      filled: await fill(entries),
      keys,
      // Made beforehand for those who know only texts as keys.
      names: keys.map(String),
      sum: keys.reduce((sum, key) => sum + key, 0)
    }
  },
  ops: DRAWS,
  run: ({ filled, keys, names }) => read(filled, keys, names),
  validate: (sum, state) => {
    if (sum !== state.sum) throw new Error(`the hits add up to ${sum}, not to ${state.sum}`)
  }
})

/** What one of the libraries in `peers` exports: a filled cache, and how it is read. */
interface Peer {
  readonly fill: (entries: number) => Promise<(name: string) => Promise<number>>
}

class NotInstalled extends Error {
  override readonly name = "NotInstalled"
}

export const drawnFromPeer = (name: string) =>
  drawn(
    async (entries) => {
      try {
        // Beside their own node_modules, which is two folders above the compiled contestants'.
        const { fill }: Peer = await import(new URL(`../peers/hits/${name}.mjs`, import.meta.url).href)
        return await fill(entries)
      } catch (error) {
        if (Object(error).code !== "ERR_MODULE_NOT_FOUND") throw error
        throw new NotInstalled(`${name} is not installed: npm install --prefix packages/cache/bench/peers`)
      }
    },
    async (get, _, names) => {
      let sum = 0
      for (const each of names) sum += await get(each)
      return sum
    }
  )
