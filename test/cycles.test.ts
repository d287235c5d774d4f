import { execFileSync } from "node:child_process"
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { describe, expect, it } from "vitest"
import { bin } from "../scripts/check/run.mjs"

const root = fileURLToPath(new URL("..", import.meta.url))

/** What the repository's own lint rules say about modules that stand beside each other. */
function lint(modules: Record<string, string>): string {
  const folder = mkdtempSync(join(tmpdir(), "effecto-cycles-"))
  try {
    const { $schema: _, vcs: __, ...rules } = JSON.parse(readFileSync(join(root, "biome.json"), "utf8"))
    writeFileSync(join(folder, "biome.json"), JSON.stringify(rules))
    for (const [name, text] of Object.entries(modules)) writeFileSync(join(folder, name), text)
    const args = [bin("@biomejs/biome", "biome"), "lint", "--only=suspicious/noImportCycles"]
    return execFileSync(process.execPath, args, { cwd: folder, encoding: "utf8", stdio: "pipe" })
  } catch (error) {
    return error instanceof Error && "stderr" in error ? String(error.stderr) : String(error)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

const open = 'export const name = "c"\n'

describe("circular imports", () => {
  it("are found round a corner", () => {
    const messages = lint({
      "a.ts": 'import { b } from "./b.js"\nexport const a = () => b\n',
      "b.ts": 'import { c } from "./c.js"\nexport const b = () => c\n',
      "c.ts": `import { a } from "./a.js"\nexport const c = () => a\n${open}`
    })
    expect(messages).toContain("lint/suspicious/noImportCycles")
  })

  it("are not seen where there are none", () => {
    const messages = lint({
      "a.ts": 'import { b } from "./b.js"\nimport { name } from "./c.js"\nexport const a = () => [b, name]\n',
      "b.ts": 'import { name } from "./c.js"\nexport const b = () => name\n',
      "c.ts": open
    })
    expect(messages).not.toContain("lint/suspicious/noImportCycles")
  })
})
