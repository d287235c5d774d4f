/** Waits without what Effect.async puts around them. */
import { describe, expect, it } from "@effect/vitest"
import { Cause, Effect, Exit, Fiber } from "effect"
import { waiting } from "../../src/repo/waiting.js"

describe("waiting", () => {
  it.effect("goes on with what it is answered with, at once and later, and with nothing that comes afterwards", () =>
    Effect.gen(function* () {
      const atOnce = waiting<number, string>((resume) => {
        resume(Effect.succeed(1))
        resume(Effect.succeed(2))
      })
      expect(yield* atOnce).toBe(1)
      expect(yield* Effect.map(atOnce, (one) => one + 1)).toBe(2)
      expect(yield* Effect.exit(waiting((resume) => resume(Effect.fail("no"))))).toEqual(Exit.fail("no"))
      const later = waiting<string, never>((resume) => {
        queueMicrotask(() => resume(Effect.as(Effect.yieldNow(), "later")))
      })
      expect(yield* Effect.all([later, later], { concurrency: "unbounded" })).toEqual(["later", "later"])
    })
  )

  it.effect("is an Effect like others", () =>
    Effect.sync(() => {
      const one = waiting(() => {})
      expect(Effect.isEffect(one)).toBe(true)
      expect(Reflect.ownKeys(one)).toEqual(Reflect.ownKeys(Effect.interruptible(Effect.void)))
      expect(one.pipe(Effect.isEffect)).toBe(true)
    })
  )

  it.effect("dies of what is thrown when it begins", () =>
    Effect.gen(function* () {
      const exit = yield* Effect.exit(
        waiting(() => {
          throw new Error("nobody to ask")
        })
      )
      expect(Exit.isFailure(exit) ? Cause.squash(exit.cause) : undefined).toEqual(new Error("nobody to ask"))
    })
  )

  it.effect("is left by an interruption, unless that has to wait", () =>
    Effect.gen(function* () {
      const never = yield* Effect.fork(waiting(() => {}))
      yield* Effect.yieldNow()
      expect(Exit.isInterrupted(yield* Fiber.interrupt(never))).toBe(true)
      let answer: (effect: Effect.Effect<string>) => void = () => {}
      const held = yield* Effect.fork(
        Effect.uninterruptible(
          waiting<string, never>((resume) => {
            answer = resume
          })
        )
      )
      yield* Effect.yieldNow()
      const interrupting = yield* Effect.fork(Fiber.interrupt(held))
      yield* Effect.yieldNow()
      expect(held.unsafePoll()).toBe(null)
      answer(Effect.succeed("done"))
      expect(Exit.isInterrupted(yield* Fiber.join(interrupting))).toBe(true)
    })
  )
})
