// Makes the tarballs that would be published.
import { readdirSync, readFileSync } from "node:fs"
import { createRequire } from "node:module"
import { join } from "node:path"
import { run } from "./check/run.mjs"

const require = createRequire(import.meta.url)
/** @type {typeof import("./bootstrap/pnpm.cjs")} */
const { pnpm } = require("./bootstrap/pnpm.cjs")

/**
 * Packs every package that is not private. The packages have to be compiled.
 *
 * @param {string} root
 * @param {string} folder where the tarballs go
 * @returns {Promise<Array<{ name: string, version: string, file: string }>>}
 */
export async function packAll(root, folder) {
  const packed = []
  for (const directory of readdirSync(join(root, "packages")).sort()) {
    const path = join(root, "packages", directory)
    /** @type {{ name: string, version: string, private?: boolean }} */
    const manifest = JSON.parse(readFileSync(join(path, "package.json"), "utf8"))
    if (manifest.private === true) continue
    // pnpm and not npm: it writes out what `workspace:` and `catalog:` stand for.
    const { command, args, env } = pnpm(root, ["pack", "--pack-destination", folder])
    const { ok, output } = await run(command, args, { cwd: path, env })
    if (!ok) throw new Error(`could not pack ${manifest.name}\n${output}`)
    const file = `${manifest.name.replace("@", "").replace("/", "-")}-${manifest.version}.tgz`
    packed.push({ name: manifest.name, version: manifest.version, file: join(folder, file) })
  }
  return packed
}
