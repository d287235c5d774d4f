// A stamp is a small file that says of what a step's result was made. Equal fingerprint: nothing to do.
const { createHash, randomBytes } = require("node:crypto")
const { mkdirSync, readFileSync, readdirSync, renameSync, rmSync, statSync, writeFileSync } = require("node:fs")
const { dirname, join } = require("node:path")

/** @param {string} root @param {string} name */
const stampFile = (root, name) => join(root, "node_modules", ".cache", "effecto", name)

/** @param {string} root @param {string} name */
const readStamp = (root, name) => readIfThere(stampFile(root, name))

/** Written beside and renamed, so that nobody ever reads half a stamp. @param {string} root @param {string} name @param {string} text */
function writeStamp(root, name, text) {
  const file = stampFile(root, name)
  mkdirSync(dirname(file), { recursive: true })
  const beside = `${file}.${randomBytes(6).toString("hex")}`
  writeFileSync(beside, text)
  renameSync(beside, file)
}

/** @param {string} root @param {string} name */
const removeStamp = (root, name) => rmSync(stampFile(root, name), { force: true })

/** @param {readonly string[]} parts */
function fingerprint(parts) {
  const hash = createHash("sha256")
  for (const part of parts) hash.update(`${part.length}:${part}`)
  return hash.digest("hex")
}

/** @param {string} file @returns {string | undefined} */
function readIfThere(file) {
  try {
    return readFileSync(file, "utf8")
  } catch {
    return undefined
  }
}

/** The folders below `packages/`, sorted. @param {string} root */
function packageFolders(root) {
  return readdirSync(join(root, "packages"), { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => entry.name)
    .sort()
}

/**
 * Every file below a folder as path, size and time of change: what a change of any file changes, at the price of a stat each.
 *
 * @param {string} folder
 * @returns {string[]}
 */
function filesBelow(folder) {
  /** @type {import("node:fs").Dirent[]} */
  let entries
  try {
    entries = readdirSync(folder, { withFileTypes: true })
  } catch {
    return []
  }
  return entries.flatMap((entry) => {
    const path = join(folder, entry.name)
    if (entry.isDirectory()) return filesBelow(path)
    return [fileTrace(path)]
  })
}

/** @param {string} path */
function fileTrace(path) {
  const { mtimeMs, size } = statSync(path)
  return `${path} ${size} ${mtimeMs}`
}

module.exports = {
  fileTrace,
  filesBelow,
  fingerprint,
  packageFolders,
  readIfThere,
  readStamp,
  removeStamp,
  stampFile,
  writeStamp
}
