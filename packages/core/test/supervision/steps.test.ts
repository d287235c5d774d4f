import { describe, expect, it } from "@effect/vitest"
import { Cause, Context, Effect, Exit, FastCheck, Fiber, FiberRef, Layer, Scheduler, Scope } from "effect"
import { driven } from "../../src/supervision/driving.js"
import * as Supervised from "../../src/supervision/Supervised.js"
import * as SupervisionTree from "../../src/supervision/SupervisionTree.js"
import * as TestSupervision from "../../src/supervision/TestSupervision.js"

/** A program in words, so that it can be built twice. */
type Program =
  | { readonly is: "succeed" | "fail" | "die" | "throw" | "sync" | "yield" | "wait" | "tag" | "set" | "interrupt" }
  | { readonly is: "suspend" | "loop" | "exit" | "uninterruptible" | "fork" | "orDie"; readonly a: Program }
  | { readonly is: "flatMap" | "catch" | "ensuring" | "gen" | "locally"; readonly a: Program; readonly b: Program }
  | { readonly is: "match"; readonly a: Program; readonly b: Program; readonly c: Program }

const leaves = ["succeed", "fail", "die", "throw", "sync", "yield", "wait", "tag", "set", "interrupt"] as const
const unary = ["suspend", "loop", "exit", "uninterruptible", "fork", "orDie"] as const
const binary = ["flatMap", "catch", "ensuring", "gen", "locally"] as const

const { program } = FastCheck.letrec<{ program: Program }>((tie) => ({
  program: FastCheck.oneof(
    { maxDepth: 4, depthSize: "large" },
    FastCheck.record<Program>({ is: FastCheck.constantFrom(...leaves) }),
    FastCheck.record<Program>({ is: FastCheck.constantFrom(...unary), a: tie("program") }),
    FastCheck.record<Program>({ is: FastCheck.constantFrom(...binary), a: tie("program"), b: tie("program") }),
    FastCheck.record<Program>({
      is: FastCheck.constant("match"),
      a: tie("program"),
      b: tie("program"),
      c: tie("program")
    })
  )
}))

const Name = Context.GenericTag<string>("Name")
const ref = FiberRef.unsafeMake(0)

/** The Effect of a program, which writes down what it does. */
const build = (program: Program, log: Array<string>): Effect.Effect<number, string, string> => {
  let steps = 0
  const say = (what: string): number => log.push(what)
  const of = (at: Program): Effect.Effect<number, string, string> => {
    const id = `${at.is} ${++steps}`
    switch (at.is) {
      case "succeed":
        return Effect.succeed(steps)
      case "fail":
        return Effect.fail(id)
      case "die":
        return Effect.die(id)
      case "interrupt":
        return Effect.interrupt
      case "throw":
        return Effect.sync(() => {
          say(id)
          throw id
        })
      case "sync":
        return Effect.sync(() => say(id))
      case "yield":
        return Effect.map(Effect.yieldNow(), () => say(id))
      case "wait":
        return Effect.map(
          Effect.promise(() => Promise.resolve(id)),
          say
        )
      case "tag":
        return Effect.map(Name, say)
      case "set":
        return Effect.flatMap(FiberRef.get(ref), (n) => Effect.as(FiberRef.set(ref, n + 1), say(`${id}: ${n}`)))
      case "suspend": {
        const a = of(at.a)
        return Effect.suspend(() => {
          say(id)
          return a
        })
      }
      case "loop": {
        const a = of(at.a)
        return Effect.map(
          Effect.forEach([1, 2, 3], () => a),
          (all) => say(`${id} ${all}`)
        )
      }
      case "exit":
        return Effect.map(Effect.exit(of(at.a)), (exit) => say(`${id} ${exit._tag}`))
      case "uninterruptible":
        return Effect.uninterruptible(of(at.a))
      case "fork":
        return Effect.flatMap(Effect.fork(of(at.a)), (fiber) => Effect.exit(fiber.await)).pipe(
          Effect.map(() => say(id))
        )
      case "orDie":
        return Effect.orDie(of(at.a))
      case "flatMap": {
        const [a, b] = [of(at.a), of(at.b)]
        return Effect.flatMap(a, (n) => {
          say(`${id} ${n}`)
          return b
        })
      }
      case "catch": {
        const [a, b] = [of(at.a), of(at.b)]
        return Effect.catchAllCause(a, (cause) => {
          say(`${id} ${Cause.isInterrupted(cause)}`)
          return b
        })
      }
      case "match": {
        const [a, b, c] = [of(at.a), of(at.b), of(at.c)]
        return Effect.matchCauseEffect(a, {
          onFailure: () => {
            say(id)
            return b
          },
          onSuccess: () => c
        })
      }
      case "ensuring":
        return Effect.ensuring(of(at.a), Effect.ignore(of(at.b)))
      case "locally":
        return Effect.zipRight(of(at.a), Effect.locally(of(at.b), ref, 10))
      case "gen": {
        const [a, b] = [of(at.a), of(at.b)]
        return Effect.gen(function* () {
          try {
            return (yield* a) + (yield* b)
          } finally {
            say(id)
          }
        })
      }
    }
  }
  return of(program)
}

const It = Context.GenericTag<{
  readonly run: (program: Program, log: Array<string>) => Effect.Effect<number, string, string>
}>("It")
const layer = (id: string) =>
  Layer.succeed(It, { run: build }).pipe(Supervised.layer({ id }), SupervisionTree.layer({ name: "app" }))

/** What a program ends with and what it did, without the ids of fibers. */
const outcome = <E>(log: Array<string>, effect: Effect.Effect<number, E, string>) =>
  Effect.gen(function* () {
    const exit = yield* Effect.exit(effect)
    const cause = Exit.isFailure(exit) ? Cause.pretty(exit.cause).replaceAll(/#\d+|\n[\s\S]*/g, "") : exit.value
    return [cause, yield* FiberRef.get(ref), ...log]
  })

describe("driven", () => {
  for (const ops of [2048, 13]) {
    it(`does what the run loop does, with a turn for others after ${ops} steps, also for a fiber that is interrupted`, () =>
      FastCheck.assert(
        FastCheck.asyncProperty(program, FastCheck.nat(12), (program, turns) =>
          Effect.gen(function* () {
            const run = (
              drive: <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>,
              interrupts: boolean
            ) => {
              const log: Array<string> = []
              return Effect.gen(function* () {
                const made = Effect.flatMap(Effect.void, () => drive(build(program, log)))
                const fiber = yield* Effect.fork(
                  outcome(
                    log,
                    Effect.onExit(made, () => Effect.sync(() => log.push("over")))
                  )
                )
                if (!interrupts) return yield* Effect.flatten(fiber.await)
                for (let turn = 0; turn < turns; turn++) yield* Effect.yieldNow()
                yield* Fiber.interrupt(fiber)
                return log.filter((line) => line === "over")
              }).pipe(Effect.provideService(Name, "Ada"), Effect.withMaxOpsBeforeYield(ops))
            }
            const same = <A>(self: A): A => self
            expect(yield* run(driven, false)).toEqual(yield* run(same, false))
            expect(yield* run(driven, true)).toEqual(yield* run(same, true))
          }).pipe(Effect.withScheduler(new Scheduler.MixedScheduler(2048)), Effect.runPromise)
        ),
        { numRuns: 150 }
      ))
  }

  it.effect("waits to be interrupted until a region that is not to be is over", () =>
    Effect.gen(function* () {
      const log: Array<string> = []
      const say = (what: string) => Effect.sync(() => log.push(what))
      const turns = Effect.repeatN(Effect.yieldNow(), 5)
      const region = driven(
        Effect.zipRight(Effect.uninterruptible(Effect.zipRight(turns, say("done"))), say("not reached"))
      )
      const fiber = yield* Effect.fork(region)
      yield* Effect.yieldNow()
      yield* Fiber.interrupt(fiber)
      expect(log).toEqual(["done"])
    })
  )
})

describe("a call through a handle", () => {
  for (const ops of [2048, 13]) {
    it(`does what the direct call does, in the same order, with a turn for others after ${ops} steps`, () =>
      FastCheck.assert(
        FastCheck.asyncProperty(program, (program) =>
          Effect.gen(function* () {
            const run = (how: "yielded" | "mapped" | "direct" | "nested") => {
              const log: Array<string> = []
              const call = Effect.flatMap(It, (it) => {
                const made = how === "direct" ? build(program, log) : it.run(program, log)
                if (how === "nested") return Effect.flatMap(Effect.void, () => Effect.flatMap(Effect.void, () => made))
                return how === "mapped"
                  ? Effect.map(made, (n) => n)
                  : Effect.gen(function* () {
                      return yield* made
                    })
              })
              return outcome(log, Effect.provide(call, layer(how))).pipe(
                Effect.provideService(Name, "Ada"),
                Effect.withMaxOpsBeforeYield(ops),
                Effect.fork,
                Effect.flatMap((fiber) => fiber.await),
                Effect.flatten
              )
            }
            const direct = yield* run("direct")
            for (const how of ["yielded", "mapped", "nested"] as const) expect(yield* run(how)).toEqual(direct)
          }).pipe(Effect.withScheduler(new Scheduler.MixedScheduler(2048)), Effect.runPromise)
        ),
        { numRuns: 150 }
      ))
  }

  const Plain = Context.GenericTag<{
    readonly who: () => Effect.Effect<unknown>
    readonly throws: () => Effect.Effect<never>
    readonly wrong: () => Effect.Effect<number>
  }>("Plain")
  const plain = Layer.succeed(Plain, {
    who: () => Effect.flatMap(Effect.void, () => Effect.fiberId),
    throws: () =>
      Effect.sync(() => {
        throw new Error("no")
      }),
    wrong: () => Effect.flatMap(Effect.void, () => 3 as never)
  }).pipe(Supervised.layer({ id: "it" }), SupervisionTree.layer({ name: "app" }))

  it.scoped("needs no fiber while it takes no time", () =>
    Effect.gen(function* () {
      const it = yield* Plain
      expect(yield* it.who()).toEqual(yield* Effect.fiberId)
      expect(yield* Effect.map(it.who(), (id) => id)).toEqual(yield* Effect.fiberId)
    }).pipe(Effect.provide(plain))
  )

  it.scoped(
    "leaves its caller's FiberRefs alone when it closes a scope whose finalizer has those of another time",
    () => {
      const Closing = Context.GenericTag<{ readonly close: Effect.Effect<ReadonlyArray<number>> }>("Closing")
      const closing = Layer.succeed(Closing, {
        close: Effect.gen(function* () {
          const scope = yield* Scope.make()
          const seen: Array<number> = []
          const see = Effect.zipRight(
            Effect.promise(() => Promise.resolve()),
            Effect.map(FiberRef.get(ref), (n) => seen.push(n))
          )
          yield* Effect.provideService(
            Effect.locally(
              Effect.addFinalizer(() => see),
              ref,
              7
            ),
            Scope.Scope,
            scope
          )
          yield* see
          return yield* Effect.flatMap(Effect.zipRight(Scope.close(scope, Exit.void), see), () => Effect.succeed(seen))
        })
      }).pipe(Supervised.layer({ id: "it" }), SupervisionTree.layer({ name: "app" }))
      const Plainly = Context.GenericTag<{ readonly close: (scope: Scope.CloseableScope) => Effect.Effect<number> }>(
        "Plainly"
      )
      const plainly = Layer.succeed(Plainly, {
        close: (scope) => Effect.zipRight(Scope.close(scope, Exit.void), FiberRef.get(ref))
      }).pipe(Supervised.layer({ id: "it" }), SupervisionTree.layer({ name: "app" }))
      return Effect.gen(function* () {
        expect(yield* Effect.flatMap(Closing, (it) => it.close)).toEqual([0, 7, 0])
        expect(yield* FiberRef.get(ref)).toBe(0)
      }).pipe(
        Effect.provide(closing),
        Effect.zipRight(
          Effect.gen(function* () {
            const it = yield* Plainly
            const scope = yield* Scope.make()
            const seen: Array<number> = []
            const see = Effect.map(FiberRef.get(ref), (n) => seen.push(n))
            yield* Effect.addFinalizer(() => Effect.zipRight(Effect.yieldNow(), see)).pipe(
              Effect.locally(ref, 7),
              Effect.provideService(Scope.Scope, scope)
            )
            expect([yield* it.close(scope), yield* FiberRef.get(ref), ...seen]).toEqual([0, 0, 7])
          }).pipe(Effect.provide(plainly))
        )
      )
    }
  )

  it.scoped("leaves its caller's FiberRefs alone when it dies with others set, whatever values these have", () => {
    const Setting = Context.GenericTag<{ readonly hang: (value: number) => Effect.Effect<void> }>("Setting")
    const setting = Layer.succeed(Setting, {
      hang: (value) =>
        Effect.withFiberRuntime<void>((fiber) => {
          const before = fiber.getFiberRef(ref)
          // Not in its public type: how a finalizer gets the FiberRefs that it was made with.
          ;(fiber as unknown as { setFiberRef: (ref: FiberRef.FiberRef<number>, to: number) => void }).setFiberRef(
            ref,
            value
          )
          return Effect.ensuring(Effect.never, FiberRef.set(ref, before))
        })
    }).pipe(Supervised.layer({ id: "it" }), SupervisionTree.layer({ name: "app" }))
    return Effect.gen(function* () {
      const it = yield* Setting
      const left: Array<number> = []
      // A number like any other, and the one that says which flags a fiber has.
      for (const value of [7, yield* Effect.getRuntimeFlags]) {
        const caller = yield* Effect.fork(Effect.zipRight(Effect.exit(it.hang(value)), FiberRef.get(ref)))
        yield* Effect.yieldNow()
        yield* TestSupervision.crash("app/it")
        left.push(yield* Fiber.join(caller))
      }
      expect(left).toEqual([0, 0])
    }).pipe(Effect.provide(setting))
  })

  it.scoped("throws nothing into the generator that makes it", () =>
    Effect.gen(function* () {
      const it = yield* Plain
      const caught: Array<unknown> = []
      const exit = yield* Effect.exit(
        Effect.gen(function* () {
          try {
            yield* it.throws()
          } catch (error) {
            caught.push(error)
          }
        })
      )
      expect(caught).toEqual([])
      expect(Exit.isFailure(exit) && Cause.isDie(exit.cause)).toBe(true)
    }).pipe(Effect.provide(plain))
  )

  it.scoped("does no further step when its fiber has been interrupted in one", () => {
    class Stops extends Context.Tag("Stops")<
      Stops,
      { readonly stop: Effect.Effect<void>; readonly note: (what: string) => Effect.Effect<void> }
    >() {}
    const said: Array<string> = []
    const note = (what: string): Effect.Effect<void> => Effect.sync(() => void said.push(what))
    const interrupted = Effect.withFiberRuntime<void>((fiber) =>
      Effect.sync(() => fiber.unsafeInterruptAsFork(fiber.id()))
    )
    const layer = Layer.succeed(Stops, {
      stop: Effect.flatMap(interrupted, () => note("inside the call")),
      note
    }).pipe(Supervised.layer({ id: "stops" }), SupervisionTree.layer({ name: "app" }))
    return Effect.gen(function* () {
      const stops = yield* Stops
      const before = Effect.zipRight(interrupted, Effect.void)
      const generator = Effect.gen(function* () {
        yield* stops.stop
        yield* stops.note("after the call")
      })
      for (const program of [
        Effect.asVoid(stops.stop),
        generator,
        Effect.flatMap(before, () => stops.note("called"))
      ]) {
        const fiber = yield* Effect.fork(program)
        expect(Exit.isInterrupted(yield* Fiber.await(fiber))).toBe(true)
      }
      expect(said).toEqual([])
    }).pipe(Effect.provide(layer))
  })

  it.scoped("says of what is no Effect that it is none", () =>
    Effect.gen(function* () {
      const it = yield* Plain
      const exit = yield* Effect.exit(it.wrong())
      expect(Exit.isFailure(exit) && Cause.pretty(exit.cause)).toContain("Not a valid effect: 3")
    }).pipe(Effect.provide(plain))
  )
})
