import { describe, expect, it } from "@effect/vitest"
import { Cause, type Clock, Deferred, Effect, Exit, Fiber, Logger, Scope, TestClock } from "effect"
import * as DynamicSupervisor from "../../src/supervision/DynamicSupervisor.js"
import { ControlError } from "../../src/supervision/SupervisionError.js"

/** Lets what was begun go on until nothing is left to do. */
const settle = TestClock.adjust(0)

const quiet = Logger.remove(Logger.defaultLogger)

const defectOf = (exit: Exit.Exit<unknown, unknown> | null): unknown =>
  exit === null ? "waits" : Exit.isSuccess(exit) ? "succeeded" : Cause.squash(exit.cause)

describe("a service that throws when it is looked at", () => {
  const services = {
    "a Proxy that refuses": () =>
      new Proxy(
        {},
        {
          has: () => {
            throw new Error("looked at")
          }
        }
      ),
    "a getter that throws": () =>
      Object.defineProperty({}, Symbol.toStringTag, {
        get: () => {
          throw new Error("looked at")
        }
      })
  }
  for (const [name, make] of Object.entries(services)) {
    for (const when of ["at once", "later"]) {
      it.scoped(`${name}: a child that answers with it ${when} has failed to start, and no other one is touched`, () =>
        Effect.gen(function* () {
          const stopped: Array<string> = []
          const workers = yield* DynamicSupervisor.make({
            child: (arg: string) =>
              Effect.gen(function* () {
                yield* Effect.addFinalizer(() => Effect.sync(() => stopped.push(arg)))
                if (when === "later") yield* Effect.sleep("1 second")
                return arg === "bad" ? make() : {}
              }),
            id: (arg) => arg
          })
          const bad = yield* Effect.fork(workers.start("bad"))
          const good = yield* Effect.fork(workers.start("good"))
          yield* TestClock.adjust("1 second")
          expect(defectOf(bad.unsafePoll())).toEqual(new Error("looked at"))
          expect((yield* Fiber.join(good)).id).toBe("good")
          expect([stopped, yield* workers.count]).toEqual([
            ["bad"],
            { specs: 1, active: 1, supervisors: 0, workers: 1 }
          ])
        }).pipe(Effect.provide(quiet))
      )
    }
  }
})

describe("a defect of the supervisor itself", () => {
  /** A clock that fails when it is told to, wherever the supervisor looks at it. */
  const failing = (clock: Clock.Clock) => {
    let failed = false
    const failingClock: Clock.Clock = {
      ...clock,
      sleep: (duration) => clock.sleep(duration),
      currentTimeMillis: clock.currentTimeMillis,
      currentTimeNanos: clock.currentTimeNanos,
      unsafeCurrentTimeMillis: () => clock.unsafeCurrentTimeMillis(),
      unsafeCurrentTimeNanos: () => {
        if (failed) throw new Error("no time")
        return clock.unsafeCurrentTimeNanos()
      }
    }
    return {
      clock: failingClock,
      fail: () => {
        failed = true
      }
    }
  }

  for (const where of ["in a call", "in the end of a build"]) {
    it.effect(`${where}: stops all children, and answers everybody`, () =>
      Effect.gen(function* () {
        const { clock, fail } = failing(yield* Effect.clock)
        const log: Array<string> = []
        const gate = yield* Deferred.make<void>()
        const scope = yield* Scope.make()
        const workers = yield* DynamicSupervisor.make({
          child: (arg: string) =>
            Effect.gen(function* () {
              yield* Effect.addFinalizer(() =>
                Effect.zipRight(
                  arg === "stuck" ? Effect.never : Effect.sleep("1 second"),
                  Effect.sync(() => log.push(`${arg} stopped`))
                )
              )
              if (arg === "slow") yield* Deferred.await(gate)
              if (arg === "hangs") yield* Effect.never
              return {}
            }),
          id: (arg) => arg
        }).pipe(Scope.extend(scope), Effect.withClock(clock))
        yield* workers.start("a")
        yield* workers.start("stuck")
        const going = yield* workers.start("going")
        const fibers = [
          yield* Effect.fork(workers.terminate(going)),
          yield* Effect.fork(workers.start("slow")),
          yield* Effect.fork(workers.start("hangs")),
          yield* Effect.fork(workers.awaitShutdown)
        ]
        yield* settle
        fail()
        const last = yield* Effect.fork(
          where === "in a call" ? Effect.asVoid(workers.start("b")) : Effect.asVoid(Deferred.succeed(gate, undefined))
        )
        yield* settle
        const closing = yield* Effect.fork(Scope.close(scope, Exit.void))
        yield* TestClock.adjust("1 second")
        expect(closing.unsafePoll()).toBe(null)
        yield* TestClock.adjust("4 seconds")
        expect(closing.unsafePoll()).not.toBe(null)
        const why = (fiber: Fiber.RuntimeFiber<unknown, unknown>): unknown => {
          const error = defectOf(fiber.unsafePoll())
          return typeof error === "object" && error !== null && "reason" in error ? error.reason : error
        }
        expect(fibers.map(why)).toEqual(["succeeded", "defect", "defect", "defect"])
        expect(why(last)).toBe(where === "in a call" ? "defect" : "succeeded")
        expect(log.sort()).toEqual(["a stopped", "going stopped", "hangs stopped", "slow stopped"])
        expect(yield* workers.count).toEqual({ specs: 0, active: 0, supervisors: 0, workers: 0 })
      }).pipe(Effect.provide(quiet))
    )
  }
})

describe("a start whose id is just being stopped", () => {
  /** A child whose build and finalizer are what its argument says. */
  interface Life {
    readonly id: string
    readonly build?: Effect.Effect<unknown>
    readonly stop?: Effect.Effect<unknown>
  }
  const make = (name: string) =>
    DynamicSupervisor.make({
      name,
      child: ({ build, stop }: Life) =>
        Effect.gen(function* () {
          yield* Effect.addFinalizer(() => stop ?? Effect.void)
          yield* build ?? Effect.void
          return {}
        }),
      id: ({ id }) => id
    })

  it.scoped("waits in the build of a child of another supervisor, and never answers with one that stops", () =>
    Effect.gen(function* () {
      const [one, other] = [yield* make("one"), yield* make("other")]
      const first = yield* one.start({ id: "k", stop: Effect.sleep("1 second") })
      yield* Effect.fork(one.terminate("k"))
      yield* settle
      const got: Array<unknown> = []
      const build = Effect.map(Effect.exit(one.start({ id: "k" })), (exit) =>
        got.push(Exit.isSuccess(exit) && exit.value !== first ? `another ${exit.value.path}` : exit)
      )
      yield* Effect.fork(other.start({ id: "x", build }))
      yield* settle
      expect(got).toEqual([])
      yield* TestClock.adjust("1 second")
      expect(got).toEqual(["another one/k"])
    }).pipe(Effect.provide(quiet))
  )

  it.scoped("waits in the build of a child of the same supervisor", () =>
    Effect.gen(function* () {
      const one = yield* make("one")
      yield* one.start({ id: "k", stop: Effect.sleep("1 second") })
      yield* Effect.fork(one.terminate("k"))
      yield* settle
      const x = yield* Effect.fork(one.start({ id: "x", build: Effect.orDie(one.start({ id: "k" })) }))
      yield* TestClock.adjust("1 second")
      expect(Exit.isExit(x.unsafePoll()) && Array.from(yield* one.children, ({ id }) => id).sort()).toEqual(["k", "x"])
    }).pipe(Effect.provide(quiet))
  )

  it.scoped("answers two builds of different supervisors that start each other", () =>
    Effect.gen(function* () {
      const [one, other] = [yield* make("one"), yield* make("other")]
      const tags: Array<string> = []
      const noted = (effect: Effect.Effect<unknown, { readonly _tag: string }>) =>
        Effect.match(effect, {
          onFailure: ({ _tag }) => tags.push(_tag),
          onSuccess: () => tags.push("started")
        })
      const a = yield* Effect.fork(
        one.start({ id: "a", build: Effect.zipRight(Effect.yieldNow(), noted(other.start({ id: "b" }))) })
      )
      const b = yield* Effect.fork(
        other.start({ id: "b", build: Effect.zipRight(Effect.yieldNow(), noted(one.start({ id: "a" }))) })
      )
      yield* settle
      expect([a, b].map((fiber) => Exit.isExit(fiber.unsafePoll()))).toEqual([true, true])
      expect(tags).toEqual(["AlreadyStarted", "AlreadyStarted"])
    }).pipe(Effect.provide(quiet))
  )

  it.scoped("dies in a finalizer of that very child, which would wait for itself", () =>
    Effect.gen(function* () {
      const one = yield* make("one")
      const got: Array<unknown> = []
      const stop = Effect.suspend(() =>
        Effect.map(Effect.exit(one.start({ id: "k" })), (exit) => {
          const error = defectOf(exit)
          got.push(error instanceof ControlError ? error.reason : error)
        })
      )
      yield* one.start({ id: "k", stop })
      yield* one.terminate("k")
      expect(got).toEqual(["would deadlock"])
    }).pipe(Effect.provide(quiet))
  )
})
