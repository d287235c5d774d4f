import { execFile } from "node:child_process"
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { findBenches } from "../scripts/bench/benches.mjs"
import { toTable } from "../scripts/bench/report.mjs"
import { runBench } from "../scripts/bench/rounds.mjs"
import { quantile, spread } from "../scripts/bench/statistics.mjs"

const repository = fileURLToPath(new URL("..", import.meta.url))
const contestantType = JSON.stringify(join(repository, "scripts/bench/Contestant.js"))

/** A contestant that adds up 1 to 1,000, in the way that `body` says. */
const adding = (body: string) => `
  import type { Contestant } from ${contestantType}
  import { upTo } from "../limit.js"
  const adding: Contestant<number, number> = {
    setup: () => upTo,
    ops: 1000,
    run: (limit) => { ${body} },
    validate: (sum) => { if (sum !== 500500) throw new Error("the sum is " + sum) }
  }
  export default adding
`

const files = {
  "packages/sums/package.json": JSON.stringify({ name: "sums", version: "1.0.0", type: "module" }),
  "packages/sums/bench/limit.ts": "export const upTo: number = 1000",
  "packages/sums/bench/add/bench.ts": `
    import type { Question } from ${contestantType}
    const question: Question = { question: "Which sum?", baseline: "formula", doesNotShow: "Anything." }
    export default question`,
  "packages/sums/bench/add/formula.ts": adding("return limit * (limit + 1) / 2"),
  "packages/sums/bench/add/loop.ts": adding("let sum = 0; for (let i = 1; i <= limit; i++) sum += i; return sum"),
  "packages/sums/bench/add/promised.ts": adding("return Promise.resolve(limit * 500 + 500)"),
  "packages/sums/bench/sized/bench.ts":
    'export default { question: "Of how many?", baseline: "named", doesNotShow: "Anything.", variants: ["ten", "twenty"] }',
  "packages/sums/bench/sized/named.ts": `export default {
    setup: (variant) => { if (variant !== "twenty") throw new Error("it was set up for " + variant) },
    ops: 1, run: () => 0, validate: () => {}
  }`,
  "packages/sums/bench/wrong/bench.ts":
    'export default { question: "And one that is wrong?", baseline: "idle", doesNotShow: "Anything." }',
  "packages/sums/bench/wrong/idle.ts": adding("return 0"),
  "packages/empty/package.json": "{}"
}

let root: string
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "effecto-bench-"))
  for (const [path, text] of Object.entries(files)) {
    await mkdir(dirname(join(root, path)), { recursive: true })
    await writeFile(join(root, path), text)
  }
})
afterAll(() => rm(root, { recursive: true, force: true }))

const quick = { warmUp: 0, onTheClock: 0 }
const bench = (name: string) => {
  const found = findBenches(root).find((candidate) => candidate.name === name)
  if (found === undefined) throw new Error(`there is no bench ${name}`)
  return found
}

describe("findBenches", () => {
  it("finds each folder with a bench.ts, and its contestants without what they share", () => {
    expect(findBenches(root).map(({ name, contestants }) => [name, contestants])).toEqual([
      ["sums/add", ["formula", "loop", "promised"]],
      ["sums/sized", ["named"]],
      ["sums/wrong", ["idle"]]
    ])
  })
})

describe("runBench", () => {
  it("measures every contestant in every round and divides by the baseline of that round", async () => {
    const rounds: string[] = []
    const report = await runBench(bench("sums/add"), { ...quick, rounds: 2, onProgress: (line) => rounds.push(line) })
    expect(rounds).toEqual(["round 1 of 2", "round 2 of 2"])
    expect(report.results.map((result) => result.name).sort()).toEqual(["formula", "loop", "promised"])
    for (const { nanosecondsPerOp } of report.results) {
      expect(nanosecondsPerOp.rounds).toHaveLength(2)
      expect(nanosecondsPerOp.rounds.every((time) => time > 0)).toBe(true)
    }
    const times = (name: string) => report.results.find((result) => result.name === name)?.nanosecondsPerOp.rounds ?? []
    const ratios = times("loop").map((time, round) => time / (times("formula")[round] ?? Number.NaN))
    expect(report.results.find((result) => result.name === "loop")?.ratio).toEqual(spread(ratios))
    expect(report.versions.node).toBe(process.versions.node)
    expect(toTable(report)).toMatch(/^formula .* 1 ×$/m)
  })

  it("leaves out who is not asked for, but never the baseline", async () => {
    const report = await runBench(bench("sums/add"), { ...quick, rounds: 1, only: ["loop"], baseline: "promised" })
    expect(report.results.map((result) => result.name).sort()).toEqual(["loop", "promised"])
  })

  it("sets contestants up for the variant that is asked for, or else for the first", async () => {
    const report = await runBench(bench("sums/sized"), { ...quick, rounds: 1, variant: "twenty" })
    expect(toTable(report)).toMatch(/^sums\/sized: Of how many\? \(twenty\)$/m)
    await expect(runBench(bench("sums/sized"), { ...quick, rounds: 1 })).rejects.toThrow("it was set up for ten")
    await expect(runBench(bench("sums/sized"), { ...quick, rounds: 1, variant: "ninety" })).rejects.toThrow(
      'sums/sized has no variant "ninety"; it has: ten, twenty'
    )
  })

  it("reports nothing when a contestant's result is wrong", async () => {
    await expect(runBench(bench("sums/wrong"), { ...quick, rounds: 1 })).rejects.toThrow(
      /sums\/wrong: contestant "idle" failed .*the sum is 0/s
    )
  })

  it("names the contestants when it is asked for one that is not there", async () => {
    await expect(runBench(bench("sums/add"), { ...quick, rounds: 1, baseline: "abacus" })).rejects.toThrow(
      'sums/add has no contestant "abacus"; it has: formula, loop, promised'
    )
  })
})

describe("quantile", () => {
  it("interpolates between neighbours", () => {
    expect([0, 0.25, 0.5, 0.75, 1].map((share) => quantile([40, 10, 20, 30], share))).toEqual([10, 17.5, 25, 32.5, 40])
    expect(quantile([7], 0.25)).toBe(7)
  })
})

describe("npm run bench", () => {
  it("names the benches when it is asked for one that is not there", async () => {
    const run = promisify(execFile)(process.execPath, [join(repository, "scripts/bench.mjs"), "cache/none"])
    await expect(run).rejects.toMatchObject({
      code: 1,
      stderr: expect.stringContaining('there is no bench "cache/none"')
    })
  })
})
