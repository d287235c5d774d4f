// Prepares the checkout (dependencies, compiled packages) as far as a task needs it, then runs the task in this very
// process: a task killed from outside takes everything with it, since there is no parent in between to be orphaned from.
const { existsSync } = require("node:fs")
const { join } = require("node:path")
const { pathToFileURL } = require("node:url")
const { ensureBuilt } = require("./build.cjs")
const { ensureInstalled } = require("./install.cjs")
const { StepFailed } = require("./step.cjs")

const root = join(__dirname, "..", "..")

/**
 * @typedef {object} Task
 * @property {string} file what is imported, with the task's arguments in `process.argv`
 * @property {boolean} built whether the packages have to be compiled before
 * @property {string} about one line for the list of tasks
 */

/** @type {Record<string, Task>} */
const tasks = {
  start: { file: "packages/example/dist/main.js", built: true, about: "run the example application" },
  console: { file: "packages/example/dist/console.js", built: true, about: "a REPL with the example's repo and cache" },
  test: { file: "scripts/test.mjs", built: true, about: "run the tests; what follows -- goes to vitest" },
  check: { file: "scripts/check.mjs", built: false, about: "check everything; -- types lint checks a selection" },
  bench: { file: "scripts/bench.mjs", built: true, about: "list the benches; -- cache/hit runs one" },
  mutants: {
    file: "scripts/mutants.mjs",
    built: false,
    about: "break the cache in many ways, and see a test fail each time"
  },
  races: { file: "scripts/races.mjs", built: true, about: "what overtakes a load, asked of our cache and its peers" },
  format: { file: "scripts/format.mjs", built: false, about: "format the sources and mend what can be mended" }
}

/** @param {readonly string[]} args the task's name and its arguments */
module.exports = async function run([name, ...args]) {
  const task = name !== undefined && Object.hasOwn(tasks, name) ? tasks[name] : undefined
  if (task === undefined) {
    const lines = Object.entries(tasks).map(([key, { about }]) => `  npm run ${key.padEnd(8)} ${about}`)
    process.stderr.write(
      `${name === undefined ? "no task given" : `there is no task "${name}"`}; the tasks are\n${lines.join("\n")}\n`
    )
    process.exit(1)
  }
  try {
    const installed = await ensureInstalled(root)
    if (task.built) await ensureBuilt(root, installed)
  } catch (error) {
    // What a step printed is the explanation; a stack of this script would only hide it.
    process.stderr.write(
      error instanceof StepFailed ? `${error.message}\n` : `${error instanceof Error ? error.stack : error}\n`
    )
    process.exit(1)
  }
  const file = join(root, task.file)
  if (!existsSync(file)) {
    process.stderr.write(`${task.file} is missing, so \`npm run ${name}\` has nothing to run\n`)
    process.exit(1)
  }
  process.argv = [process.execPath, file, ...args]
  await import(pathToFileURL(file).href)
}
