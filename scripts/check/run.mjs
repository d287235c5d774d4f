// Runs a program to its end and keeps what it prints.
import { spawn } from "node:child_process"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"

const modules = fileURLToPath(new URL("../../node_modules", import.meta.url))

/**
 * What a check found out: whether all is well, a remark for the summary, and what it printed, which is shown when it is not.
 *
 * @typedef {{ ok: boolean, remark?: string | undefined, output: string }} Outcome
 */

/** The script that a package of the workspace's root installs as a command. @param {string} name @param {string} [command] */
export function bin(name, command = name) {
  /** @type {{ bin: string | Record<string, string> }} */
  const manifest = JSON.parse(readFileSync(join(modules, name, "package.json"), "utf8"))
  const file = typeof manifest.bin === "string" ? manifest.bin : manifest.bin[command]
  if (file === undefined) throw new Error(`${name} has no command ${command}`)
  return join(modules, name, file)
}

/**
 * @param {string} command
 * @param {readonly string[]} args
 * @param {{ cwd: string, env?: NodeJS.ProcessEnv, timeoutMillis?: number }} options
 * @returns {Promise<{ ok: boolean, output: string, stdout: string }>}
 */
export function run(command, args, options) {
  return new Promise((resolve) => {
    const child = spawn(command, args, {
      cwd: options.cwd,
      env: { ...(options.env ?? process.env), FORCE_COLOR: undefined, NO_COLOR: "1" },
      stdio: ["ignore", "pipe", "pipe"],
      timeout: options.timeoutMillis,
      killSignal: "SIGKILL"
    })
    let output = ""
    let stdout = ""
    child.stdout.setEncoding("utf8").on("data", (text) => {
      output += text
      stdout += text
    })
    child.stderr.setEncoding("utf8").on("data", (text) => {
      output += text
    })
    child.on("error", (error) => {
      output += error.message
    })
    child.on("close", (code, signal) => {
      if (signal !== null) output += `\nended by ${signal}`
      resolve({ ok: code === 0, output, stdout })
    })
  })
}
