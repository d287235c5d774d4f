import { describe, expect, it } from "@effect/vitest"
import { FastCheck } from "effect"
import { Expiry } from "../src/expiry.js"

/** Room for as many entries as a test here makes; their deadlines. */
const timed = () => ({ deadlines: new Float64Array(64).fill(Number.NaN) })

/** Files entries of these deadlines, in slots from 0 on. */
const filed = (deadlines: ReadonlyArray<number>): Expiry => {
  const columns = timed()
  const expiry = new Expiry(columns)
  for (const [slot, deadline] of deadlines.entries()) {
    columns.deadlines[slot] = deadline
    expiry.file(slot, 0)
  }
  return expiry
}

describe("sweep", () => {
  it("takes out an entry at its deadline and not before", () => {
    const expiry = filed([64])
    const out: Array<number> = []
    expect(expiry.due).toBe(64)
    expiry.sweep(63, 10, (slot) => out.push(slot))
    expect(out).toEqual([])
    expiry.sweep(64, 10, (slot) => out.push(slot))
    expect(out).toEqual([0])
    expect([expiry.due, expiry.count()]).toEqual([Number.POSITIVE_INFINITY, 0])
  })

  it("looks at no more than it is told to and goes on where it stopped", () => {
    const expiry = filed(Array.from({ length: 10 }, () => 50))
    let out = 0
    const slices: Array<[boolean, number]> = []
    for (let slice = 0; slice < 3; slice += 1) {
      const done = expiry.sweep(1_000, 4, () => {
        out += 1
      })
      slices.push([done, out])
    }
    expect(slices).toEqual([
      [false, 4],
      [false, 8],
      [true, 10]
    ])
  })

  it("never files what has no end", () => {
    const expiry = filed([Number.POSITIVE_INFINITY])
    expect([expiry.due, expiry.count()]).toEqual([Number.POSITIVE_INFINITY, 0])
  })
})

describe("against a list", () => {
  const lifetime = FastCheck.oneof(
    FastCheck.integer({ min: 1, max: 200 }),
    FastCheck.integer({ min: 1, max: 100_000 }),
    FastCheck.integer({ min: 1, max: 40_000_000_000 })
  )
  const step = FastCheck.oneof(
    FastCheck.record({ do: FastCheck.constant("file" as const), lifetime }),
    FastCheck.record({ do: FastCheck.constant("renew" as const), which: FastCheck.nat(), lifetime }),
    FastCheck.record({ do: FastCheck.constant("unfile" as const), which: FastCheck.nat() }),
    FastCheck.record({ do: FastCheck.constant("move" as const), which: FastCheck.nat() }),
    FastCheck.record({ do: FastCheck.constant("wait" as const), time: lifetime }),
    FastCheck.record({ do: FastCheck.constant("sweepAll" as const) })
  )

  it("everything expired is out an eighth of its lifetime late at most, nothing else ever, and sweepAll is exact", () => {
    FastCheck.assert(
      FastCheck.property(FastCheck.array(step, { maxLength: 60 }), (steps) => {
        const columns = timed()
        const { deadlines } = columns
        const expiry = new Expiry(columns)
        let live: Array<number> = []
        const filedFor = new Map<number, number>()
        let now = 0
        const late = () => live.filter((slot) => (deadlines[slot] ?? 0) <= now)
        const vacant = () => deadlines.findIndex((_, slot) => !live.includes(slot))
        const takeOut = (slot: number) => {
          expect(deadlines[slot]).toBeLessThanOrEqual(now)
          expect(live).toContain(slot)
          live = live.filter((each) => each !== slot)
        }
        for (const each of steps) {
          const chosen = "which" in each ? live[each.which % Math.max(live.length, 1)] : undefined
          if (each.do === "file") {
            const slot = vacant()
            deadlines[slot] = now + each.lifetime
            filedFor.set(slot, each.lifetime)
            live.push(slot)
            expiry.file(slot, now)
          } else if (each.do === "renew" && chosen !== undefined) {
            // A read only ever writes a later deadline.
            const deadline = Math.max(deadlines[chosen] ?? 0, now + each.lifetime)
            filedFor.set(chosen, deadline - now + (filedFor.get(chosen) ?? 0))
            deadlines[chosen] = deadline
          } else if (each.do === "unfile" && chosen !== undefined) {
            expiry.unfile(chosen)
            live = live.filter((other) => other !== chosen)
          } else if (each.do === "move" && chosen !== undefined) {
            const slot = vacant()
            deadlines[slot] = deadlines[chosen] ?? 0
            filedFor.set(slot, filedFor.get(chosen) ?? 0)
            expiry.move(chosen, slot)
            live = [...live.filter((other) => other !== chosen), slot]
          } else if (each.do === "wait") {
            now += each.time
            expiry.sweep(now, Number.POSITIVE_INFINITY, takeOut)
          } else if (each.do === "sweepAll") {
            expiry.sweepAll(now, takeOut)
            expect(late()).toEqual([])
          }
          for (const slot of late()) {
            expect(now - (deadlines[slot] ?? 0)).toBeLessThanOrEqual(Math.max(64, (filedFor.get(slot) ?? 0) / 8))
          }
          expect(expiry.count()).toBe(live.length)
          if (live.length > 0) expect(expiry.due).toBeLessThan(Number.POSITIVE_INFINITY)
        }
      }),
      { numRuns: 300 }
    )
  })
})
