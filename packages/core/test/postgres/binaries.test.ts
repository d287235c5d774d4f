import { execFileSync } from "node:child_process"
import { chmodSync, cpSync, existsSync, lstatSync, mkdtempSync, readdirSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterEach, beforeEach, describe, expect, it, vi } from "@effect/vitest"
import { findNative, makeFolder, ownerOfServer, runnableNative } from "../../src/postgres/binaries.js"

const asRoot = process.getuid?.() === 0
const native = findNative()
const owner = ownerOfServer()

describe("makeFolder", () => {
  it.runIf(asRoot)("is in /tmp when the server's user could not remove it from the temporary folder in the end", () => {
    const closed = mkdtempSync(join(tmpdir(), "closed-"))
    chmodSync(closed, 0o755)
    vi.stubEnv("TMPDIR", closed)
    try {
      const folder = makeFolder(owner === "missing" ? undefined : owner)
      rmSync(folder, { recursive: true })
      expect(folder).toMatch(/^\/tmp\/effecto-pg-/)
    } finally {
      vi.unstubAllEnvs()
      rmSync(closed, { recursive: true })
    }
  })

  it("is in /tmp when there is no such temporary folder, and absolute when that is named relatively", () => {
    for (const [named, expected] of [
      ["/proc/nowhere", /^\/tmp\/effecto-pg-/],
      [".", /^\/.*effecto-pg-/]
    ] as const) {
      vi.stubEnv("TMPDIR", named)
      try {
        const folder = makeFolder(owner === "missing" ? undefined : owner)
        rmSync(folder, { recursive: true })
        expect(folder).toMatch(expected)
      } finally {
        vi.unstubAllEnvs()
      }
    }
  })

  it("is in /tmp when a socket's path in the temporary folder would be too long", () => {
    const long = mkdtempSync(join(tmpdir(), "a".repeat(90)))
    vi.stubEnv("TMPDIR", long)
    try {
      const folder = makeFolder(owner === "missing" ? undefined : owner)
      rmSync(folder, { recursive: true })
      expect(folder).toMatch(/^\/tmp\/effecto-pg-/)
    } finally {
      vi.unstubAllEnvs()
      rmSync(long, { recursive: true })
    }
  })
})

describe.runIf(native !== undefined && owner !== "missing")("runnableNative", () => {
  const someone = owner === "missing" ? undefined : owner
  let folder: string
  beforeEach(() => {
    folder = makeFolder(someone)
  })
  afterEach(() => rmSync(folder, { recursive: true }))

  const versionIn = (place: string) =>
    execFileSync(join(place, "bin", "postgres"), ["--version"], { cwd: "/", encoding: "utf8", ...someone })

  it("is the installed folder when the server's user can run what is in it", () => {
    const runnable = runnableNative(native ?? "", folder, someone)
    expect(versionIn(runnable)).toMatch(/^postgres \(PostgreSQL\) \d+/)
    expect(readdirSync(folder)).toEqual(runnable === native ? [] : ["native"])
  })

  it("is a copy with its shared libraries linked when the installation linked none", () => {
    const bare = join(folder, "installed", "native")
    cpSync(native ?? "", bare, { recursive: true, filter: (path) => !lstatSync(path).isSymbolicLink() })
    const runnable = runnableNative(bare, folder, someone)
    expect(runnable).toBe(join(folder, "native"))
    expect(versionIn(runnable)).toMatch(/^postgres \(PostgreSQL\) \d+/)
  })

  it.runIf(asRoot)("is a copy when the installation lies below a folder that only root may enter", () => {
    const hidden = mkdtempSync(join(tmpdir(), "hidden-"))
    try {
      const place = join(hidden, "node_modules", "native")
      cpSync(native ?? "", place, { recursive: true, verbatimSymlinks: true })
      chmodSync(hidden, 0o700)
      expect(() => versionIn(place)).toThrow("EACCES")
      const runnable = runnableNative(place, folder, someone)
      expect(runnable).toBe(join(folder, "native"))
      expect(versionIn(runnable)).toMatch(/^postgres \(PostgreSQL\) \d+/)
      rmSync(folder, { recursive: true })
      expect(existsSync(folder)).toBe(false)
    } finally {
      rmSync(hidden, { recursive: true })
      folder = makeFolder(someone)
    }
  })
})
