import { type ChildProcess, spawn } from "node:child_process"
import { appendFileSync, cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"

const root = fileURLToPath(new URL("../..", import.meta.url))

/** A pnpm that writes down that it was called, and installs a compiler that does the same. */
const pnpm = `
const { appendFileSync, existsSync, mkdirSync, writeFileSync } = require("node:fs")
appendFileSync("log", "install\\n")
if (existsSync("pnpm-hangs")) {
  appendFileSync("log", process.pid + "\\n")
  setInterval(() => {}, 1000)
} else if (existsSync("pnpm-fails")) {
  console.log("the registry says no")
  process.exitCode = 1
} else {
  mkdirSync("packages/example/node_modules", { recursive: true })
  mkdirSync("node_modules/typescript/bin", { recursive: true })
  writeFileSync("node_modules/.modules.yaml", "")
  writeFileSync("node_modules/typescript/bin/tsc", ${JSON.stringify(`
    const { appendFileSync, cpSync, writeFileSync } = require("node:fs")
    appendFileSync("log", "compile\\n")
    cpSync("packages/example/src/main.ts", "packages/example/dist/main.js")
    writeFileSync("packages/example/dist/.tsbuildinfo", "")
  `)})
}
`

const files = {
  "package.json": JSON.stringify({ engines: { node: ">=20.19" }, packageManager: "pnpm@10.0.0" }),
  "pnpm-lock.yaml": "lockfileVersion: 9",
  "tsconfig.base.json": "{}",
  "tsconfig.build.json": "{}",
  "packages/example/package.json": '{ "type": "module" }',
  "packages/example/tsconfig.json": "{}",
  "packages/example/src/main.ts":
    'import { appendFileSync } from "node:fs"; appendFileSync("log", ["start", ...process.argv.slice(2)].join(" ") + "\\n")',
  "npm/_npx/1/node_modules/pnpm/package.json": '{ "version": "10.0.0" }',
  "npm/_npx/1/node_modules/pnpm/bin/pnpm.cjs": pnpm,
  "npm/_npx/1/node_modules/.package-lock.json": "{}"
}

/** The bootstrap in a small checkout of its own, whose pnpm and compiler are made up: no network, no waiting for either. */
export class Checkout {
  readonly folder = mkdtempSync(join(tmpdir(), "effecto-checkout-"))
  readonly children: Array<ChildProcess> = []

  constructor() {
    for (const [path, text] of Object.entries(files)) this.write(path, text)
    cpSync(join(root, "scripts", "bootstrap.cjs"), join(this.folder, "scripts", "bootstrap.cjs"))
    cpSync(join(root, "scripts", "bootstrap"), join(this.folder, "scripts", "bootstrap"), { recursive: true })
  }

  write(path: string, text: string) {
    mkdirSync(dirname(join(this.folder, path)), { recursive: true })
    writeFileSync(join(this.folder, path), text)
  }

  append(path: string, text: string) {
    appendFileSync(join(this.folder, path), text)
  }

  remove(path: string) {
    rmSync(join(this.folder, path), { recursive: true })
  }

  /** What pnpm, the compiler and the application have written down since it was read last. */
  log(): string[] {
    try {
      const lines = readFileSync(join(this.folder, "log"), "utf8").trim().split("\n")
      this.remove("log")
      return lines
    } catch {
      return []
    }
  }

  spawn(...args: string[]): ChildProcess {
    const child = spawn(process.execPath, [...args], {
      cwd: this.folder,
      env: { PATH: process.env.PATH, HOME: this.folder, npm_config_cache: join(this.folder, "npm") },
      stdio: ["ignore", "pipe", "pipe"]
    })
    this.children.push(child)
    return child
  }

  run(...args: string[]): Promise<{ code: number | null; stdout: string; stderr: string }> {
    const child = this.spawn(...args)
    const text = { stdout: "", stderr: "" }
    child.stdout?.setEncoding("utf8").on("data", (chunk) => {
      text.stdout += chunk
    })
    child.stderr?.setEncoding("utf8").on("data", (chunk) => {
      text.stderr += chunk
    })
    return new Promise((resolve) => child.on("close", (code) => resolve({ code, ...text })))
  }

  start(...args: string[]) {
    return this.run("scripts/bootstrap.cjs", "start", ...args)
  }

  close() {
    for (const child of this.children) child.kill("SIGKILL")
    rmSync(this.folder, { recursive: true, force: true })
  }
}
