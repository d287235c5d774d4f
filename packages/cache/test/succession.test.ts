import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import { type Settings, start } from "../src/service.js"
import { Succession } from "../src/succession.js"

const settings: Settings<string, number, never> = {
  name: "numbers",
  span: { idle: Number.POSITIVE_INFINITY, max: Number.POSITIVE_INFINITY },
  policy: undefined,
  lookup: undefined
}

describe("a succession", () => {
  it.effect("knows those who live, the newest last, and keeps nobody whose scope has ended", () =>
    Effect.gen(function* () {
      const succession = new Succession<string>()
      yield* Effect.scoped(
        Effect.gen(function* () {
          const first = yield* start(settings, succession)
          expect([succession.living.size, succession.newest]).toEqual([1, first])
          yield* Effect.scoped(
            Effect.gen(function* () {
              const second = yield* start(settings, succession)
              expect(succession.living.size).toBe(2)
              expect(succession.newest).toBe(second)
            })
          )
          expect(succession.living.size).toBe(1)
          expect(succession.newest).toBe(first)
        })
      )
      expect([succession.living.size, succession.newest]).toEqual([0, undefined])
    })
  )

  it.effect("lets nobody in who does not leave again, however early the start is interrupted", () =>
    Effect.gen(function* () {
      const succession = new Succession<string>()
      for (let yields = 0; yields < 12; yields += 1) {
        const fiber = yield* Effect.fork(Effect.scoped(Effect.zipRight(start(settings, succession), Effect.never)))
        for (let turn = 0; turn < yields; turn += 1) yield* Effect.yieldNow()
        fiber.unsafeInterruptAsFork(fiber.id())
        yield* fiber.await
        expect(succession.living.size).toBe(0)
      }
    })
  )
})
