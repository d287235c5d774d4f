// `npm run check` runs every check, each with its name and its time; all of them run, whatever fails before.
// `npm run check -- types lint` runs those two, `npm run check -- --except tests` all the others.
import { createRequire } from "node:module"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"
import { checkExamples } from "./check/examples.mjs"
import { checkPackages } from "./check/packages.mjs"
import { bin, run } from "./check/run.mjs"

const require = createRequire(import.meta.url)
/** @type {typeof import("./bootstrap/build.cjs")} */
const { ensureBuilt } = require("./bootstrap/build.cjs")
/** @type {typeof import("./bootstrap/install.cjs")} */
const { installFingerprint } = require("./bootstrap/install.cjs")
/** @type {typeof import("./bootstrap/step.cjs")} */
const { StepFailed } = require("./bootstrap/step.cjs")

const root = fileURLToPath(new URL("..", import.meta.url))

/** @typedef {import("./check/run.mjs").Outcome} Outcome */
/** @typedef {{ name: string, about: string, needsBuild: boolean, run: () => Promise<Outcome> }} Check */

/** @param {readonly string[]} args @param {(output: string) => string | undefined} [remark] */
const node = (args, remark) => async () => {
  const outcome = await run(process.execPath, args, { cwd: root })
  return { ...outcome, remark: remark?.(outcome.output) }
}

/** @type {Check[]} */
const checks = [
  {
    name: "lint",
    about: "formatting and lint rules (biome)",
    needsBuild: false,
    run: node([bin("@biomejs/biome", "biome"), "check", "--error-on-warnings", "--max-diagnostics=none"])
  },
  {
    name: "cycles",
    about: "no module imports itself round a corner (biome)",
    needsBuild: false,
    run: node([bin("@biomejs/biome", "biome"), "lint", "--only=suspicious/noImportCycles"])
  },
  {
    name: "types",
    about: "all sources, tests, benches and scripts compile (tsc)",
    needsBuild: false,
    run: node([bin("typescript", "tsc"), "-b"])
  },
  {
    name: "type-tests",
    about: "what must compile does, and what must not does not (tstyche)",
    needsBuild: true,
    run: node([bin("tstyche")], (output) => /^Tests:\s+(.+)$/m.exec(output)?.[1])
  },
  {
    name: "effect",
    about: "Effect's own diagnostics of the packages' sources (language service)",
    needsBuild: true,
    run: node(
      [
        bin("@effect/language-service", "effect-language-service"),
        "diagnostics",
        "--project",
        "tsconfig.build.json",
        "--severity",
        "error,warning",
        "--strict",
        "--format",
        "text"
      ],
      (output) => /Checked \d+ files/.exec(output)?.[0].toLowerCase()
    )
  },
  {
    name: "tests",
    about: "unit and PostgreSQL tests (vitest)",
    needsBuild: true,
    run: node(["scripts/test.mjs"], (output) => /^\d+ passed, \d+ failed$/m.exec(output)?.[0])
  },
  {
    name: "examples",
    about: "every example in the docs compiles, runs and prints what it says it prints",
    needsBuild: true,
    run: () => checkExamples(root)
  },
  {
    name: "packages",
    about: "the packed tarballs are what npm and TypeScript expect (publint, are-the-types-wrong)",
    needsBuild: true,
    run: () => checkPackages(root)
  }
]

const selected = select(process.argv.slice(2))
/** @type {Array<{ name: string, ok: boolean, remark?: string | undefined, seconds: number }>} */
const summary = []

if (selected.some((check) => check.needsBuild)) {
  // When it fails, the other checks see what was compiled all the same.
  await measured({ name: "build", run: () => ensureBuilt(root, installFingerprint(root)).then(succeeded, failed) })
}
for (const check of selected) await measured(check)

const width = Math.max(...summary.map((row) => row.name.length))
process.stdout.write("\n")
for (const { name, ok, remark, seconds } of summary) {
  process.stdout.write(
    `${ok ? "ok    " : "FAILED"} ${name.padEnd(width)} ${seconds.toFixed(1).padStart(6)} s${remark === undefined ? "" : `   ${remark}`}\n`
  )
}
const bad = summary.filter((row) => !row.ok).map((row) => row.name)
process.stdout.write(bad.length === 0 ? "all checks passed\n" : `failed: ${bad.join(", ")}\n`)
process.exitCode = bad.length === 0 ? 0 : 1

/** @param {Pick<Check, "name" | "run">} check */
async function measured({ name, run }) {
  process.stdout.write(`${name} … `)
  const started = performance.now()
  const { ok, output, remark } = await run().catch(failed)
  const seconds = (performance.now() - started) / 1000
  process.stdout.write(`${ok ? "ok" : "FAILED"} (${seconds.toFixed(1)} s)\n`)
  if (!ok) process.stdout.write(`${output.trimEnd()}\n\n`)
  summary.push({ name, ok, remark, seconds })
}

/** @returns {Outcome} */
function succeeded() {
  return { ok: true, output: "" }
}

/** @param {unknown} error @returns {Outcome} */
function failed(error) {
  // A step that failed has said why; anything else is a mistake in these scripts and shows where.
  if (error instanceof StepFailed) return { ok: false, output: error.message }
  return { ok: false, output: error instanceof Error ? (error.stack ?? error.message) : String(error) }
}

/** @param {readonly string[]} args @returns {Check[]} */
function select(args) {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: { except: { type: "string", multiple: true, default: [] } }
  })
  const except = (values.except ?? []).flatMap((names) => names.split(","))
  const unknown = [...positionals, ...except].filter((name) => !checks.some((check) => check.name === name))
  if (unknown.length > 0) {
    const list = checks.map((check) => `  ${check.name.padEnd(10)} ${check.about}`).join("\n")
    process.stderr.write(`there is no check "${unknown[0]}"; the checks are\n${list}\n`)
    process.exit(1)
  }
  return checks.filter(({ name }) => !except.includes(name) && (positionals.length === 0 || positionals.includes(name)))
}
