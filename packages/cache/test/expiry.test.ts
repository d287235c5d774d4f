import { describe, expect, it } from "@effect/vitest"
import { FastCheck } from "effect"
import { Expiry, type Timed } from "../src/expiry.js"

interface Named extends Timed {
  readonly name: number
}

const entry = (name: number, deadline: number): Named => ({ name, deadline, before: undefined, after: undefined })

describe("sweep", () => {
  it("takes out an entry at its deadline and not before", () => {
    const expiry = new Expiry()
    const one = entry(1, 64)
    expiry.file(one, 0)
    const out: Array<Timed> = []
    expect(expiry.due).toBe(64)
    expiry.sweep(63, 10, (timed) => out.push(timed))
    expect(out).toEqual([])
    expiry.sweep(64, 10, (timed) => out.push(timed))
    expect(out).toEqual([one])
    expect([expiry.due, expiry.count()]).toEqual([Number.POSITIVE_INFINITY, 0])
  })

  it("looks at no more than it is told to and goes on where it stopped", () => {
    const expiry = new Expiry()
    for (let name = 0; name < 10; name += 1) expiry.file(entry(name, 50), 0)
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
    const expiry = new Expiry()
    expiry.file(entry(1, Number.POSITIVE_INFINITY), 0)
    expect([expiry.due, expiry.count()]).toEqual([Number.POSITIVE_INFINITY, 0])
  })
})

/** What a wheel has to do, with a list instead. */
const modelSweep = (entries: Array<Named>, now: number) => entries.filter((each) => each.deadline <= now)

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
    FastCheck.record({ do: FastCheck.constant("wait" as const), time: lifetime }),
    FastCheck.record({ do: FastCheck.constant("sweepAll" as const) })
  )

  it("everything expired is out an eighth of its lifetime late at most, nothing else ever, and sweepAll is exact", () => {
    FastCheck.assert(
      FastCheck.property(FastCheck.array(step, { maxLength: 60 }), (steps) => {
        const expiry = new Expiry()
        let live: Array<Named> = []
        const filedFor = new Map<Named, number>()
        let now = 0
        const takeOut = (timed: Timed) => {
          expect(timed.deadline).toBeLessThanOrEqual(now)
          expect(live).toContain(timed)
          live = live.filter((each) => each !== timed)
        }
        for (const [name, each] of steps.entries()) {
          const chosen = "which" in each ? live[each.which % Math.max(live.length, 1)] : undefined
          if (each.do === "file") {
            const made = entry(name, now + each.lifetime)
            filedFor.set(made, each.lifetime)
            live.push(made)
            expiry.file(made, now)
          } else if (each.do === "renew" && chosen !== undefined) {
            // A read only ever writes a later deadline.
            const deadline = Math.max(chosen.deadline, now + each.lifetime)
            filedFor.set(chosen, deadline - now + (filedFor.get(chosen) ?? 0))
            chosen.deadline = deadline
          } else if (each.do === "unfile" && chosen !== undefined) {
            expiry.unfile(chosen)
            live = live.filter((other) => other !== chosen)
          } else if (each.do === "wait") {
            now += each.time
            expiry.sweep(now, Number.POSITIVE_INFINITY, takeOut)
          } else if (each.do === "sweepAll") {
            expiry.sweepAll(now, takeOut)
            expect(modelSweep(live, now)).toEqual([])
          }
          for (const late of modelSweep(live, now)) {
            expect(now - late.deadline).toBeLessThanOrEqual(Math.max(64, (filedFor.get(late) ?? 0) / 8))
          }
          expect(expiry.count()).toBe(live.length)
          if (live.length > 0) expect(expiry.due).toBeLessThan(Number.POSITIVE_INFINITY)
        }
      }),
      { numRuns: 300 }
    )
  })
})
