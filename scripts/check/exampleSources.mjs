// Where the docs' examples stand.
import { existsSync, readdirSync, readFileSync } from "node:fs"
import { join, relative } from "node:path"

/**
 * @typedef {object} Example
 * @property {string} name of the file that it is compiled in
 * @property {string} file where it stands, from the checkout's root
 * @property {number} line of its first line there
 * @property {string} code
 * @property {boolean} isTest whether a test runner has to run it
 */

/** @param {string} root @returns {Example[]} */
export function findExamples(root) {
  const packages = readdirSync(join(root, "packages")).sort()
  const sources = packages.flatMap((name) => filesBelow(join(root, "packages", name, "src"), ".ts"))
  const pages = [
    join(root, "README.md"),
    ...packages.map((name) => join(root, "packages", name, "README.md")).filter(existsSync),
    ...filesBelow(join(root, "docs"), ".md")
  ].filter(existsSync)
  /** @param {string} file @param {(text: string) => Block[]} blocks */
  const read = (file, blocks) =>
    blocks(readFileSync(file, "utf8")).map((block) => toExample(relative(root, file), block))
  return [
    ...sources.flatMap((file) => read(file, blocksOfSource)),
    ...pages.flatMap((file) => read(file, blocksOfPage))
  ]
}

/** @typedef {{ line: number, code: string }} Block the code between two fences, and the line it begins at */

/** The blocks of a source: only those that follow an `@example`. @param {string} text @returns {Block[]} */
export function blocksOfSource(text) {
  /** @type {Block[]} */
  const blocks = []
  for (const comment of text.matchAll(/\/\*\*.*?\*\//gs)) {
    const before = text.slice(0, comment.index).split("\n").length
    const lines = comment[0].split("\n").map((line) => line.replace(/^\s*(?:\/\*\*|\*) ?/, ""))
    const example = lines.findIndex((line) => line.startsWith("@example"))
    if (example === -1) continue
    blocks.push(...blocksOfLines(lines.slice(example), before + example))
  }
  return blocks
}

/** The blocks of a page. @param {string} text @returns {Block[]} */
export const blocksOfPage = (text) => blocksOfLines(text.split("\n"), 1)

/** @param {readonly string[]} lines @param {number} first the number of the first line @returns {Block[]} */
function blocksOfLines(lines, first) {
  /** @type {Block[]} */
  const blocks = []
  /** @type {{ from: number, marked: boolean } | undefined} */
  let open
  lines.forEach((line, index) => {
    const fence = /^```\s*(\w*)/.exec(line)
    if (fence === null) return
    if (open === undefined) {
      open = { from: index + 1, marked: fence[1] === "ts" }
    } else if (fence[1] === "") {
      if (open.marked) blocks.push({ line: first + open.from, code: `${lines.slice(open.from, index).join("\n")}\n` })
      open = undefined
    }
  })
  return blocks
}

/** @param {string} file @param {Block} block @returns {Example} */
const toExample = (file, { line, code }) => ({
  name: `${file.replace(/\.\w+$/, "").replace(/[^\w]+/g, "-")}-${line}`,
  file,
  line,
  code,
  isTest: /from "(?:@effect\/)?vitest"/.test(code)
})

/** @param {string} folder @param {string} extension @returns {string[]} */
function filesBelow(folder, extension) {
  if (!existsSync(folder)) return []
  return readdirSync(folder, { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(extension))
    .sort()
    .map((file) => join(folder, file))
}
