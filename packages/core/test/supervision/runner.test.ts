import { describe, expect, it } from "@effect/vitest"
import { Cause, Context, Deferred, Effect, Exit, Fiber, FiberId, Layer, Logger, Option, TestClock } from "effect"
import * as DynamicSupervisor from "../../src/supervision/DynamicSupervisor.js"
import * as Supervised from "../../src/supervision/Supervised.js"
import { SupervisorShutdown } from "../../src/supervision/SupervisionError.js"
import * as SupervisionTree from "../../src/supervision/SupervisionTree.js"

type Tree = Layer.Layer<SupervisionTree.SupervisionTree>

const quiet = Logger.replace(
  Logger.defaultLogger,
  Logger.make(() => {})
)

const noting = (events: Array<string>, id: string) =>
  Effect.acquireRelease(
    Effect.sync(() => events.push(`+${id}`)),
    () => Effect.sync(() => events.push(`-${id}`))
  )

/** A tree with one child, which dies, once too often, when `end` is done. */
const dying = (events: Array<string>, name: string, end: Deferred.Deferred<void>) =>
  Layer.scopedDiscard(
    Effect.zipRight(
      noting(events, name),
      Effect.forkScoped(Effect.zipRight(Deferred.await(end), Effect.die(`${name} is dead`)))
    )
  ).pipe(Supervised.layer({ id: "it" }), SupervisionTree.layer({ name, intensity: 0 }))

/** A tree with one child, and what else is put around that. */
const living = (events: Array<string>, name: string, also: Layer.Layer<never> = Layer.empty): Tree =>
  Layer.scopedDiscard(noting(events, name)).pipe(
    Supervised.layer({ id: "it" }),
    (child) => Layer.provideMerge(also, child),
    SupervisionTree.layer({ name })
  )

/** A dynamic supervisor with one child, which dies when `end` is done. */
const jobs = (events: Array<string>, end: Deferred.Deferred<void>) =>
  Layer.scopedDiscard(
    Effect.gen(function* () {
      const self = yield* DynamicSupervisor.make({
        name: "jobs",
        child: (id: string) =>
          Effect.zipRight(
            noting(events, id),
            DynamicSupervisor.task(() => Effect.zipRight(Deferred.await(end), Effect.die("job")))(id)
          ),
        intensity: 0
      })
      yield* Effect.orDie(self.start("job"))
    })
  )

const endOf = (exit: Exit.Exit<unknown, unknown>): unknown =>
  Exit.match(exit, {
    onSuccess: (value) => value,
    onFailure: (cause) => {
      const failure = Option.getOrUndefined(Cause.failureOption(cause))
      return failure instanceof SupervisorShutdown ? `${failure.reason} ${failure.path}` : Cause.pretty(cause)
    }
  })

/** The ways to run a tree that are told of its end. */
const ways: ReadonlyArray<readonly [string, (tree: Tree) => Effect.Effect<unknown>]> = [
  ["launch", (tree) => Effect.map(Effect.exit(SupervisionTree.launch(tree)), endOf)],
  ["provide", (tree) => Effect.map(Effect.exit(SupervisionTree.provide(tree)(Effect.never)), endOf)],
  [
    "runtime",
    (tree) =>
      Effect.acquireUseRelease(
        Effect.sync(() => SupervisionTree.runtime(tree)),
        (runtime) =>
          Effect.gen(function* () {
            const first = yield* Effect.promise(() => runtime.runPromiseExit(Effect.never))
            return endOf(first)
          }),
        (runtime) => runtime.disposeEffect
      )
  ]
]

/** Long enough for a tree to give up, and for whoever is told of it to end. */
const turns = Effect.promise(async () => {
  for (let n = 0; n < 20; n++) await new Promise(setImmediate)
})

/** Runs a tree, lets what is to die in it die, and answers with what the run ended with. */
const ended = (
  run: (tree: Tree) => Effect.Effect<unknown>,
  make: (events: Array<string>, end: Deferred.Deferred<void>) => Tree
) =>
  Effect.gen(function* () {
    const events: Array<string> = []
    const end = Deferred.unsafeMake<void>(FiberId.none)
    const fiber = yield* Effect.fork(run(Layer.provide(make(events, end), quiet)))
    yield* turns
    const before = fiber.unsafePoll()
    events.push("now")
    yield* Deferred.succeed(end, undefined)
    yield* turns
    const after = fiber.unsafePoll()
    yield* Fiber.interrupt(fiber)
    return { before, after: after === null ? "runs on" : endOf(after), events }
  })

describe.each(ways)("SupervisionTree.%s", (_, run) => {
  it.effect("ends with the give-up of a tree that is merged with another one, whichever of them it is", () =>
    Effect.gen(function* () {
      for (const order of ["first", "last"]) {
        const { after, before, events } = yield* ended(run, (events, end) => {
          const [a, b] = [dying(events, "one", end), living(events, "other")]
          return order === "first" ? Layer.merge(a, b) : Layer.merge(b, a)
        })
        expect([before, after]).toEqual([null, "intensity one"])
        expect(events.filter((event) => event !== "now").sort()).toEqual(["+one", "+other", "-one", "-other"])
      }
    })
  )

  it.effect("ends with the give-up of a tree beneath another one", () =>
    Effect.gen(function* () {
      const { after, before, events } = yield* ended(run, (events, end) =>
        Layer.provide(living(events, "upper"), dying(events, "lower", end))
      )
      expect([before, after]).toEqual([null, "intensity lower"])
      expect(events).toEqual(["+lower", "+upper", "now", "-lower", "-upper"])
    })
  )

  it.effect(
    "ends with the give-up of a tree that is built among the children of another one, and is none of them",
    () =>
      Effect.gen(function* () {
        const { after, before, events } = yield* ended(run, (events, end) =>
          living(events, "outer", Layer.discard(dying(events, "inner", end)))
        )
        expect([before, after]).toEqual([null, "intensity inner"])
        expect(events).toEqual(["+outer", "+inner", "now", "-inner", "-outer"])
      })
  )

  it.effect("ends with the give-up of a dynamic supervisor: merged, beneath, and among the children", () =>
    Effect.gen(function* () {
      const places: ReadonlyArray<(events: Array<string>, jobs: Layer.Layer<never>) => Tree> = [
        (events, jobs) => Layer.merge(living(events, "tree"), jobs),
        (events, jobs) => Layer.provide(living(events, "tree"), jobs),
        (events, jobs) => living(events, "tree", jobs)
      ]
      for (const place of places) {
        const { after, before, events } = yield* ended(run, (events, end) => place(events, jobs(events, end)))
        expect([before, after]).toEqual([null, "intensity jobs"])
        expect(events.filter((event) => event !== "now").sort()).toEqual(["+job", "+tree", "-job", "-tree"])
      }
    })
  )

  it.effect("ends with a give-up while the rest is still being built, and stops that", () =>
    Effect.gen(function* () {
      const { after, before, events } = yield* ended(run, (events, end) => {
        const hanging = Layer.scopedDiscard(Effect.zipRight(noting(events, "hangs"), Effect.never))
        return Layer.provide(
          living(events, "upper"),
          Layer.provide(hanging, Layer.discard(dying(events, "lower", end)))
        )
      })
      expect(before).toBe(null)
      // A build that fails is tried again by the next run of a runtime, whose child is dead at once.
      expect(after).toBe("intensity lower")
      expect(events.slice(0, 5)).toEqual(["+lower", "+hangs", "now", "-lower", "-hangs"])
    })
  )

  it.effect("does not end with a tree that somebody inside of it runs", () =>
    Effect.gen(function* () {
      const { after } = yield* ended(run, (events, end) => {
        const work = Effect.exit(SupervisionTree.launch(dying(events, "inner", end)))
        return living(events, "outer", Layer.scopedDiscard(Effect.forkScoped(work)))
      })
      expect(after).toBe("runs on")
    })
  )

  it.effect("does not end with a tree that somebody inside of it builds later", () =>
    Effect.gen(function* () {
      const { after } = yield* ended(run, (events, end) => {
        const work = Effect.delay(Effect.scoped(Layer.build(dying(events, "inner", end))), 0)
        return living(events, "outer", Layer.scopedDiscard(Effect.forkScoped(Effect.zipRight(turns, work))))
      })
      expect(after).toBe("runs on")
    })
  )
})

describe("a SupervisionTree.runtime", () => {
  it.effect("of several trees fails every later run when one of them has given up", () =>
    Effect.gen(function* () {
      const end = Deferred.unsafeMake<void>(FiberId.none)
      const both = Layer.merge(dying([], "one", end), living([], "other"))
      const runtime = SupervisionTree.runtime(Layer.provide(both, quiet))
      yield* Effect.promise(() =>
        runtime.runPromise(Effect.zipRight(Deferred.succeed(end, undefined), turns)).catch(() => {})
      )
      expect(endOf(yield* Effect.promise(() => runtime.runPromiseExit(Effect.void)))).toBe("intensity one")
      yield* runtime.disposeEffect
    })
  )

  it.effect("tries again to build what was not complete when a part of it gave up", () =>
    Effect.gen(function* () {
      const events: Array<string> = []
      const end = Deferred.unsafeMake<void>(FiberId.none)
      const slow = Layer.scopedDiscard(
        Effect.suspend(() =>
          events.length > 1 ? Effect.void : Effect.zipRight(Deferred.succeed(end, undefined), Effect.never)
        )
      )
      const tree = Layer.provide(
        living(events, "upper"),
        Layer.provide(slow, Layer.discard(dying(events, "lower", end)))
      )
      const runtime = SupervisionTree.runtime(Layer.provide(tree, quiet))
      expect(endOf(yield* Effect.promise(() => runtime.runPromiseExit(Effect.void)))).toBe("intensity lower")
      expect(events).toEqual(["+lower", "-lower"])
      expect(yield* Effect.promise(() => runtime.runPromise(Effect.succeed("up")))).toBe("up")
      yield* runtime.disposeEffect
      expect(events).toEqual(["+lower", "-lower", "+lower", "+upper", "-upper", "-lower"])
    })
  )
})

describe("a tree among the children of another one, and none of them", () => {
  it.effect("ends that with it, which is the end of the child that both are in", () =>
    Effect.gen(function* () {
      const events: Array<string> = []
      const end = Deferred.unsafeMake<void>(FiberId.none)
      const inside = living(events, "in", Layer.discard(dying(events, "part", end)))
      const app = inside.pipe(Supervised.layer({ id: "in" }), SupervisionTree.layer({ name: "app" }))
      yield* Effect.gen(function* () {
        expect(events).toEqual(["+in", "+part"])
        yield* Deferred.succeed(end, undefined)
        yield* TestClock.adjust(0)
        expect(events).toEqual(["+in", "+part", "-part", "-in", "+in", "+part"])
        expect((yield* SupervisionTree.snapshot).children).toMatchObject([{ id: "in", instance: 2, status: "up" }])
      }).pipe(Effect.provide(app))
    }).pipe(Effect.provide(quiet))
  )

  it.effect("under Effect.provide tells the handles of both", () => {
    const It = Context.GenericTag<{ readonly ask: Effect.Effect<number> }>("It")
    const end = Deferred.unsafeMake<void>(FiberId.none)
    const asked = Layer.succeed(It, { ask: Effect.succeed(1) }).pipe(Supervised.layer({ id: "asked" }))
    const outer = Layer.provideMerge(Layer.discard(dying([], "part", end)), asked).pipe(
      SupervisionTree.layer({ name: "outer" })
    )
    return Effect.gen(function* () {
      const { ask } = yield* It
      expect(yield* ask).toBe(1)
      yield* Deferred.succeed(end, undefined)
      yield* TestClock.adjust(0)
      const exit = yield* Effect.exit(ask)
      expect(Exit.isFailure(exit) && Cause.squash(exit.cause)).toMatchObject({
        _tag: "SupervisorShutdown",
        path: "part"
      })
      expect(yield* Effect.flip(SupervisionTree.awaitShutdown)).toMatchObject({ path: "part" })
    }).pipe(Effect.provide(outer), Effect.provide(quiet))
  })
})

describe("SupervisionTree.provide", () => {
  it.effect("answers with what the program has ended with, whatever gives up while the tree is closed", () =>
    Effect.gen(function* () {
      const events: Array<string> = []
      const end = Deferred.unsafeMake<void>(FiberId.none)
      const slow = Layer.scopedDiscard(
        Effect.addFinalizer(() => Effect.zipRight(Deferred.succeed(end, undefined), Effect.sleep("1 second")))
      )
      const tree = Layer.merge(Layer.provideMerge(slow, dying(events, "one", end)), living(events, "other"))
      const fiber = yield* Effect.fork(SupervisionTree.provide(tree)(Effect.succeed("done")))
      yield* TestClock.adjust("1 second")
      expect(yield* Fiber.join(fiber)).toBe("done")
      expect(events.sort()).toEqual(["+one", "+other", "-one", "-other"])
    }).pipe(Effect.provide(quiet))
  )
})
