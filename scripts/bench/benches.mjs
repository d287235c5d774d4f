// The benches of a checkout: folders with a `bench.ts`, named `<package>/<bench>`.
import { existsSync, readdirSync } from "node:fs"
import { join } from "node:path"
import { pathToFileURL } from "node:url"

/**
 * @typedef {object} Bench
 * @property {string} name `cache/hit`
 * @property {string} folder its package's folder
 * @property {string} path the bench's folder below the package's `bench`
 * @property {string[]} contestants their names, sorted
 */

/** @param {string} root the folder that holds `packages` @returns {Bench[]} */
export function findBenches(root) {
  const packages = join(root, "packages")
  return readdirSync(packages)
    .sort()
    .flatMap((name) => {
      const folder = join(packages, name)
      return benchFolders(join(folder, "bench"), "").map((path) => ({
        name: `${name}/${path}`,
        folder,
        path,
        contestants: readdirSync(join(folder, "bench", path))
          .filter((file) => file.endsWith(".ts") && file !== "bench.ts")
          .map((file) => file.slice(0, -".ts".length))
          .sort()
      }))
    })
}

/** @param {string} folder @param {string} below @returns {string[]} */
function benchFolders(folder, below) {
  const here = join(folder, below)
  if (!existsSync(here)) return []
  const found = below !== "" && existsSync(join(here, "bench.ts")) ? [below] : []
  const deeper = readdirSync(here, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && entry.name !== "dist" && entry.name !== "node_modules")
    .flatMap((entry) => benchFolders(folder, below === "" ? entry.name : `${below}/${entry.name}`))
  return [...found, ...deeper].sort()
}

/** Where a file of a bench is after it was compiled. @param {Bench} bench @param {string} file its name without extension */
export const compiledFile = (bench, file) => join(bench.folder, "bench", "dist", bench.path, `${file}.js`)

/** @param {Bench} bench a compiled one @returns {Promise<import("./Contestant.js").Question>} */
export async function loadQuestion(bench) {
  const { default: question } = await import(pathToFileURL(compiledFile(bench, "bench")).href)
  for (const key of ["question", "baseline", "doesNotShow"]) {
    if (typeof question?.[key] !== "string") {
      throw new Error(`${bench.name}: the default export of bench.ts needs a text "${key}"`)
    }
  }
  return question
}
