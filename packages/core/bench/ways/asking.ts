/** Writes as the Repo begins them: with the question which hooks to run, and without. */
import type { Contestant } from "../../../../scripts/bench/Contestant.js"
import { Entries } from "../rows.js"

type Hookrun = typeof import("../../src/repo/hookrun.js")
type Implementations = typeof import("../../src/repo/tableimplementation.js")

/** What the package keeps to itself, as it was built. */
const inside = (file: string): Promise<unknown> => import(new URL(`../../../dist/repo/${file}`, import.meta.url).href)

export type Begin = (statement: (input: number) => number, input: number) => number

export const beginning = (
  make: (hookrun: Hookrun, table: ReturnType<Implementations["implementationOf"]>) => Begin
): Contestant<Begin, number> => ({
  setup: async () => {
    // Sound: the modules that were compiled from those sources.
    const hookrun = (await inside("hookrun.js")) as Hookrun
    const { implementationOf } = (await inside("tableimplementation.js")) as Implementations
    return make(hookrun, implementationOf(Entries))
  },
  ops: 100_000,
  run: (begin) => {
    let sum = 0
    for (let at = 0; at < 100_000; at += 1) sum += begin((input) => input + 1 - at, at)
    return sum
  },
  validate: (sum) => {
    if (sum !== 100_000) throw new Error(`the inputs add up to ${sum}`)
  }
})
