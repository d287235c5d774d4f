// `npm run races` asks the same of our cache and of its peers while something overtakes their loads, and prints the answers side by side.
// Ends with 1 if ours answers anything else than what is wanted. Peers that are not installed are left out, and said so.
import { races } from "./races/suite.mjs"

const bench = new URL("../packages/cache/bench/", import.meta.url)
const names = {
  effecto: "races/effecto.mjs",
  "lru-cache": "races/lru-cache.mjs",
  "Effect Cache": "races/effect-cache.mjs",
  bentocache: "peers/races/bentocache.mjs",
  cacheable: "peers/races/cacheable.mjs",
  "async-cache-dedupe": "peers/races/async-cache-dedupe.mjs"
}

// What a peer rejects where nobody listens is its own.
process.on("unhandledRejection", () => {})

/** @type {Array<{ name: string, make: import("./races/suite.mjs").Make }>} */
const contestants = []
for (const [name, file] of Object.entries(names)) {
  try {
    contestants.push({ name, make: (await import(new URL(file, bench).href)).default })
  } catch (error) {
    if (Object(error).code !== "ERR_MODULE_NOT_FOUND") throw error
    process.stderr.write(`${name} is left out: npm install --prefix packages/cache/bench/peers installs it\n`)
  }
}

const rows = [["race", "wanted", ...contestants.map(({ name }) => name)]]
const wrong = []
for (const { name, run, wanted } of races) {
  const answers = []
  for (const contestant of contestants) answers.push(await run(contestant.make).catch((error) => `throws ${error}`))
  if (answers[0] !== wanted) wrong.push(name)
  rows.push([name, wanted, ...answers])
}

const widths = rows[0]?.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0))) ?? []
const line = (/** @type {readonly string[]} */ row) =>
  `| ${row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join(" | ")} |\n`
for (const [place, row] of rows.entries()) {
  process.stdout.write(line(row))
  if (place === 0) process.stdout.write(line(widths.map((width) => "-".repeat(width))))
}
process.stdout.write(
  wrong.length === 0 ? "\nours answers as wanted\n" : `\nours does not answer as wanted: ${wrong.join(", ")}\n`
)
process.exit(wrong.length === 0 ? 0 : 1)
