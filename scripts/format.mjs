// Formats every file and applies the lint fixes that are safe.
import { spawnSync } from "node:child_process"
import { fileURLToPath } from "node:url"

const root = fileURLToPath(new URL("..", import.meta.url))
const biome = fileURLToPath(import.meta.resolve("@biomejs/biome/bin/biome"))
const { status } = spawnSync(process.execPath, [biome, "check", "--write", ...process.argv.slice(2)], {
  cwd: root,
  stdio: "inherit"
})
process.exitCode = status ?? 1
