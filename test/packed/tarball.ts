import { readFileSync } from "node:fs"
import { gunzipSync } from "node:zlib"

/** The files of an npm tarball by their path below `package/`. Reads plain ustar entries, which is all that npm and pnpm write. */
export function readTarball(file: string): Map<string, string> {
  const bytes = gunzipSync(readFileSync(file))
  const field = (at: number, length: number) => bytes.toString("utf8", at, at + length).replace(/\0.*$/s, "")
  const files = new Map<string, string>()
  for (let at = 0; at < bytes.length && bytes[at] !== 0; ) {
    const size = Number.parseInt(field(at + 124, 12), 8)
    const prefix = field(at + 345, 155)
    const name = `${prefix === "" ? "" : `${prefix}/`}${field(at, 100)}`
    if (field(at + 156, 1) === "0") {
      files.set(name.replace(/^package\//, ""), bytes.toString("utf8", at + 512, at + 512 + size))
    }
    at += 512 + Math.ceil(size / 512) * 512
  }
  return files
}
