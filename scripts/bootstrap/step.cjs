// A step is a child process that nobody wants to read unless it fails: silent under a second, then one line of progress.
const { spawn } = require("node:child_process")

/** A step that did not succeed. The message ends with everything the step printed. */
class StepFailed extends Error {}

/**
 * Runs a child process quietly, its stdin closed.
 *
 * @param {string} title what the progress line says
 * @param {string} command
 * @param {readonly string[]} args
 * @param {{ cwd: string, env?: NodeJS.ProcessEnv, remedy?: string, onStart?: (pid: number) => void }} options `remedy`: a
 *   sentence for the end of the failure message; `onStart` gets the child's process id
 * @returns {Promise<void>} rejects with `StepFailed`
 */
function step(title, command, args, options) {
  return new Promise((resolve, reject) => {
    const started = Date.now()
    /** @type {Buffer[]} */
    const printed = []
    // A process group of its own: `npx` starts shells and these start pnpm, and an interrupt has to reach them all.
    const child = spawn(command, args, {
      cwd: options.cwd,
      env: options.env ?? process.env,
      stdio: ["ignore", "pipe", "pipe"],
      detached: process.platform !== "win32"
    })
    if (child.pid !== undefined) options.onStart?.(child.pid)
    child.stdout.on("data", (chunk) => printed.push(chunk))
    child.stderr.on("data", (chunk) => printed.push(chunk))

    let announced = false
    const announcement = setTimeout(() => {
      announced = true
      process.stderr.write(`${title} … `)
    }, 1000)
    /** @param {string} ending */
    const settle = (ending) => {
      clearTimeout(announcement)
      for (const [signal, listener] of listeners) process.removeListener(signal, listener)
      if (announced) process.stderr.write(`${ending}\n`)
    }

    /** @type {Array<[NodeJS.Signals, () => void]>} */
    const listeners = [
      ["SIGINT", 130],
      ["SIGTERM", 143],
      ["SIGHUP", 129]
    ].map(([signal, code]) => [
      /** @type {NodeJS.Signals} */ (signal),
      () => {
        settle("interrupted")
        killGroup(child.pid)
        process.exit(Number(code))
      }
    ])
    for (const [signal, listener] of listeners) process.on(signal, listener)

    const seconds = () => ((Date.now() - started) / 1000).toFixed(1)
    /** @param {string} how */
    const fail = (how) => {
      settle(`failed after ${seconds()} s`)
      const output = Buffer.concat(printed).toString().trimEnd()
      reject(new StepFailed([`${title}: ${how}`, output, options.remedy].filter(Boolean).join("\n")))
    }
    child.on("error", (error) => fail(`could not start ${command}: ${error.message}`))
    child.on("close", (code, signal) => {
      if (code !== 0) return fail(signal === null ? `exit code ${code}` : `ended by ${signal}`)
      settle(`${seconds()} s`)
      resolve()
    })
  })
}

/** @param {number | undefined} pid the leader of a process group */
function killGroup(pid) {
  if (pid === undefined) return
  try {
    process.kill(process.platform === "win32" ? pid : -pid, "SIGTERM")
  } catch {
    // It ended by itself.
  }
}

module.exports = { step, StepFailed }
