// Runs the tests (all, or what vitest's own arguments select) and ends with one plain line: `12 passed, 0 failed`.
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { parseCLI, startVitest } from "vitest/node"

const root = fileURLToPath(new URL("..", import.meta.url))

// An editor's or a program's own setting would make vitest, and the Effect it tests, behave as in production.
if (process.env.NODE_ENV === "production") delete process.env.NODE_ENV

const { filter, options } = parseCLI(["vitest", "run", ...process.argv.slice(2)])
const vitest = await startVitest("test", filter, { ...options, root })
if (!vitest.config.watch) {
  const summary = count(vitest)
  // Where `.ci/run` finds it again, since more is printed after the tests.
  writeFileSync(join(root, "node_modules", ".cache", "effecto", "test-summary"), `${summary}\n`)
  process.stdout.write(`\n${summary}\n`)
  // Ends the process too when something that a test has left open would keep it.
  await vitest.exit()
}

/**
 * Counted from the tests themselves. A file that could not be loaded and an error outside of every test are failures too:
 * nothing that makes the run fail may hide behind "0 failed".
 *
 * @param {import("vitest/node").Vitest} vitest
 */
function count(vitest) {
  let passed = 0
  let failed = vitest.state.getUnhandledErrors().length
  for (const module of vitest.state.getTestModules()) {
    let failedHere = 0
    for (const test of module.children.allTests()) {
      const { state } = test.result()
      if (state === "passed") passed++
      if (state === "failed") failedHere++
    }
    if (failedHere === 0 && module.state() === "failed") failedHere = 1
    failed += failedHere
  }
  return `${passed} passed, ${failed} failed`
}
