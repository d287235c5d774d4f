// `npm run mutants` breaks the cache in one way after the other, in a copy, and looks whether the test that is there for it fails.
// `npm run mutants -- tags` takes those whose file, test or text has that word in it. All of them take some minutes.
import { spawn } from "node:child_process"
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { bin } from "./check/run.mjs"
import { mutants } from "./mutants/list.mjs"

const root = fileURLToPath(new URL("..", import.meta.url))
const words = process.argv.slice(2)
const chosen = mutants.filter((mutant) =>
  words.every((word) => Object.values(mutant).some((text) => text.includes(word)))
)
if (chosen.length === 0) {
  process.stderr.write(`there is no mutant with ${words.join(" and ")} in it\n`)
  process.exit(1)
}

/** A test that hangs without its safeguard is failed by it, too. */
const LONGEST = 120_000

const copy = mkdtempSync(join(tmpdir(), "effecto-mutants-"))
process.on("exit", () => rmSync(copy, { recursive: true, force: true }))
for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => process.exit(1))

for (const file of ["package.json", "vitest.config.ts", "vitest.workspace.ts", "tsconfig.base.json", "test/setup"]) {
  cpSync(join(root, file), join(copy, file), { recursive: true })
}
symlinkSync(join(root, "node_modules"), join(copy, "node_modules"))
for (const name of ["core", "cache", "example"]) {
  mkdirSync(join(copy, "packages", name), { recursive: true })
  symlinkSync(join(root, "packages", name, "node_modules"), join(copy, "packages", name, "node_modules"))
  for (const file of name === "cache" ? ["package.json", "src", "test", "bench/traces"] : ["package.json", "src"]) {
    cpSync(join(root, "packages", name, file), join(copy, "packages", name, file), { recursive: true })
  }
}

/**
 * Runs tests of the copy, and says what became of those whose full name has one of the names in it.
 *
 * @param {readonly string[]} files @param {readonly string[]} names @param {number} longest in milliseconds
 * @returns {Promise<{ failed: number, passed: number, hung: boolean, output: string }>}
 */
function run(files, names, longest) {
  const report = join(copy, "report.json")
  rmSync(report, { force: true })
  const pattern = names.map((name) => name.replaceAll(/[.*+?^${}()|[\]\\]/g, "\\$&")).join("|")
  const child = spawn(
    process.execPath,
    [
      bin("vitest", "vitest"),
      "run",
      "--project",
      "cache",
      "--reporter=json",
      `--outputFile=${report}`,
      "-t",
      pattern,
      ...files
    ],
    { cwd: copy, stdio: ["ignore", "pipe", "pipe"] }
  )
  let output = ""
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (text) => (output += text))
  return new Promise((resolve) => {
    let hung = false
    const timer = setTimeout(() => {
      hung = true
      child.kill("SIGKILL")
    }, longest)
    child.on("close", () => {
      clearTimeout(timer)
      if (hung) return resolve({ failed: 0, passed: 0, hung, output })
      /** @type {{ testResults: Array<{ assertionResults: Array<{ status: string, fullName: string }> }> }} */
      let results
      try {
        results = JSON.parse(readFileSync(report, "utf8"))
      } catch {
        return resolve({ failed: 0, passed: 0, hung, output })
      }
      const tests = results.testResults
        .flatMap(({ assertionResults }) => assertionResults)
        .filter(({ fullName }) => names.some((name) => fullName.includes(name)))
      const count = (/** @type {string} */ status) => tests.filter((test) => test.status === status).length
      resolve({ failed: count("failed"), passed: count("passed"), hung, output })
    })
  })
}

const begun = performance.now()
const files = new Set(chosen.map(({ test }) => `packages/cache/test/${test}`))
const names = new Set(chosen.map(({ name }) => name))
const before = await run([...files], [...names], 5 * LONGEST)
if (before.failed > 0 || before.passed < names.size) {
  process.stderr.write(
    `${before.output}\nthe tests have to pass before anything is broken: ${before.failed} failed, ${before.passed} passed\n`
  )
  process.exit(1)
}

let survived = 0
for (const { about, file, from, name, test, to } of chosen) {
  const path = join(copy, "packages/cache/src", file)
  const source = readFileSync(path, "utf8")
  const places = source.split(from).length - 1
  let outcome
  if (places !== 1) outcome = `NOT APPLIED: its text stands ${places} times in ${file}`
  else {
    writeFileSync(
      path,
      source.replace(from, () => to)
    )
    const { failed, hung, output, passed } = await run([`packages/cache/test/${test}`], [name], LONGEST)
    writeFileSync(path, source)
    if (failed > 0 || hung) outcome = undefined
    else if (passed > 0) outcome = "SURVIVED"
    else outcome = `NO TEST of that name ran\n${output.trim()}`
  }
  if (outcome !== undefined) survived += 1
  process.stdout.write(
    `${outcome === undefined ? "killed" : "FAILED"}  ${file}: ${about}\n        by ${test}: ${name}\n`
  )
  if (outcome !== undefined) process.stdout.write(`        ${outcome}\n`)
}
const seconds = Math.round((performance.now() - begun) / 1000)
process.stdout.write(`\n${chosen.length - survived} of ${chosen.length} mutants killed, in ${seconds} s\n`)
process.exitCode = survived === 0 ? 0 : 1
