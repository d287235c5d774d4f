import { describe, expect, it } from "@effect/vitest"
import { Dirt } from "../src/dirt.js"

describe("one", () => {
  it("marks a key until everybody who marked it has taken that back, once each", () => {
    const dirt = new Dirt<string>()
    const first = dirt.one("a")
    const second = dirt.one("a")
    first()
    first()
    expect([dirt.has("a"), dirt.has("b"), dirt.open, dirt.size]).toEqual([true, false, 1, 1])
    second()
    expect([dirt.has("a"), dirt.open, dirt.size]).toEqual([false, 0, 0])
  })
})

describe("everything", () => {
  it("marks every key", () => {
    const dirt = new Dirt<string>()
    const clean = dirt.everything()
    expect([dirt.has("a"), dirt.open]).toEqual([true, 1])
    clean()
    clean()
    expect([dirt.has("a"), dirt.open]).toEqual([false, 0])
  })
})
