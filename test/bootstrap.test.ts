import { existsSync, readdirSync, readFileSync } from "node:fs"
import { createRequire } from "node:module"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import ts from "typescript"
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest"
import { Checkout } from "./bootstrap/checkout.js"

const require = createRequire(import.meta.url)
const { pnpmEnvironment }: typeof import("../scripts/bootstrap/pnpm.cjs") = require("../scripts/bootstrap/pnpm.cjs")
const { isAlive }: typeof import("../scripts/bootstrap/lock.cjs") = require("../scripts/bootstrap/lock.cjs")

let checkout: Checkout
beforeEach(() => {
  checkout = new Checkout()
})
afterEach(() => checkout.close())

describe("the first run", () => {
  it("installs, compiles and starts, with the arguments it was given", async () => {
    expect(await checkout.start("a", "b")).toEqual({ code: 0, stdout: "", stderr: "" })
    expect(checkout.log()).toEqual(["install", "compile", "start a b"])
  })

  it("shows everything that a failing install prints, and installs again the next time", async () => {
    checkout.write("pnpm-fails", "")
    const { code, stderr } = await checkout.start()
    expect([code, stderr.split("\n").slice(0, 2)]).toEqual([
      1,
      ["installing dependencies: exit code 1", "the registry says no"]
    ])
    checkout.remove("pnpm-fails")
    expect((await checkout.start()).code).toBe(0)
    expect(checkout.log()).toEqual(["install", "install", "compile", "start"])
  })

  it("installs once when two run at the same time", async () => {
    const both = await Promise.all([checkout.start(), checkout.start()])
    expect(both.map(({ code }) => code)).toEqual([0, 0])
    expect(checkout.log().sort()).toEqual(["compile", "install", "start", "start"])
  })

  it("takes over from one that was killed while it installed, once what that one started is gone", async () => {
    checkout.write("pnpm-hangs", "")
    const killed = checkout.spawn("scripts/bootstrap.cjs", "start")
    const pid = await hangingInstall()
    killed.kill("SIGKILL")
    checkout.remove("pnpm-hangs")
    checkout.log()
    const next = checkout.spawn("scripts/bootstrap.cjs", "start")
    const exitCode = new Promise((resolve) => next.on("close", resolve))
    const said = await new Promise((resolve) => next.stderr?.setEncoding("utf8").once("data", resolve))
    expect([said, checkout.log()]).toEqual(["waiting for another run to finish setting up … ", []])
    process.kill(pid, "SIGKILL")
    expect(await exitCode).toBe(0)
    expect(checkout.log()).toEqual(["install", "compile", "start"])
    expect(readdirSync(join(checkout.folder, "node_modules/.cache/effecto")).sort()).toEqual(["built", "installed"])
  })

  it("stops the install when it is interrupted", async () => {
    checkout.write("pnpm-hangs", "")
    const interrupted = checkout.spawn("scripts/bootstrap.cjs", "start")
    const ended = new Promise((resolve) => interrupted.on("exit", resolve))
    const pid = await hangingInstall()
    interrupted.kill("SIGINT")
    expect(await ended).toBe(130)
    await vi.waitUntil(() => !isAlive(pid), patience)
  })
})

const patience = { timeout: 15_000 }

/** The process id of the made-up pnpm, once it hangs. */
const hangingInstall = () =>
  vi.waitUntil(() => {
    const log = join(checkout.folder, "log")
    return existsSync(log) && Number(readFileSync(log, "utf8").split("\n")[1])
  }, patience)

describe("a later run", () => {
  beforeEach(async () => {
    await checkout.start()
    checkout.log()
  })

  it("only starts", async () => {
    expect(await checkout.start()).toEqual({ code: 0, stdout: "", stderr: "" })
    expect(checkout.log()).toEqual(["start"])
  })

  it.each([
    ["the lockfile has changed", () => checkout.append("pnpm-lock.yaml", "\n")],
    ["a manifest has changed", () => checkout.append("packages/example/package.json", "\n")],
    ["npm has been here", () => checkout.write("node_modules/.package-lock.json", "{}")],
    ["a package has lost its dependencies", () => checkout.remove("packages/example/node_modules")]
  ])("installs again when %s", async (_, change) => {
    change()
    await checkout.start()
    expect(checkout.log()[0]).toBe("install")
  })

  it.each([
    ["a source has changed", () => checkout.append("packages/example/src/main.ts", "\n")],
    ["there is a new source", () => checkout.write("packages/example/src/other.ts", "")],
    ["a compiler setting has changed", () => checkout.append("tsconfig.base.json", "\n")],
    ["the compiled files are gone", () => checkout.remove("packages/example/dist")]
  ])("compiles again when %s", async (_, change) => {
    change()
    await checkout.start()
    expect(checkout.log()).toEqual(["compile", "start"])
  })

  it("installs again after a later install has failed", async () => {
    checkout.append("pnpm-lock.yaml", "\n")
    checkout.write("pnpm-fails", "")
    expect((await checkout.start()).code).toBe(1)
    checkout.remove("pnpm-fails")
    expect((await checkout.start()).code).toBe(0)
    expect(checkout.log()).toEqual(["install", "install", "compile", "start"])
  })

  it("removes what was compiled from a source that is gone", async () => {
    checkout.write("packages/example/dist/old/gone.d.ts", "")
    checkout.append("packages/example/src/main.ts", "\n")
    await checkout.start()
    expect(readdirSync(join(checkout.folder, "packages/example/dist/old"))).toEqual([])
    expect(readdirSync(join(checkout.folder, "packages/example/dist"))).toContain("main.js")
  })
})

describe("a task", () => {
  it("that does not exist is refused with the list of those that do", async () => {
    const { code, stderr } = await checkout.run("scripts/bootstrap.cjs", "tset")
    expect([code, stderr.split("\n")[0]]).toEqual([1, 'there is no task "tset"; the tasks are'])
    expect(stderr).toMatch(/^ {2}npm run test /m)
    expect(checkout.log()).toEqual([])
  })

  it.each([
    ["18.20.4", false],
    ["20.18.3", false],
    ["20.19.0", true],
    ["22.0.0", true]
  ])("on Node %s runs: %s", async (version, runs) => {
    const pretend = `Object.defineProperty(process, "versions", { value: { ...process.versions, node: "${version}" } })`
    checkout.write("pretend.cjs", pretend)
    const result = await checkout.run("--require", "./pretend.cjs", "scripts/bootstrap.cjs", "start")
    const refusal = `Effecto needs Node 20.19 or newer, and this is Node ${version}.\n`
    expect(result).toEqual({ code: runs ? 0 : 1, stdout: "", stderr: runs ? "" : refusal })
  })
})

describe("bootstrap.cjs", () => {
  it("is plain enough for any Node to read as far as its message", () => {
    const source = readFileSync(fileURLToPath(new URL("../scripts/bootstrap.cjs", import.meta.url)), "utf8")
    const compile = (target: ts.ScriptTarget) => ts.transpileModule(source, { compilerOptions: { target } }).outputText
    // Whatever is newer than ES5, the compiler would have to rewrite.
    expect(compile(ts.ScriptTarget.ES5)).toBe(compile(ts.ScriptTarget.ESNext))
  })
})

describe("pnpmEnvironment", () => {
  it("leaves a home alone that can be written to", () => {
    const env = pnpmEnvironment("/checkout", { HOME: checkout.folder, PATH: "" })
    expect([env.HOME, env.npm_config_cache]).toEqual([checkout.folder, undefined])
  })

  it.each([
    ["is empty", { HOME: "" }],
    ["cannot be written to", { HOME: "/dev/null/home" }],
    ["has a cache that cannot", { npm_config_cache: "/dev/null/cache" }]
  ])("keeps everything inside node_modules when the home %s", (_, settings) => {
    const env = pnpmEnvironment("/checkout", { HOME: checkout.folder, PATH: "", ...settings })
    const home = "/checkout/node_modules/.cache/home"
    expect([env.HOME, env.npm_config_cache, env.npm_config_store_dir]).toEqual([home, `${home}/.npm`, `${home}/store`])
  })

  it("still reads the user's settings from a home that can only be read", () => {
    checkout.write(".npmrc", "")
    const env = pnpmEnvironment("/checkout", { HOME: checkout.folder, PATH: "", XDG_DATA_HOME: "/dev/null/data" })
    expect(env.npm_config_userconfig).toBe(join(checkout.folder, ".npmrc"))
  })

  it("installs what is needed for development, whatever the application's own settings are", () => {
    const env = pnpmEnvironment("/checkout", { HOME: checkout.folder, NODE_ENV: "production", npm_config_omit: "dev" })
    expect([env.NODE_ENV, env.npm_config_omit]).toEqual([undefined, undefined])
  })
})
