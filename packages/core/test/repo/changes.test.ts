/** What a frame remembers of what was written in it. */
import { describe, expect, it } from "@effect/vitest"
import { Changes } from "../../src/repo/changes.js"
import { Frame, Session } from "../../src/repo/frame.js"

const people = { schema: undefined, name: "people" }

const frames = () => {
  // Nothing is sent here.
  const session = new Session({} as never, {} as never)
  const root = new Frame(session, undefined, undefined, 0, undefined)
  const child = new Frame(session, root, undefined, 1, "child")
  root.child = child
  return { root, child }
}

const keysOf = (frame: Frame) => frame.changes.list().map(({ keys }) => keys)

describe("a frame", () => {
  it("remembers what is written while it ends, because its end has not announced it yet", () => {
    const { root } = frames()
    root.end()
    expect(root.note(people, [1])).toBe(true)
    expect(keysOf(root)).toEqual([[1]])
  })

  it("that has ended hands on what is said of it later, until the transaction is over", () => {
    const { child, root } = frames()
    child.note(people, [1])
    child.end()
    child.leave(true)
    expect(child.note(people, [2])).toBe(true)
    expect(keysOf(root)).toEqual([[1, 2]])
    root.end()
    root.leave(true)
    expect(child.note(people, [3])).toBe(false)
    expect(root.note(people, [3])).toBe(false)
  })

  it("that is rolled back keeps nothing of its own", () => {
    const { child, root } = frames()
    child.note(people, [1])
    child.end()
    child.leave(false)
    expect(keysOf(root)).toEqual([])
  })
})

describe("changes", () => {
  it("know a key however often it is made, and tables of one name in two schemas apart", () => {
    const changes = new Changes()
    changes.add(people, [{ row: 1n }, new Date(0), { row: 1n }, new Date(0), "1", 1])
    changes.add({ schema: "tenant", name: "people" }, "all")
    expect(changes.list()).toEqual([
      { schema: undefined, table: "people", keys: [{ row: 1n }, new Date(0), "1", 1] },
      { schema: "tenant", table: "people", keys: "all" }
    ])
  })
})
