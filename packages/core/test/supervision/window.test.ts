import { describe, expect, it } from "@effect/vitest"
import * as fc from "effect/FastCheck"
import * as Machine from "../../src/supervision/machine.js"
import { Window } from "../../src/supervision/window.js"

/** How often the times that a window holds are looked at, and how many they are. */
const watched = (window: Window) => {
  const inside = window as unknown as { times: Array<number> }
  let reads = 0
  let seen: unknown
  const watch = () => {
    if (inside.times === seen) return
    seen = inside.times = new Proxy(inside.times, {
      get: (target, property) => {
        if (typeof property === "string" && /^\d+$/.test(property)) reads++
        return Reflect.get(target, property)
      }
    })
  }
  return { watch, reads: () => reads, held: () => inside.times.length }
}

describe("Window", () => {
  it("counts what is not older than its period, and what is exactly so old", () => {
    const window = new Window(10)
    expect([0, 5, 10, 11].map((time) => window.add(time))).toEqual([1, 2, 3, 3])
    expect([15, 16, 21, 22].map((time) => window.countAt(time))).toEqual([3, 2, 1, 0])
  })

  it("counts as a list does that is filtered", () => {
    fc.assert(
      fc.property(fc.array(fc.nat(20), { maxLength: 60 }), fc.integer({ min: 1, max: 40 }), (gaps, period) => {
        const window = new Window(period)
        let times: ReadonlyArray<number> = []
        let now = 0
        for (const gap of gaps) {
          now += gap
          times = [...times, now].filter((time) => now - time <= period)
          expect(window.add(now)).toBe(times.length)
          expect(window.count).toBe(times.length)
        }
      })
    )
  })

  it("looks at each time a bounded number of times, and holds no more than twice what counts", () => {
    const window = new Window(1000)
    const inside = watched(window)
    for (let now = 0; now < 10_000; now++) {
      inside.watch()
      window.add(now)
      expect(inside.held()).toBeLessThanOrEqual(2 * 1001)
    }
    expect(inside.reads()).toBeLessThan(10_000 * 4)
  })
})

describe("a machine", () => {
  it("holds no more restarts than may count, however many there were", () => {
    const machine = Machine.make({ strategy: "one_for_one", intensity: 3, period: 10, autoShutdown: "never" })
    const child = { id: "a", restart: "permanent", significant: false } as const
    Machine.handle(machine, { _tag: "StartChild", child }, 0)
    for (let n = 1; n < 1000; n++) {
      Machine.handle(machine, { _tag: "Started" }, n * 5)
      Machine.handle(machine, { _tag: "Exited", id: "a", instance: n, exit: "abnormal" }, n * 5)
    }
    expect(machine.closed).toBe(false)
    expect(watched(machine.restarts).held()).toBeLessThanOrEqual(8)
  })
})
