// Compiles and runs every example of the docs: each ```ts block of an `@example` in packages/*/src, of the READMEs and of docs/.
// All of them are compiled at once, strictly, against the compiled packages; then each runs as a program of its own, with one
// PostgreSQL for those that want it. What a line claims to print, `console.log(sum) // 3`, it has to print.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { availableParallelism } from "node:os"
import { join, relative } from "node:path"
import { pathToFileURL } from "node:url"
import ts from "typescript"
import { findExamples } from "./exampleSources.mjs"
import { bin, run } from "./run.mjs"

/** @typedef {import("./exampleSources.mjs").Example} Example */

/** @param {string} root @returns {Promise<import("./run.mjs").Outcome>} */
export async function checkExamples(root) {
  const examples = findExamples(root)
  const problems = await problemsOf(root, examples)
  return { ok: problems.length === 0, remark: `${examples.length} examples`, output: problems.join("\n\n") }
}

/**
 * Compiles and runs the examples.
 *
 * @param {string} root the checkout, its packages compiled
 * @param {readonly Example[]} examples
 * @returns {Promise<string[]>} what is wrong with them
 */
export async function problemsOf(root, examples) {
  // Inside the example package, since it depends on everything that an example may import.
  const cache = join(root, "packages", "example", "node_modules", ".cache")
  mkdirSync(cache, { recursive: true })
  const folder = mkdtempSync(join(cache, "examples-"))
  try {
    writeFileSync(join(folder, "package.json"), JSON.stringify({ type: "module" }))
    for (const example of examples) writeFileSync(join(folder, `${example.name}.ts`), example.code)
    const wrong = compile(folder, examples)
    return wrong.length > 0 ? wrong : await runAll(root, folder, examples)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** @param {string} folder @param {readonly Example[]} examples @returns {string[]} what the compiler has to say */
function compile(folder, examples) {
  const program = ts.createProgram({
    rootNames: examples.map(({ name }) => join(folder, `${name}.ts`)),
    options: {
      target: ts.ScriptTarget.ES2022,
      lib: ["lib.es2023.d.ts"],
      module: ts.ModuleKind.NodeNext,
      moduleResolution: ts.ModuleResolutionKind.NodeNext,
      types: ["node"],
      strict: true,
      exactOptionalPropertyTypes: true,
      noUncheckedIndexedAccess: true,
      verbatimModuleSyntax: true,
      moduleDetection: ts.ModuleDetectionKind.Force,
      skipLibCheck: true,
      noEmitOnError: false,
      outDir: folder,
      rootDir: folder
    }
  })
  program.emit()
  return ts.getPreEmitDiagnostics(program).map((diagnostic) => {
    const text = ts.flattenDiagnosticMessageText(diagnostic.messageText, "\n")
    const example = examples.find(({ name }) => diagnostic.file?.fileName.endsWith(`/${name}.ts`))
    if (example === undefined || diagnostic.file === undefined) return text
    const { line } = diagnostic.file.getLineAndCharacterOfPosition(diagnostic.start ?? 0)
    return `${example.file}:${example.line + line}: ${text}`
  })
}

/**
 * @param {string} root
 * @param {string} folder
 * @param {readonly Example[]} examples
 * @returns {Promise<string[]>} what went wrong
 */
async function runAll(root, folder, examples) {
  const { env, stop } = await withPostgres(root)
  /** @type {string[]} */
  const problems = []
  const waiting = [...examples]
  const worker = async () => {
    for (let example = waiting.shift(); example !== undefined; example = waiting.shift()) {
      const problem = await runOne(folder, example, env)
      if (problem !== undefined) problems.push(`${example.file}:${example.line}: ${problem}`)
    }
  }
  try {
    await Promise.all(Array.from({ length: availableParallelism() }, worker))
  } finally {
    await stop()
  }
  return problems.sort()
}

/** @param {string} folder @param {Example} example @param {NodeJS.ProcessEnv} env @returns {Promise<string | undefined>} */
async function runOne(folder, example, env) {
  const file = join(folder, `${example.name}.js`)
  // A test is no program: its runner has to call it.
  const args = example.isTest
    ? [bin("vitest", "vitest"), "run", "--root", folder, "--config", testConfig(folder), relative(folder, file)]
    : [file]
  const { ok, output, stdout } = await run(process.execPath, args, { cwd: folder, env, timeoutMillis: 60_000 })
  if (!ok) return `the example fails\n${output.trim()}`
  const printed = stdout.split("\n").map((line) => line.trim())
  // `// 1: the same handle, a fresh counter` claims "1", and says why.
  const missing = claims(example.code).find(
    (claim) => !printed.some((line) => line !== "" && `${claim}: `.startsWith(`${line}: `))
  )
  return missing === undefined ? undefined : `the example claims to print "${missing}" and prints\n${stdout.trim()}`
}

/** @param {string} folder */
function testConfig(folder) {
  const file = join(folder, "vitest.config.js")
  writeFileSync(
    file,
    'export default { test: { include: ["*.js"], exclude: ["vitest.config.js"], testTimeout: 20000 } }\n'
  )
  return file
}

/** What an example says that its lines print. @param {string} code @returns {string[]} */
export function claims(code) {
  return code.split("\n").flatMap((line) => /console\.log.*\)\s+\/\/ (.+)$/.exec(line)?.[1]?.trim() ?? [])
}

/**
 * The server that `DATABASE_URL` names, or one for all examples together.
 *
 * @param {string} root
 * @returns {Promise<{ env: NodeJS.ProcessEnv, stop: () => Promise<void> }>}
 */
async function withPostgres(root) {
  if (process.env.DATABASE_URL !== undefined) return { env: process.env, stop: async () => {} }
  /** @type {typeof import("effect")} */
  const { Effect, Exit, Redacted, Scope } = await import("effect")
  /** @type {typeof import("../../packages/core/src/postgres/PostgresServer.js")} */
  const PostgresServer = await import(pathToFileURL(join(root, "packages/core/dist/postgres/PostgresServer.js")).href)
  const scope = Effect.runSync(Scope.make())
  const server = await Effect.runPromise(PostgresServer.make().pipe(Scope.extend(scope)))
  return {
    env: { ...process.env, DATABASE_URL: Redacted.value(server.url) },
    stop: () => Effect.runPromise(Scope.close(scope, Exit.void))
  }
}
