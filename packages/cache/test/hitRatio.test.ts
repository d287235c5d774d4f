/**
 * The policy of a bounded cache on the LIRS traces, through the cache's own store, beside LRU. Hit ratios do not depend on the machine: the table is the
 * measurement.
 */
import { readFileSync } from "node:fs"
import { gunzipSync } from "node:zlib"
import { describe, expect, it } from "@effect/vitest"
import { type Policy, Recency } from "../src/eviction.js"
import { Store } from "../src/store.js"
import { TinyLfu } from "../src/tinyLfu.js"

const load = (trace: string): Array<number> =>
  gunzipSync(readFileSync(new URL(`../bench/traces/${trace}.trace.gz`, import.meta.url)))
    .toString()
    .split("\n")
    .filter((line) => line.trim() !== "" && line.trim() !== "*")
    .map(Number)

const FOREVER = { idle: Number.POSITIVE_INFINITY, max: Number.POSITIVE_INFINITY }

const hitRatio = (trace: ReadonlyArray<number>, policy: Policy<number>): number => {
  const store = new Store<number, number, never>(policy)
  let hits = 0
  for (const key of trace) {
    const entry = store.entries.get(key)
    if (entry !== undefined && store.use(entry, 0)) hits += 1
    else store.put(key, key, FOREVER, 0)
    if (store.entries.size > policy.capacity) throw new Error("more entries than the capacity")
  }
  expect(policy.count()).toBe(store.entries.size)
  return Math.round((hits / trace.length) * 10_000) / 100
}

/** Trace, entries, the hit ratio of LRU in percent, ours. */
const table: ReadonlyArray<readonly [trace: string, capacity: number, lru: number, ours: number]> = [
  ["cs", 250, 1.83, 10.59],
  ["cs", 500, 1.83, 23.77],
  ["cs", 1000, 1.83, 50.3],
  ["gli", 250, 0.91, 9.51],
  ["gli", 500, 0.95, 26.78],
  ["gli", 1000, 11.21, 45.27],
  ["cpp", 250, 83, 84.9],
  ["cpp", 500, 84.78, 85.92],
  ["cpp", 1000, 86.4, 86.47],
  ["ps", 250, 13.06, 48.86],
  ["ps", 500, 48.55, 54.91],
  ["ps", 1000, 48.55, 63.85],
  ["multi1", 250, 42.86, 47.5],
  ["multi1", 500, 46.51, 53.9],
  ["multi1", 1000, 48.23, 65.51],
  ["loop", 256, 0, 16.36],
  ["loop", 512, 0, 36.37],
  ["loop", 1000, 0, 42.45],
  ["sprite", 250, 48.84, 49.88],
  ["sprite", 500, 78.3, 78.25],
  ["sprite", 1000, 90.64, 89.67]
]

const LRU_FRIENDLY = ["sprite", "cpp"]

describe("the hit ratio", () => {
  for (const trace of new Set(table.map(([trace]) => trace))) {
    const rows = table.filter((row) => row[0] === trace)
    it(`on ${trace} is what the table says`, () => {
      const blocks = load(trace)
      const measured = rows.map(([, capacity]) => [
        trace,
        capacity,
        hitRatio(blocks, new Recency(capacity)),
        hitRatio(blocks, new TinyLfu(capacity))
      ])
      expect(measured).toEqual(rows)
    })
  }

  it("is above LRU's where loads loop or scan, and a point below it at most where they do not", () => {
    for (const [trace, capacity, lru, ours] of table) {
      if (LRU_FRIENDLY.includes(trace)) expect(ours, `${trace} ${capacity}`).toBeGreaterThanOrEqual(lru - 1)
      else expect(ours, `${trace} ${capacity}`).toBeGreaterThan(lru)
    }
  })
})
