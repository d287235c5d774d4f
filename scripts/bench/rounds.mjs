// Runs a bench: in each round one child process per contestant, one after the other, so that whatever the machine does
// meanwhile happens to all of them.
import { fork } from "node:child_process"
import { readFileSync } from "node:fs"
import { cpus, loadavg, platform, release, totalmem } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { compiledFile, loadQuestion } from "./benches.mjs"
import { compileBench } from "./compile.mjs"
import { spread } from "./statistics.mjs"

/**
 * @typedef {{ median: number, lowerQuartile: number, upperQuartile: number }} Spread
 * @typedef {{ nanosecondsPerOp: number, processorNanosecondsPerOp: number }} Sample
 * @typedef {{ nanosecondsPerOp: Spread & { rounds: number[] }, ratio: Spread }} Figures
 * @typedef {{ name: string, processor: Figures } & Figures} Result
 * @typedef {object} Report
 * @property {string} bench
 * @property {string} question
 * @property {string | undefined} variant what it was asked of
 * @property {string} doesNotShow
 * @property {string} baseline
 * @property {number} rounds
 * @property {string} date
 * @property {{ processor: string, cores: number, memoryMiB: number, system: string, loadBefore: number, loadAfter: number }} machine
 * @property {{ warmUp: number, onTheClock: number }} milliseconds
 * @property {Record<string, string>} versions
 * @property {Result[]} results fastest first
 */

/**
 * @param {import("./benches.mjs").Bench} bench
 * @param {object} options
 * @param {number} options.rounds
 * @param {string | undefined} [options.baseline]
 * @param {readonly string[] | undefined} [options.only]
 * @param {string | undefined} [options.variant] one of the question's; its first unless said
 * @param {number} [options.warmUp] milliseconds, instead of what the bench says
 * @param {number} [options.onTheClock] milliseconds, instead of what the bench says
 * @param {(line: string) => void} [options.onProgress]
 * @returns {Promise<Report>}
 */
export async function runBench(bench, options) {
  const { rounds, onProgress = () => {} } = options
  await compileBench(bench)
  const question = await loadQuestion(bench)
  const warmUp = options.warmUp ?? question.warmUp ?? 1000
  const onTheClock = options.onTheClock ?? question.onTheClock ?? 500
  const baseline = options.baseline ?? question.baseline
  const variants = question.variants ?? []
  const variant = options.variant ?? variants[0]
  if (options.variant !== undefined && !variants.includes(options.variant)) {
    throw new Error(`${bench.name} has no variant "${variant}"; it has: ${variants.join(", ") || "none"}`)
  }
  for (const name of [baseline, ...(options.only ?? [])]) {
    if (!bench.contestants.includes(name)) {
      throw new Error(`${bench.name} has no contestant "${name}"; it has: ${bench.contestants.join(", ")}`)
    }
  }
  // The baseline always runs, since the ratios need it.
  const contestants = bench.contestants.filter((name) => name === baseline || (options.only?.includes(name) ?? true))
  const loadBefore = loadavg()[0] ?? 0

  /** @type {Map<string, Sample[]>} */
  const samples = new Map(contestants.map((name) => [name, []]))
  /** @type {Set<string>} */
  const leftOut = new Set()
  for (let round = 0; round < rounds; round++) {
    onProgress(`round ${round + 1} of ${rounds}`)
    for (let turn = 0; turn < contestants.length; turn++) {
      // Another one begins each round: nobody always runs on a machine that has just cooled down.
      const name = contestants[(round + turn) % contestants.length] ?? baseline
      if (leftOut.has(name)) continue
      const sample = await measure(bench, name, [
        String(warmUp),
        String(onTheClock),
        ...(variant === undefined ? [] : [variant])
      ])
      if (typeof sample !== "string") samples.get(name)?.push(sample)
      else {
        onProgress(`${name} is left out: ${sample}`)
        leftOut.add(name)
        samples.delete(name)
      }
    }
  }

  const base = samples.get(baseline) ?? []
  /** @param {readonly Sample[]} measured @param {(sample: Sample) => number} of @returns {Figures} */
  const figures = (measured, of) => {
    const times = measured.map(of)
    const baseTimes = base.map(of)
    return {
      nanosecondsPerOp: { ...spread(times), rounds: times },
      ratio: spread(times.map((time, round) => time / (baseTimes[round] ?? Number.NaN)))
    }
  }
  const results = [...samples].map(([name, measured]) => ({
    name,
    ...figures(measured, (sample) => sample.nanosecondsPerOp),
    processor: figures(measured, (sample) => sample.processorNanosecondsPerOp)
  }))
  const processors = cpus()
  return {
    bench: bench.name,
    question: question.question,
    variant,
    doesNotShow: question.doesNotShow,
    baseline,
    rounds,
    date: new Date().toISOString(),
    machine: {
      processor: processors[0]?.model.trim() ?? "unknown",
      cores: processors.length,
      memoryMiB: Math.round(totalmem() / 2 ** 20),
      system: `${platform()} ${release()}`,
      loadBefore,
      loadAfter: loadavg()[0] ?? 0
    },
    milliseconds: { warmUp, onTheClock },
    versions: versions(bench),
    results: results.sort((left, right) => left.nanosecondsPerOp.median - right.nanosecondsPerOp.median)
  }
}

/**
 * One contestant in a process of its own; answers the time and the processor's time for one operation, or why it cannot compete.
 *
 * @param {import("./benches.mjs").Bench} bench
 * @param {string} name
 * @param {readonly string[]} how milliseconds of warm-up, milliseconds on the clock, the variant if there is one
 * @returns {Promise<Sample | string>}
 */
function measure(bench, name, how) {
  return new Promise((resolve, reject) => {
    const script = fileURLToPath(new URL("measure.mjs", import.meta.url))
    const child = fork(script, [compiledFile(bench, name), ...how], {
      cwd: bench.folder,
      execArgv: ["--expose-gc"],
      env: { ...process.env, NODE_ENV: "production" },
      stdio: ["ignore", "pipe", "pipe", "ipc"]
    })
    /** @type {Buffer[]} */
    const printed = []
    child.stdout?.on("data", (chunk) => printed.push(chunk))
    child.stderr?.on("data", (chunk) => printed.push(chunk))
    /** @type {Sample | string | undefined} */
    let sample
    child.on("message", (message) => {
      if (typeof message === "object" && message !== null && "leftOut" in message) sample = String(message.leftOut)
      if (typeof message === "object" && message !== null && "nanosecondsPerOp" in message) {
        sample = {
          nanosecondsPerOp: Number(message.nanosecondsPerOp),
          processorNanosecondsPerOp: Number(Reflect.get(message, "processorNanosecondsPerOp"))
        }
        // It has been torn down and said all it has to say; a timer that it left running would keep it.
        child.kill("SIGKILL")
      }
    })
    child.on("error", reject)
    child.on("close", (code) => {
      if (sample !== undefined) return resolve(sample)
      const output = Buffer.concat(printed).toString().trim()
      reject(
        new Error(`${bench.name}: contestant "${name}" failed (exit code ${code}) and nothing is reported\n${output}`)
      )
    })
  })
}

/** Node's version and those of the packages that the bench's package names. @param {import("./benches.mjs").Bench} bench */
function versions(bench) {
  /** @param {string} file @returns {{ version: string, dependencies?: object, devDependencies?: object }} */
  const read = (file) => JSON.parse(readFileSync(file, "utf8"))
  const manifest = read(join(bench.folder, "package.json"))
  const names = Object.keys({ ...manifest.dependencies, ...manifest.devDependencies }).sort()
  return {
    node: process.versions.node,
    v8: process.versions.v8,
    ...Object.fromEntries(
      names.map((name) => [name, read(join(bench.folder, "node_modules", name, "package.json")).version])
    )
  }
}
