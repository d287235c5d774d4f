// Compiles the benches of a package into `bench/dist`, inside the package: there its own name and its dependencies resolve.
// Types are stripped and nothing more; that they are right is what `npm run check -- types` says.
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import ts from "typescript"

/** @param {import("./benches.mjs").Bench} bench */
export async function compileBench(bench) {
  const sources = join(bench.folder, "bench")
  const output = join(sources, "dist")
  for (const file of readdirSync(sources, { recursive: true, encoding: "utf8" })) {
    if (!file.endsWith(".ts") || file.endsWith(".d.ts")) continue
    const { outputText } = ts.transpileModule(readFileSync(join(sources, file), "utf8"), {
      fileName: file,
      compilerOptions: {
        target: ts.ScriptTarget.ES2022,
        module: ts.ModuleKind.ESNext,
        verbatimModuleSyntax: true
      }
    })
    const compiled = join(output, file.replace(/\.ts$/, ".js"))
    // Left alone when nothing has changed: another bench of this package may be running from these files.
    if (existsSync(compiled) && readFileSync(compiled, "utf8") === outputText) continue
    mkdirSync(dirname(compiled), { recursive: true })
    writeFileSync(compiled, outputText)
  }
}
