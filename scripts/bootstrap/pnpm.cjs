// How pnpm is started: exactly the version that package.json pins, fetched by the npx that came with this Node, with a home of
// its own inside node_modules where the user's cannot be written to.
const { accessSync, constants, existsSync, readdirSync, readFileSync, realpathSync } = require("node:fs")
const { homedir } = require("node:os")
const { basename, delimiter, dirname, isAbsolute, join } = require("node:path")
const { readIfThere } = require("./stamp.cjs")
const { StepFailed } = require("./step.cjs")

/**
 * The command line and environment that run the pinned pnpm.
 *
 * @param {string} root the checkout
 * @param {readonly string[]} args pnpm's arguments
 * @param {NodeJS.ProcessEnv} [env]
 * @returns {{ command: string, args: string[], env: NodeJS.ProcessEnv }}
 */
function pnpm(root, args, env = process.env) {
  /** @type {string} */
  const pinned = JSON.parse(readFileSync(join(root, "package.json"), "utf8")).packageManager
  const own = pnpmEnvironment(root, env)
  const fetched = findFetched(own, pinned.slice("pnpm@".length))
  return {
    command: process.execPath,
    args: fetched === undefined ? [findNpx(env), "-y", pinned, ...args] : [fetched, ...args],
    env: own
  }
}

/**
 * The pnpm that an earlier npx has fetched. Asked for an exact version that it has, npx still asks the registry first, which
 * costs a second, and more than a minute of retries without a network.
 *
 * @param {NodeJS.ProcessEnv} env
 * @param {string} version
 * @returns {string | undefined}
 */
function findFetched(env, version) {
  const folder = join(npmCache(env), "_npx")
  if (!existsSync(folder)) return undefined
  for (const name of readdirSync(folder)) {
    const modules = join(folder, name, "node_modules")
    const manifest = readIfThere(join(modules, "pnpm", "package.json"))
    // npm writes its hidden lockfile last: without it the package may be half unpacked.
    if (manifest === undefined || !existsSync(join(modules, ".package-lock.json"))) continue
    if (JSON.parse(manifest).version === version) return join(modules, "pnpm", "bin", "pnpm.cjs")
  }
  return undefined
}

/** @param {NodeJS.ProcessEnv} env */
function findNpx(env) {
  const bin = dirname(process.execPath)
  const started = env.npm_execpath
  const candidates = [
    started !== undefined && basename(started) === "npm-cli.js" ? join(dirname(started), "npx-cli.js") : undefined,
    join(bin, "..", "lib", "node_modules", "npm", "bin", "npx-cli.js"),
    join(bin, "node_modules", "npm", "bin", "npx-cli.js"),
    ...[bin, ...(env.PATH ?? "").split(delimiter)].map((folder) => realPath(join(folder, "npx")))
  ]
  const found = candidates.find((file) => file?.endsWith(".js") && existsSync(file))
  if (found === undefined) {
    throw new StepFailed(
      `cannot find npx beside ${process.execPath}: install npm, which comes with Node, and run this again`
    )
  }
  return found
}

/** @param {string} file @returns {string | undefined} */
function realPath(file) {
  try {
    return realpathSync(file)
  } catch {
    return undefined
  }
}

/** @param {string} root @param {NodeJS.ProcessEnv} env @returns {NodeJS.ProcessEnv} */
function pnpmEnvironment(root, env) {
  /** @type {NodeJS.ProcessEnv} */
  const result = {
    ...env,
    // pnpm and the install scripts find this very Node, whatever stands on PATH.
    PATH: [dirname(process.execPath), env.PATH].filter(Boolean).join(delimiter),
    // npx would print each setting of npm that it does not know, again.
    npm_config_loglevel: "error",
    // Never ask: replace a node_modules that another package manager has made.
    npm_config_confirm_modules_purge: "false"
  }
  // Set for an application's own run, these would leave out the compiler and the tests.
  for (const name of ["NODE_ENV", "npm_config_production", "npm_config_omit", "npm_config_only"]) delete result[name]
  if (existsSync("/bin/sh")) result.npm_config_script_shell ??= "/bin/sh"
  if (homeIsUsable(env)) return result

  const home = join(root, "node_modules", ".cache", "home")
  const settings = env.npm_config_userconfig ?? join(homeOf(env) ?? "", ".npmrc")
  return {
    ...result,
    HOME: home,
    XDG_CACHE_HOME: join(home, ".cache"),
    XDG_CONFIG_HOME: join(home, ".config"),
    XDG_DATA_HOME: join(home, ".local", "share"),
    XDG_STATE_HOME: join(home, ".local", "state"),
    npm_config_cache: join(home, ".npm"),
    npm_config_store_dir: join(home, "store"),
    // A registry or a certificate that the user has configured still counts.
    ...(readable(settings) ? { npm_config_userconfig: settings } : {})
  }
}

/** @param {NodeJS.ProcessEnv} env @returns {string | undefined} */
function homeOf(env) {
  if (env.HOME !== undefined) return env.HOME
  try {
    return homedir()
  } catch {
    return undefined
  }
}

/** @param {NodeJS.ProcessEnv} env */
const npmCache = (env) => env.npm_config_cache ?? join(homeOf(env) ?? "", ".npm")

/** Can npm and pnpm write where they want to write? @param {NodeJS.ProcessEnv} env */
function homeIsUsable(env) {
  const home = homeOf(env)
  if (home === undefined || !isAbsolute(home)) return false
  return [
    npmCache(env),
    join(env.XDG_CACHE_HOME ?? join(home, ".cache"), "pnpm"),
    join(env.XDG_DATA_HOME ?? join(home, ".local", "share"), "pnpm"),
    join(env.XDG_STATE_HOME ?? join(home, ".local", "state"), "pnpm")
  ].every(writable)
}

/** A folder that is not there yet is writable when the nearest one above it is. @param {string} folder @returns {boolean} */
function writable(folder) {
  if (!existsSync(folder)) {
    const above = dirname(folder)
    return above !== folder && writable(above)
  }
  return allowed(folder, constants.W_OK | constants.X_OK)
}

/** @param {string} file */
const readable = (file) => isAbsolute(file) && allowed(file, constants.R_OK)

/** @param {string} path @param {number} mode */
function allowed(path, mode) {
  try {
    accessSync(path, mode)
    return true
  } catch {
    return false
  }
}

module.exports = { pnpm, pnpmEnvironment }
