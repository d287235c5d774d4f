import { readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import type { TestProjectConfiguration } from "vitest/config"

const root = fileURLToPath(new URL(".", import.meta.url))

/** Tests run on the sources: `@effecto/core/X` is what package.json exports under `./X`, before it is compiled. */
const sources = ["core", "cache"].flatMap((folder) => {
  const manifest: { name: string; exports: Record<string, string | { default: string }> } = JSON.parse(
    readFileSync(`${root}packages/${folder}/package.json`, "utf8")
  )
  return Object.entries(manifest.exports).flatMap(([subpath, target]) =>
    typeof target === "string"
      ? []
      : [
          {
            find: new RegExp(`^${manifest.name}${subpath.slice(1)}$`),
            replacement: `${root}packages/${folder}/${target.default.replace("./dist/", "src/").replace(/\.js$/, ".ts")}`
          }
        ]
  )
})

const project = (name: string, folder: string): TestProjectConfiguration => ({
  resolve: { alias: sources },
  test: { name, root: `${root}${folder}`, include: ["test/**/*.test.ts"], testTimeout: 20_000 }
})

export default [
  project("core", "packages/core"),
  project("cache", "packages/cache"),
  project("example", "packages/example"),
  project("workspace", ".")
]
