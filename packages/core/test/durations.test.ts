import { describe, expect, it } from "@effect/vitest"
import { Duration } from "effect"
import { checked, millisFrom, millisOf } from "../src/durations.js"

describe("millisOf", () => {
  it("reads whatever Effect takes for a duration", () => {
    const inputs = [1500, 1_500_000_000n, "1500 millis", [1, 500_000_000], Duration.millis(1500)]
    expect(inputs.map(millisOf)).toEqual([1500, 1500, 1500, 1500, 1500])
    expect([0, "0 seconds", Duration.zero].map(millisOf)).toEqual([0, 0, 0])
    expect([Number.POSITIVE_INFINITY, Duration.infinity].map(millisOf)).toEqual([
      Number.POSITIVE_INFINITY,
      Number.POSITIVE_INFINITY
    ])
  })

  it("knows no duration below zero, nor one that is none", () => {
    const inputs = [-1, Number.NaN, -1n, "-5 seconds", [-1, 0], [0, -1], "soon", "5", {}, null, undefined, true]
    expect(inputs.map(millisOf)).toEqual(inputs.map(() => undefined))
  })
})

describe("millisFrom", () => {
  it("names the option, the value and what it has to be", () => {
    expect(millisFrom("timeout", "2 seconds")).toBe(2000)
    expect(() => millisFrom("timeout", "soon")).toThrow(
      'timeout is "soon"; it has to be a duration of zero or more, such as "5 seconds"'
    )
    expect(() => millisFrom("timeout", -1)).toThrow("timeout is -1;")
  })
})

describe("checked", () => {
  const read = checked((problem) => {
    throw new RangeError(problem)
  })

  it("refuses what has no end, in the words of who asks", () => {
    expect(read.millis("period", "5 seconds")).toBe(5000)
    expect(() => read.millis("period", Number.POSITIVE_INFINITY)).toThrow(
      new RangeError("period is not a finite duration")
    )
    expect(() => read.millis("period", "soon")).toThrow(RangeError)
  })

  it("knows the words for how a child is stopped, and that a stop may have no end", () => {
    expect(
      [undefined, "brutalKill", "infinity", Number.POSITIVE_INFINITY, 5].map((one) => read.shutdown(one as 5))
    ).toEqual([undefined, "brutalKill", "infinity", "infinity", 5])
    expect(() => read.shutdown(-1)).toThrow(
      'shutdown is -1; it has to be a duration of zero or more, such as "5 seconds"'
    )
  })
})
