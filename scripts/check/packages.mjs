// Packs the packages as they would be published and lets publint and are-the-types-wrong look at the tarballs.
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { packAll } from "../pack.mjs"
import { bin, run } from "./run.mjs"

/** @param {string} root @returns {Promise<import("./run.mjs").Outcome>} */
export async function checkPackages(root) {
  const folder = mkdtempSync(join(tmpdir(), "effecto-packages-"))
  try {
    const tarballs = await packAll(root, folder)
    let ok = true
    let output = ""
    for (const { name, file } of tarballs) {
      for (const [tool, args] of /** @type {Array<[string, string[]]>} */ ([
        ["publint", [bin("publint"), file, "--strict"]],
        ["attw", [bin("@arethetypeswrong/cli", "attw"), file, "--profile", "esm-only", "--no-emoji", "--no-color"]]
      ])) {
        const outcome = await run(process.execPath, args, { cwd: root })
        ok &&= outcome.ok
        output += `${tool} ${name}\n${outcome.output}\n`
      }
    }
    return { ok, output, remark: tarballs.map(({ name }) => name).join(", ") }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
