// The child process: measures one contestant once and sends its sample to the parent.
// Arguments: the contestant's compiled file, milliseconds of warm-up, milliseconds on the clock, the question's variant.
import { pathToFileURL } from "node:url"
import { quantile } from "./statistics.mjs"

const [file = "", warmUp = "1000", onTheClock = "500", variant = ""] = process.argv.slice(2)
const fewest = 10

/** @type {{ default: import("./Contestant.js").Contestant<unknown, unknown> }} */
const { default: contestant } = await import(pathToFileURL(file).href)
for (const [key, type] of [
  ["setup", "function"],
  ["run", "function"],
  ["validate", "function"],
  ["ops", "number"]
]) {
  const found = typeof Reflect.get(Object(contestant), key ?? "")
  if (found !== type) throw new Error(`the default export needs a ${type} "${key}", and has ${found}`)
}

/** @type {unknown} */
let state
try {
  state = await contestant.setup(variant)
} catch (error) {
  if (!(error instanceof Error) || error.name !== "NotInstalled") throw error
  process.send?.({ leftOut: error.message })
  process.exit(0)
}
const once = contestant.once === true
if (!once) await repeat(Number(warmUp), 3)
globalThis.gc?.()
const before = process.cpuUsage()
const times = await (once ? repeat(0, 1) : repeat(Number(onTheClock), fewest))
const { user, system } = process.cpuUsage(before)
await contestant.teardown?.(state)
process.send?.({
  nanosecondsPerOp: quantile(times, 0.5) / contestant.ops,
  // All threads of this process, the collector's too; not those of a server that it talks to.
  processorNanosecondsPerOp: ((user + system) * 1000) / times.length / contestant.ops,
  runs: times.length
})

/**
 * Runs until both the time is over and the count is reached; answers each run's nanoseconds.
 *
 * @param {number} milliseconds
 * @param {number} count
 */
async function repeat(milliseconds, count) {
  /** @type {number[]} */
  const times = []
  const end = performance.now() + milliseconds
  while (times.length < count || performance.now() < end) {
    const started = process.hrtime.bigint()
    const answer = contestant.run(state)
    // Awaiting what is no promise would add a turn of the event loop to contestants that need none.
    const result = answer instanceof Promise ? await answer : answer
    times.push(Number(process.hrtime.bigint() - started))
    contestant.validate(result, state)
  }
  return times
}
