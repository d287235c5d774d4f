/** Steps of Effect's run loop without what Effect puts around them. */
import { describe, expect, it } from "@effect/vitest"
import { Cause, Effect, Exit, FastCheck, Fiber, FiberRef, Scheduler } from "effect"
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

  it.effect("restores to what was around it also what is interruptible by then", () =>
    Effect.gen(function* () {
      const isInterruptible = Effect.checkInterruptible((yes) => Effect.succeed(yes))
      const again = uninterruptibleMask((restore) => Effect.interruptible(restore(isInterruptible)))
      expect([yield* again, yield* Effect.uninterruptible(again)]).toEqual([true, false])
    })
  )

  it("cannot be told from Effect's own, whatever is done inside of it and whenever that is interrupted", () => {
    let interrupted = 0
    FastCheck.assert(
      FastCheck.property(program, FastCheck.integer({ min: 0, max: 12 }), (program, at) => {
        const log = logOf(program, uninterruptibleMask, at)
        expect(log).toEqual(logOf(program, Effect.uninterruptibleMask, at))
        if (log.includes("end: interrupted")) interrupted++
      }),
      { numRuns: 1000, seed: 7 }
    )
    expect(interrupted).toBeGreaterThan(100)
  })
})

type Mask = typeof uninterruptibleMask

/** A program in words, so that it can be built with either. */
type Program =
  | { readonly is: "yield" | "look" | "fail" | "interrupt" }
  | {
      readonly is: "mask" | "restore" | "uninterruptible" | "interruptible" | "exit" | "fork" | "disconnect" | "locally"
      readonly a: Program
    }
  | { readonly is: "then" | "ensuring" | "race"; readonly a: Program; readonly b: Program }

const { program } = FastCheck.letrec<{ program: Program }>((tie) => ({
  program: FastCheck.oneof(
    { maxDepth: 7, depthSize: "max" },
    FastCheck.record<Program>({ is: FastCheck.constantFrom("yield", "yield", "look", "look", "fail", "interrupt") }),
    {
      weight: 4,
      arbitrary: FastCheck.record<Program>({
        is: FastCheck.constantFrom("mask", "restore", "uninterruptible", "interruptible"),
        a: tie("program")
      })
    },
    FastCheck.record<Program>({
      is: FastCheck.constantFrom("exit", "fork", "disconnect", "locally"),
      a: tie("program")
    }),
    FastCheck.record<Program>({
      is: FastCheck.constantFrom("then", "then", "ensuring", "race"),
      a: tie("program"),
      b: tie("program")
    })
  )
}))

const ref = FiberRef.unsafeMake(0)

const endOf = (exit: Exit.Exit<unknown, unknown>): string =>
  Exit.isSuccess(exit) ? "done" : Cause.isInterrupted(exit.cause) ? "interrupted" : Cause.pretty(exit.cause)

/** What a program does, interrupted after so many turns. */
const logOf = (program: Program, mask: Mask, at: number): ReadonlyArray<string> => {
  const log: Array<string> = []
  const say = (what: string) => Effect.sync(() => void log.push(what))
  const look = Effect.flatMap(FiberRef.get(ref), (value) =>
    Effect.flatMap(Effect.getRuntimeFlags, (flags) => say(`${value} ${flags}`))
  )
  const of = (at: Program, restore: Parameters<Parameters<Mask>[0]>[0]): Effect.Effect<void, string> => {
    const inner = (other: Program) => Effect.suspend(() => of(other, restore))
    switch (at.is) {
      case "yield":
        return Effect.yieldNow()
      case "look":
        return look
      case "fail":
        return Effect.fail("no")
      case "interrupt":
        return Effect.interrupt
      case "mask":
        return mask((restore) => of(at.a, restore))
      case "restore":
        return restore(inner(at.a))
      case "uninterruptible":
        return Effect.uninterruptible(inner(at.a))
      case "interruptible":
        return Effect.interruptible(inner(at.a))
      case "exit":
        return Effect.flatMap(Effect.exit(inner(at.a)), (exit) => say(endOf(exit)))
      case "fork":
        return Effect.flatMap(Effect.fork(inner(at.a)), (fiber) =>
          Effect.flatMap(Fiber.await(fiber), (exit) => say(endOf(exit)))
        )
      case "disconnect":
        return Effect.disconnect(inner(at.a))
      case "locally":
        return Effect.locally(inner(at.a), ref, 1)
      case "then":
        return Effect.zipRight(inner(at.a), inner(at.b))
      case "ensuring":
        return Effect.ensuring(inner(at.a), Effect.ignore(inner(at.b)))
      case "race":
        return Effect.race(inner(at.a), inner(at.b))
    }
  }
  const scheduler = new Scheduler.ControlledScheduler()
  const whole = Effect.zipRight(
    Effect.yieldNow(),
    of(program, (self) => self)
  ).pipe(
    Effect.onExit((exit) => say(`end: ${endOf(exit)}`)),
    Effect.exit,
    Effect.zipRight(look)
  )
  const fiber = Effect.runFork(whole, { scheduler })
  for (let turn = 0; turn < 200 && (turn <= at || fiber.unsafePoll() === null); turn++) {
    if (turn === at) fiber.unsafeInterruptAsFork(fiber.id())
    scheduler.step()
  }
  const exit = fiber.unsafePoll()
  return [...log, exit === null ? "it hangs" : endOf(exit)]
}
