import { describe, expect, it } from "@effect/vitest"
import { Cause, Deferred, Effect, Fiber, Layer, TestClock } from "effect"
import * as Supervised from "../../src/supervision/Supervised.js"
import * as SupervisionTree from "../../src/supervision/SupervisionTree.js"
import * as TestSupervision from "../../src/supervision/TestSupervision.js"

const tree = <A, E>(child: Layer.Layer<A, E, Supervised.CurrentSupervisor>, options?: SupervisionTree.Options) =>
  SupervisionTree.layer({ name: "app", ...options })(child)

describe("Supervised.effect", () => {
  it.effect("runs a permanent Effect again whatever it ends with, until the intensity is used up", () => {
    let runs = 0
    const layer = tree(
      Supervised.effect(
        "job",
        Effect.sync(() => runs++)
      ),
      { intensity: 3 }
    )
    return Effect.gen(function* () {
      expect(yield* Effect.flip(SupervisionTree.launch(layer))).toMatchObject({ childId: "job", restarts: 4 })
      expect(runs).toBe(4)
    })
  })

  it.effect("leaves a transient Effect that has ended well down", () =>
    Effect.gen(function* () {
      yield* TestClock.adjust("2 seconds")
      yield* TestSupervision.expectTree(`
        app one_for_one, 0 of 3 restarts in 5 s
        └─ job down #1, transient
      `)
    }).pipe(Effect.provide(tree(Supervised.effect("job", Effect.sleep("1 second"), { restart: "transient" }))))
  )

  it.effect("runs a transient Effect that has failed again", () => {
    let runs = 0
    const job = Effect.suspend(() => (runs++ === 0 ? Effect.fail("no") : Effect.never))
    return Effect.gen(function* () {
      expect(yield* TestSupervision.awaitRestart("app/job")).toBe(2)
    }).pipe(Effect.provide(tree(Supervised.effect("job", job, { restart: "transient" }))))
  })
})

describe("Supervised.fork", () => {
  it.effect("links a fiber that fails before the instance is up", () => {
    let builds = 0
    const layer = Layer.scopedDiscard(
      Effect.gen(function* () {
        if (builds++ > 0) return
        yield* Supervised.fork(Effect.die("early"))
        yield* Effect.yieldNow()
        yield* Effect.yieldNow()
      })
    )
    return Effect.gen(function* () {
      expect(yield* TestSupervision.awaitRestart("app/child")).toBe(2)
    }).pipe(Effect.provide(tree(Supervised.layer(layer, { id: "child" }))))
  })
})

describe("Supervised.exit", () => {
  const exiting = (reason: Parameters<typeof Supervised.exit>[0], restart: "permanent" | "transient") => {
    const events: Array<string> = []
    let builds = 0
    const go = Deferred.unsafeMake<void>(Effect.runSync(Effect.fiberId))
    const layer = Layer.scopedDiscard(
      Effect.gen(function* () {
        if (builds++ > 0) return
        const worker = Effect.zipRight(Deferred.await(go), Supervised.exit(reason))
        yield* Effect.forkScoped(Effect.onInterrupt(worker, () => Effect.sync(() => events.push("interrupted"))))
      })
    )
    return { events, go, layer: tree(Supervised.layer(layer, { id: "child", restart })) }
  }

  it.effect("normal leaves a transient child down, and ends the fiber that said so", () => {
    const { events, go, layer } = exiting("normal", "transient")
    return Effect.gen(function* () {
      yield* Deferred.succeed(go, undefined)
      yield* TestClock.adjust("1 second")
      yield* TestSupervision.expectTree("app one_for_one, 0 of 3 restarts in 5 s\n└─ child down #1, transient")
      expect(events).toEqual(["interrupted"])
    }).pipe(Effect.provide(layer))
  })

  it.effect("a Cause is a crash", () => {
    const { go, layer } = exiting(Cause.die("enough"), "transient")
    return Effect.gen(function* () {
      yield* Deferred.succeed(go, undefined)
      expect(yield* TestSupervision.awaitRestart("app/child")).toBe(2)
    }).pipe(Effect.provide(layer))
  })

  it.effect("outside an instance is a defect", () =>
    Effect.gen(function* () {
      const fiber = yield* Effect.fork(Supervised.exit("normal"))
      expect(String(yield* Effect.flip(Effect.sandbox(Fiber.join(fiber))))).toContain("outside a supervised instance")
    })
  )
})

describe("TestSupervision.expectTree", () => {
  it.effect("dies with both pictures when they differ", () =>
    Effect.gen(function* () {
      const cause = yield* Effect.flip(Effect.sandbox(TestSupervision.expectTree("app")))
      expect(Cause.pretty(cause)).toContain("└─ job up #1")
    }).pipe(Effect.provide(tree(Supervised.effect("job", Effect.never))))
  )
})
