// Dependencies are installed when what they are made from has changed: lockfile, manifests, Node's binary interface, platform.
const { existsSync } = require("node:fs")
const { join } = require("node:path")
const { exclusively } = require("./lock.cjs")
const { pnpm } = require("./pnpm.cjs")
const { fingerprint, packageFolders, readIfThere, readStamp, removeStamp, writeStamp } = require("./stamp.cjs")
const { step } = require("./step.cjs")

const stamp = "installed"

/** What an install is made from. @param {string} root */
function installFingerprint(root) {
  const files = ["package.json", "pnpm-lock.yaml", "pnpm-workspace.yaml", ".npmrc"].concat(
    packageFolders(root).map((name) => `packages/${name}/package.json`)
  )
  return fingerprint([
    process.platform,
    process.arch,
    process.versions.modules,
    ...files.flatMap((file) => [file, readIfThere(join(root, file)) ?? ""])
  ])
}

/** Is everything there that an install with this fingerprint leaves behind? @param {string} root @param {string} wanted */
function isInstalled(root, wanted) {
  return (
    readStamp(root, stamp) === wanted &&
    existsSync(join(root, "node_modules", ".modules.yaml")) &&
    // `npm install`, typed by habit, leaves this file and takes the workspace's packages apart.
    !existsSync(join(root, "node_modules", ".package-lock.json")) &&
    packageFolders(root).every((name) => existsSync(join(root, "packages", name, "node_modules")))
  )
}

/**
 * Installs the dependencies unless they are there.
 *
 * @param {string} root
 * @returns {Promise<string>} the fingerprint of what is installed
 */
async function ensureInstalled(root) {
  const wanted = installFingerprint(root)
  if (isInstalled(root, wanted)) return wanted
  return exclusively(root, async (onStart) => {
    if (isInstalled(root, wanted)) return wanted // by the run that we waited for
    // Removed first: an install that is interrupted leaves no stamp, and the next run does it again.
    removeStamp(root, stamp)
    const { command, args, env } = pnpm(root, [
      "install",
      "--frozen-lockfile",
      "--prefer-offline",
      "--prod=false",
      "--loglevel=info"
    ])
    await step("installing dependencies", command, args, {
      cwd: root,
      env,
      onStart,
      remedy:
        "The first run needs the package registry; after a change of a package.json run `pnpm install` to bring the lockfile up to date."
    })
    writeStamp(root, stamp, wanted)
    return wanted
  })
}

module.exports = { ensureInstalled, installFingerprint, isInstalled }
