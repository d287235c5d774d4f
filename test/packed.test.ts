import { execFile, execFileSync } from "node:child_process"
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs"
import { createRequire } from "node:module"
import { tmpdir } from "node:os"
import { dirname, join, posix } from "node:path"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { packAll } from "../scripts/pack.mjs"
import { readTarball } from "./packed/tarball.js"

const root = fileURLToPath(new URL("..", import.meta.url))
const { pnpm }: typeof import("../scripts/bootstrap/pnpm.cjs") = createRequire(import.meta.url)(
  "../scripts/bootstrap/pnpm.cjs"
)

interface Manifest {
  readonly name: string
  readonly exports: Record<string, string | { readonly types: string; readonly default: string }>
  readonly dependencies?: Record<string, string>
  readonly peerDependencies?: Record<string, string>
}

let folder: string
let packages: Array<{ name: string; file: string; files: Map<string, string>; manifest: Manifest }>
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "effecto-packed-"))
  const tarballs = await packAll(root, folder)
  packages = tarballs.map(({ name, file }) => {
    const files = readTarball(file)
    return { name, file, files, manifest: JSON.parse(files.get("package.json") ?? "{}") }
  })
}, 60_000)
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** `@effect/sql/SqlClient` is imported from `@effect/sql`. */
const packageOf = (specifier: string) => specifier.split("/", specifier.startsWith("@") ? 2 : 1).join("/")

const importsOf = (text: string) =>
  [...text.replaceAll(/\/\*.*?\*\//gs, "").matchAll(/(?:\bfrom |\bimport\(|\bimport )"([^"$]+)"/g)].map(
    ([, specifier]) => specifier ?? ""
  )

describe("a packed package", () => {
  it("is each package that is not private", () => {
    expect(packages.map(({ name }) => name)).toEqual(["@effecto/cache", "@effecto/core"])
  })

  it("holds its sources, what was compiled from them, its license, and nothing else", () => {
    for (const { files } of packages) {
      const sources = [...files.keys()].filter((file) => /^src\/.+\.ts$/.test(file))
      const compiled = sources.flatMap((file) =>
        [".js", ".js.map", ".d.ts", ".d.ts.map"].map((end) => file.replace(/^src(.+)\.ts$/, `dist$1${end}`))
      )
      const others = [...files.keys()].filter((file) => !sources.includes(file) && !compiled.includes(file))
      expect(compiled.filter((file) => !files.has(file))).toEqual([])
      expect(others.filter((file) => file !== "README.md").sort()).toEqual(["LICENSE", "package.json"])
      expect([...files.keys()].filter((file) => /test|bench|\.tst\./i.test(file)).sort()).toEqual(
        sources
          .concat(compiled)
          .filter((file) => /\/(testing|TestSupervision)\./.test(file))
          .sort()
      )
    }
  })

  it("exports files that it holds", () => {
    for (const { files, manifest } of packages) {
      const targets = Object.values(manifest.exports).flatMap((target) =>
        typeof target === "string" ? [target] : [target.types, target.default]
      )
      expect(targets.filter((target) => !files.has(target.replace("./", "")))).toEqual([])
    }
  })

  it("says which versions it works with, without a word that only the workspace understands", () => {
    for (const { manifest } of packages) {
      const ranges = Object.values({ ...manifest.dependencies, ...manifest.peerDependencies })
      expect(ranges.filter((range) => /workspace|catalog|link|file/.test(range))).toEqual([])
    }
  })

  it("imports only what it declares, in its code and in its types", () => {
    for (const { files, manifest } of packages) {
      const declared = Object.keys({ ...manifest.dependencies, ...manifest.peerDependencies })
      const undeclared = [...files]
        .filter(([file]) => /^dist\/.+\.(js|d\.ts)$/.test(file))
        .flatMap(([file, text]) => importsOf(text).map((specifier) => ({ file, specifier })))
        .filter(({ specifier }) => !specifier.startsWith(".") && !specifier.startsWith("node:"))
        .filter(({ specifier }) => !declared.includes(packageOf(specifier)))
      expect(undeclared).toEqual([])
    }
  })

  it("has maps that lead to the sources it ships", () => {
    for (const { files } of packages) {
      for (const [file, text] of files) {
        if (!file.endsWith(".map")) continue
        const { sources }: { sources: string[] } = JSON.parse(text)
        expect(sources.map((source) => files.has(posix.join(dirname(file), source)))).toEqual([true])
      }
    }
  })
})

const program = `
import { Cache } from "@effecto/cache"
import * as CacheAlone from "@effecto/cache/Cache"
import { Supervised, SupervisionTree, TestSupervision } from "@effecto/core"
import * as SupervisionTreeAlone from "@effecto/core/SupervisionTree"
import { Context, Effect, Logger, LogLevel, Option } from "effect"

class Squares extends Context.Tag("Squares")<Squares, Cache.Cache<number, number>>() {}
const lookup = (n: number) => Effect.succeed(Option.some(n * n))
const SquaresLive = CacheAlone.layer(Squares, { name: "squares", idle: "1 minute", lookup }).pipe(
  Supervised.layer({ id: "squares" }),
  SupervisionTree.layer({ name: "app" })
)
const program = Effect.gen(function* () {
  const squares = yield* Squares
  console.log(yield* squares.fetch(7))
  yield* TestSupervision.crash("app/squares")
  console.log(yield* squares.fetch(8))
})
Effect.runPromise(program.pipe(SupervisionTree.provide(SquaresLive), Logger.withMinimumLogLevel(LogLevel.None)))
console.log(CacheAlone.make === Cache.make, SupervisionTreeAlone.layer === SupervisionTree.layer)
`

describe("an empty project that installs the tarballs", () => {
  let project: string
  const run = (...args: string[]) =>
    promisify(execFile)(process.execPath, args, { cwd: project, encoding: "utf8" }).then(
      ({ stdout }) => stdout,
      (error: { stdout: string; stderr: string }) => error.stdout + error.stderr
    )

  beforeAll(() => {
    project = join(folder, "project")
    mkdirSync(project)
    const tarballs = Object.fromEntries(packages.map(({ name, file }) => [name, `file:${file}`]))
    // The peers are linked from here, so that nothing is asked of a registry and the test passes without a network.
    const linked = (from: string, ...names: string[]) =>
      Object.fromEntries(names.map((name) => [name, `link:${join(root, from, "node_modules", name)}`]))
    const peers = Object.keys(packages.find(({ name }) => name === "@effecto/core")?.manifest.peerDependencies ?? {})
    writeFileSync(
      join(project, "package.json"),
      JSON.stringify({
        name: "project",
        private: true,
        type: "module",
        dependencies: {
          ...tarballs,
          ...linked("packages/core", ...peers.filter((name) => !name.startsWith("@embedded")))
        },
        devDependencies: linked(".", "@types/node"),
        // @effecto/cache asks for a version of @effecto/core that is not published yet.
        pnpm: { overrides: tarballs }
      })
    )
    const install = pnpm(root, ["install", "--offline", "--ignore-workspace", "--no-frozen-lockfile"])
    execFileSync(install.command, install.args, { cwd: project, env: install.env, stdio: ["ignore", "pipe", "pipe"] })
  }, 60_000)

  it("gets no PostgreSQL server that it did not ask for", () => {
    expect(readdirSync(join(project, "node_modules", ".pnpm")).filter((name) => name.includes("postgres"))).toEqual([])
  })

  it("imports every module alone", async () => {
    const specifiers = packages.flatMap(({ manifest }) =>
      Object.entries(manifest.exports)
        .filter(([, target]) => typeof target !== "string")
        .map(([subpath]) => posix.join(manifest.name, subpath))
    )
    // One process each: whatever another module has loaded before would hide that one cannot stand alone.
    const report = (specifier: string) => `console.log(Object.keys(await import("${specifier}")).length > 0)`
    const answers = await Promise.all(specifiers.map((each) => run("--input-type=module", "--eval", report(each))))
    expect(specifiers.filter((_, index) => answers[index] !== "true\n")).toEqual([])
  }, 60_000)

  it("compiles and runs a program that uses both packages", async () => {
    writeFileSync(join(project, "program.ts"), program)
    const compiler = join(root, "node_modules", "typescript", "bin", "tsc")
    const strict = ["--strict", "--exactOptionalPropertyTypes", "--skipLibCheck"]
    const modern = ["--target", "es2022", "--lib", "es2023", "--module", "nodenext", "--types", "node"]
    expect(await run(compiler, ...strict, ...modern, "program.ts")).toBe("")
    expect(await run("program.js")).toBe("true true\n49\n64\n")
  }, 60_000)
})
