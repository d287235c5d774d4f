import { readFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { describe, expect, it } from "vitest"
import { blocksOfPage, blocksOfSource, findExamples } from "../scripts/check/exampleSources.mjs"
import { claims, problemsOf } from "../scripts/check/examples.mjs"

const root = fileURLToPath(new URL("..", import.meta.url))

const example = (code: string) => [{ name: "made-up", file: "made-up.md", line: 10, code, isTest: false }]

describe("README.md", () => {
  it("begins with a program of less than 25 lines that compiles, runs and prints what it says", async () => {
    const [program] = findExamples(root).filter(({ file }) => file === "README.md")
    if (program === undefined) throw new Error("README.md has no ```ts block")
    expect(program.code.trimEnd().split("\n").length).toBeLessThan(25)
    expect(await problemsOf(root, [program])).toEqual([])
  }, 60_000)
})

describe("problemsOf", () => {
  it("names the line of the page that does not compile", async () => {
    expect(await problemsOf(root, example('const one = 1\nconst two: number = "two"\n'))).toEqual([
      "made-up.md:11: Type 'string' is not assignable to type 'number'."
    ])
  }, 60_000)

  it("says what an example prints instead of what it claims to print", async () => {
    expect(await problemsOf(root, example("console.log(1 + 1) // 3\n"))).toEqual([
      'made-up.md:10: the example claims to print "3" and prints\n2'
    ])
  }, 60_000)

  it("takes what follows a colon for a remark, and what only begins alike for something else", async () => {
    const code = 'console.log({ a: 1 }) // { a: 1 }: an object\nconsole.log("word") // wor\n'
    expect(await problemsOf(root, example(code))).toEqual([
      'made-up.md:10: the example claims to print "wor" and prints\n{ a: 1 }\nword'
    ])
  }, 60_000)
})

describe("blocksOfSource", () => {
  it("finds the ts blocks after @example, and where they begin", () => {
    const source = [
      "/**",
      " * Text.",
      " * ```ts",
      " * before()",
      " * ```",
      " * @example",
      " * ```ts",
      " * one()",
      " *   two()",
      " * ```",
      " * ```text",
      " * a drawing",
      " * ```",
      " */",
      "/** @example",
      " * ```ts",
      " * three()",
      " * ```",
      " */"
    ].join("\n")
    expect(blocksOfSource(source)).toEqual([
      { line: 8, code: "one()\n  two()\n" },
      { line: 17, code: "three()\n" }
    ])
  })

  it("misses none of the examples of the packages", () => {
    const examples = findExamples(root)
    for (const file of new Set(examples.map((each) => each.file).filter((name) => name.endsWith(".ts")))) {
      const marks = readFileSync(join(root, file), "utf8").match(/^\s*\* @example/gm) ?? []
      expect(`${file}: ${examples.filter((each) => each.file === file).length >= marks.length}`).toBe(`${file}: true`)
    }
  })
})

describe("blocksOfPage", () => {
  it("leaves out what is no ts, and fences inside of it", () => {
    expect(blocksOfPage("# Page\n```sh\n```ts\n```\n```ts\nrun()\n```\n")).toEqual([{ line: 6, code: "run()\n" }])
  })
})

describe("claims", () => {
  it("reads what stands behind a console.log", () => {
    const code = [
      "console.log(1) // 1",
      "program.then((sum) => console.log(sum)) // 49",
      "greet().then(console.log) // hello, ada",
      "console.log(2)",
      "// a remark",
      "const three = 3 // no claim"
    ]
    expect(claims(code.join("\n"))).toEqual(["1", "49", "hello, ada"])
  })
})
