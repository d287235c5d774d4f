/** The sweeper under the live Clock: how it sets timers, not when they fire. */
import { afterEach, describe, expect, it, vi } from "@effect/vitest"
import { Cache } from "@effecto/cache"
import { Effect } from "effect"

/** The waits of the timers that the cache set, each with whether it was unref'd; the run loop's own have no wait. */
const watchTimers = () => {
  const timers: Array<{ readonly wait: number; unref: boolean; cleared: boolean }> = []
  const set = globalThis.setTimeout
  const clear = globalThis.clearTimeout
  const known = new Map<unknown, (typeof timers)[number]>()
  vi.spyOn(globalThis, "setTimeout").mockImplementation(((task: () => void, wait?: number) => {
    const handle = set(task, wait)
    if (wait !== undefined && wait > 0) {
      const timer = { wait, unref: false, cleared: false }
      timers.push(timer)
      known.set(handle, timer)
      const unref = handle.unref.bind(handle)
      handle.unref = () => {
        timer.unref = true
        return unref()
      }
    }
    return handle
  }) as typeof setTimeout)
  vi.spyOn(globalThis, "clearTimeout").mockImplementation(((handle: ReturnType<typeof setTimeout>) => {
    const timer = known.get(handle)
    if (timer !== undefined) timer.cleared = true
    clear(handle)
  }) as typeof clearTimeout)
  return timers
}

afterEach(() => vi.restoreAllMocks())

const turns = Effect.repeatN(Effect.yieldNow(), 5)

describe("the sweeper's timer", () => {
  it.live("is one, keeps no process alive, gives way to an earlier one, and goes with the cache", () =>
    Effect.gen(function* () {
      const timers = watchTimers()
      yield* Effect.scoped(
        Effect.gen(function* () {
          const cache = yield* Cache.make<string, number>({ name: "numbers", idle: "1 hour" })
          yield* turns
          expect(timers).toEqual([])
          for (const key of ["a", "b", "c"]) yield* cache.put(key, 1)
          yield* turns
          expect(timers.map(({ unref, cleared }) => ({ unref, cleared }))).toEqual([{ unref: true, cleared: false }])
          yield* cache.put("d", 1, "1 minute")
          yield* turns
          expect(timers.map(({ unref, cleared }) => ({ unref, cleared }))).toEqual([
            { unref: true, cleared: true },
            { unref: true, cleared: false }
          ])
        })
      )
      expect(timers.map(({ cleared }) => cleared)).toEqual([true, true])
    })
  )

  it.live("is never set for longer than a timer can wait", () =>
    Effect.scoped(
      Effect.gen(function* () {
        const timers = watchTimers()
        const cache = yield* Cache.make<string, number>({ name: "numbers", idle: "400 days" })
        yield* cache.put("a", 1)
        yield* turns
        expect(timers.map(({ wait }) => wait)).toEqual([2 ** 31 - 1])
      })
    )
  )
})
