// One run at a time installs or builds; the others wait. The lock is a file created exclusively; its owner touches it while it
// lives, and names in it the child that does the work, which may outlive an owner that was killed.
const { randomBytes } = require("node:crypto")
const { mkdirSync, rmSync, rmdirSync, statSync, utimesSync, writeFileSync } = require("node:fs")
const { hostname } = require("node:os")
const { dirname } = require("node:path")
const { readIfThere, stampFile } = require("./stamp.cjs")

const heartbeat = 2_000
const silence = 20_000

/** @typedef {{ id: string, host: string, pid: number, child?: number }} Owner */

/**
 * Runs `work` while no other process of this checkout does.
 *
 * @template A
 * @param {string} root
 * @param {(onStart: (pid: number) => void) => Promise<A>} work gets a function to name the child process that it starts
 * @returns {Promise<A>}
 */
async function exclusively(root, work) {
  const file = stampFile(root, "lock")
  mkdirSync(dirname(file), { recursive: true })
  /** @type {Owner} */
  const owner = { id: randomBytes(8).toString("hex"), host: hostname(), pid: process.pid }
  await acquire(file, owner)
  const beat = setInterval(() => touch(file), heartbeat)
  try {
    return await work((child) => writeFileSync(file, JSON.stringify({ ...owner, child })))
  } finally {
    clearInterval(beat)
    rmSync(file, { force: true })
  }
}

/** @param {string} file @param {Owner} owner */
async function acquire(file, owner) {
  let announced = false
  for (let waited = 0; ; waited += 100) {
    try {
      writeFileSync(file, JSON.stringify(owner), { flag: "wx" })
      if (announced) process.stderr.write("done\n")
      return
    } catch (error) {
      if (!(error instanceof Error && "code" in error && error.code === "EEXIST")) throw error
    }
    const holder = readIfThere(file)
    if (holder !== undefined && isStale(file, holder)) {
      breakLock(file, holder)
      continue
    }
    if (waited >= 1000 && !announced) {
      announced = true
      process.stderr.write("waiting for another run to finish setting up … ")
    }
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
}

/** @param {string} file @param {string} text what the lock file says */
function isStale(file, text) {
  const silent = Date.now() - modified(file) > silence
  /** @type {Owner} */
  let holder
  try {
    holder = JSON.parse(text)
  } catch {
    return silent // created and not yet written
  }
  // A process id means nothing on another machine or in another container, and after a reboot it may be somebody else's.
  if (holder.host !== hostname()) return silent
  if (holder.child !== undefined && isAlive(holder.child)) return false
  return !isAlive(holder.pid) || silent
}

/**
 * Removes the lock of a dead owner. Two waiters may both have seen it dead, and the slower one must not remove the lock that
 * the faster one has taken since: whoever removes holds a folder named after the dead owner while it looks again and removes.
 *
 * @param {string} file
 * @param {string} seen
 */
function breakLock(file, seen) {
  const claim = `${file}.${fileNameOf(seen)}`
  try {
    mkdirSync(claim)
  } catch {
    if (Date.now() - modified(claim) > silence) rmSync(claim, { recursive: true, force: true })
    return
  }
  try {
    if (readIfThere(file) === seen) rmSync(file, { force: true })
  } finally {
    rmdirSync(claim)
  }
}

/** @param {string} text */
const fileNameOf = (text) => Buffer.from(text).toString("hex").slice(0, 64)

/** @param {string} file */
function modified(file) {
  try {
    return statSync(file).mtimeMs
  } catch {
    return Date.now()
  }
}

/** @param {string} file */
function touch(file) {
  try {
    const now = new Date()
    utimesSync(file, now, now)
  } catch {
    // Somebody removed node_modules meanwhile; the step that is running will say so.
  }
}

/** @param {number} pid */
function isAlive(pid) {
  try {
    process.kill(pid, 0)
  } catch (error) {
    return error instanceof Error && "code" in error && error.code === "EPERM"
  }
  // One that has ended and that nobody has buried, as in a container whose first process does not care, still takes signals.
  return !/\) Z /.test(readIfThere(`/proc/${pid}/stat`) ?? "")
}

module.exports = { exclusively, isAlive }
