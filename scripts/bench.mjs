// `npm run bench` lists the benches of all packages; `npm run bench -- cache/hit --rounds 5` runs one.
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"
import { findBenches, loadQuestion } from "./bench/benches.mjs"
import { compileBench } from "./bench/compile.mjs"
import { toTable } from "./bench/report.mjs"
import { runBench } from "./bench/rounds.mjs"

const root = fileURLToPath(new URL("..", import.meta.url))

/** @param {string} message @returns {never} */
function refuse(message) {
  process.stderr.write(`${message}\n`)
  process.exit(1)
}

const { values, positionals } = (() => {
  try {
    return parseArgs({
      allowPositionals: true,
      options: {
        rounds: { type: "string", default: "5" },
        json: { type: "boolean", default: false },
        baseline: { type: "string" },
        only: { type: "string" },
        variant: { type: "string" }
      }
    })
  } catch (error) {
    return refuse(`${error instanceof Error ? error.message : error}`)
  }
})()

const benches = findBenches(root)
const [name] = positionals
if (name === undefined) {
  for (const bench of benches) {
    await compileBench(bench)
    const { question } = await loadQuestion(bench)
    process.stdout.write(`${bench.name}\n  ${question}\n  ${bench.contestants.join(", ")}\n`)
  }
  if (benches.length === 0) process.stdout.write("there are no benches yet; scripts/README.md shows how to write one\n")
} else {
  const bench = benches.find((candidate) => candidate.name === name)
  if (bench === undefined)
    refuse(`there is no bench "${name}"; there are: ${benches.map((each) => each.name).join(", ") || "none"}`)
  const rounds = Number(values.rounds)
  if (!Number.isInteger(rounds) || rounds < 1)
    refuse(`--rounds takes a whole number of 1 or more, not "${values.rounds}"`)
  try {
    await compileBench(bench)
    const { variants = [] } = await loadQuestion(bench)
    for (const variant of values.variant === undefined && variants.length > 0 ? variants : [values.variant]) {
      const report = await runBench(bench, {
        rounds,
        baseline: values.baseline,
        only: values.only?.split(","),
        variant,
        onProgress: (line) => process.stderr.write(`${line}\n`)
      })
      process.stdout.write(values.json ? `${JSON.stringify(report, null, 2)}\n` : toTable(report))
    }
  } catch (error) {
    refuse(error instanceof Error ? error.message : String(error))
  }
}
