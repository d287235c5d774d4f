/** Steps of Effect's run loop without what Effect puts around them. */
import { describe, expect, it } from "@effect/vitest"
import { Cause, Effect, Exit, Fiber } from "effect"
import { uninterruptibleMask, waiting } from "../src/primitives.js"

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

describe("uninterruptibleMask", () => {
  it.effect("gives what its function gives, and dies of what that throws", () =>
    Effect.gen(function* () {
      expect(yield* uninterruptibleMask(() => Effect.succeed(1))).toBe(1)
      expect(yield* Effect.exit(uninterruptibleMask((restore) => restore(Effect.fail("no"))))).toEqual(Exit.fail("no"))
      const exit = yield* Effect.exit(
        uninterruptibleMask((): Effect.Effect<void> => {
          throw new Error("not made")
        })
      )
      expect(Exit.isFailure(exit) ? Cause.squash(exit.cause) : undefined).toEqual(new Error("not made"))
    })
  )

  it.effect("is made anew each time it is run", () =>
    Effect.gen(function* () {
      let runs = 0
      const counted = uninterruptibleMask(() => Effect.sync(() => ++runs))
      expect([yield* counted, yield* counted]).toEqual([1, 2])
    })
  )

  it.effect("is left by an interruption only where it restores, and then what is behind that still runs", () =>
    Effect.gen(function* () {
      const seen: Array<string> = []
      const fiber = yield* Effect.fork(
        uninterruptibleMask((restore) =>
          Effect.gen(function* () {
            yield* Effect.yieldNow()
            seen.push("inside")
            const exit = yield* Effect.exit(restore(Effect.never))
            seen.push(Exit.isInterrupted(exit) ? "interrupted" : "not")
            yield* Effect.yieldNow()
            seen.push("behind")
          })
        ).pipe(Effect.zipRight(Effect.sync(() => seen.push("after"))))
      )
      yield* Effect.yieldNow()
      yield* Fiber.interrupt(fiber)
      expect(seen).toEqual(["inside", "interrupted", "behind"])
    })
  )

  it.effect("restores nothing where what is around it cannot be interrupted, and leaves the fiber as it was", () =>
    Effect.gen(function* () {
      const isInterruptible = Effect.checkInterruptible((yes) => Effect.succeed(yes))
      const both = uninterruptibleMask((restore) => Effect.all([isInterruptible, restore(isInterruptible)]))
      expect(yield* Effect.all([both, isInterruptible])).toEqual([[false, true], true])
      expect(yield* Effect.uninterruptible(Effect.all([both, isInterruptible]))).toEqual([[false, false], false])
      const failed = Effect.exit(uninterruptibleMask(() => Effect.fail("no")))
      expect(yield* Effect.zipRight(failed, isInterruptible)).toBe(true)
    })
  )
})
