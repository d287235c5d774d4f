// Packages are compiled when a source, a manifest, a compiler setting or the installed compiler has changed.
const { existsSync, readdirSync, rmSync } = require("node:fs")
const { join } = require("node:path")
const { exclusively } = require("./lock.cjs")
const {
  fileTrace,
  filesBelow,
  fingerprint,
  packageFolders,
  readStamp,
  removeStamp,
  writeStamp
} = require("./stamp.cjs")
const { step } = require("./step.cjs")

const stamp = "built"

/** @param {string} root @param {string} installed the fingerprint of the installed dependencies */
function buildFingerprint(root, installed) {
  const settings = ["tsconfig.base.json", "tsconfig.build.json"].map((file) => join(root, file))
  const sources = packageFolders(root).flatMap((name) => [
    fileTrace(join(root, "packages", name, "tsconfig.json")),
    ...filesBelow(join(root, "packages", name, "src"))
  ])
  return fingerprint([installed, ...settings.map(fileTrace), ...sources])
}

/** @param {string} root @param {string} wanted */
function isBuilt(root, wanted) {
  return (
    readStamp(root, stamp) === wanted &&
    packageFolders(root).every((name) => existsSync(join(root, "packages", name, "dist", ".tsbuildinfo")))
  )
}

/**
 * Compiles the packages unless they are compiled.
 *
 * @param {string} root
 * @param {string} installed the fingerprint of the installed dependencies
 * @returns {Promise<void>}
 */
async function ensureBuilt(root, installed) {
  // Taken before the compiler starts: what is edited while it runs is compiled by the next run.
  const wanted = buildFingerprint(root, installed)
  if (isBuilt(root, wanted)) return
  await exclusively(root, async (onStart) => {
    if (isBuilt(root, wanted)) return // by the run that we waited for
    removeStamp(root, stamp)
    for (const name of packageFolders(root)) removeOrphans(join(root, "packages", name))
    const compiler = join(root, "node_modules", "typescript", "bin", "tsc")
    await step("compiling the packages", process.execPath, [compiler, "-b", "tsconfig.build.json"], {
      cwd: root,
      onStart
    })
    writeStamp(root, stamp, wanted)
  })
}

/** The compiler leaves the output of a source that is gone; it must neither be imported nor published. @param {string} folder */
function removeOrphans(folder) {
  const dist = join(folder, "dist")
  if (!existsSync(dist)) return
  for (const output of readdirSync(dist, { recursive: true, encoding: "utf8" })) {
    const source = /^(.*)\.(?:js|js\.map|d\.ts|d\.ts\.map)$/.exec(output)?.[1]
    if (source !== undefined && !existsSync(join(folder, "src", `${source}.ts`))) rmSync(join(dist, output))
  }
}

module.exports = { buildFingerprint, ensureBuilt, isBuilt }
