/** Runs the compiled example as a process, as `npm start` and `npm run console` do. */
import { spawn } from "node:child_process"
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"

export interface Run {
  readonly exitCode: number | null
  readonly stdout: string
  readonly stderr: string
  /** What it left in its temporary folder. */
  readonly left: ReadonlyArray<string>
}

export interface Running {
  readonly signal: (signal: NodeJS.Signals) => void
  /** The process of the PostgreSQL server that it started itself. */
  readonly server: () => number
  readonly write: (text: string) => void
}

export const run = (
  program: "main" | "console",
  options: {
    readonly env?: NodeJS.ProcessEnv
    readonly input?: string
    /** Called for each piece of what it prints, with all that it has printed. */
    readonly onOutput?: (stdout: string, running: Running) => void
  } = {}
): Promise<Run> =>
  new Promise((resolve, reject) => {
    const temporary = mkdtempSync(join(tmpdir(), "example-"))
    chmodSync(temporary, 0o777)
    const file = fileURLToPath(new URL(`../dist/${program}.js`, import.meta.url))
    const child = spawn(process.execPath, [file], {
      env: { ...process.env, DEBUG: undefined, TMPDIR: temporary, ...options.env },
      stdio: ["pipe", "pipe", "pipe"]
    })
    let stdout = ""
    let stderr = ""
    const running: Running = {
      signal: (signal) => child.kill(signal),
      server: () => {
        const [folder] = readdirSync(temporary)
        return Number(readFileSync(join(temporary, folder ?? "none", "data", "postmaster.pid"), "utf8").split("\n")[0])
      },
      write: (text) => child.stdin.write(text)
    }
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      stdout += text
      options.onOutput?.(stdout, running)
    })
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      stderr += text
    })
    if (options.input !== undefined) child.stdin.end(options.input)
    child.on("error", reject)
    child.on("close", (exitCode) => {
      const left = readdirSync(temporary)
      rmSync(temporary, { recursive: true, force: true })
      resolve({ exitCode, stdout, stderr, left })
    })
  })
