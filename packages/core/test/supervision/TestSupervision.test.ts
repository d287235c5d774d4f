import { describe, expect, it } from "@effect/vitest"
import { Cause, Effect, Exit, Layer, TestClock } from "effect"
import * as Supervised from "../../src/supervision/Supervised.js"
import * as SupervisionTree from "../../src/supervision/SupervisionTree.js"
import * as TestSupervision from "../../src/supervision/TestSupervision.js"

const app = (options: SupervisionTree.Options = {}) => {
  const events: Array<string> = []
  const child = (id: string) => {
    let instances = 0
    return Layer.scopedDiscard(
      Effect.suspend(() => {
        const n = ++instances
        return Effect.acquireRelease(
          Effect.sync(() => events.push(`+${id}${n}`)),
          () => Effect.sync(() => events.push(`-${id}${n}`))
        )
      })
    ).pipe(Supervised.layer({ id }))
  }
  const layer = child("b").pipe(
    Layer.provideMerge(child("a")),
    SupervisionTree.layer({ name: "app", intensity: 5, ...options })
  )
  return { events, layer }
}

describe("failNextStart", () => {
  it.effect("fails the next start, which is tried again, and each attempt counts", () => {
    const { events, layer } = app()
    return Effect.gen(function* () {
      yield* TestSupervision.failNextStart("app/a", { times: 2 })
      yield* TestSupervision.crash("app/a")
      expect(yield* TestSupervision.awaitRestart("app/a")).toBe(4)
      expect(events).toEqual(["+a1", "+b1", "-a1", "+a2"])
      expect((yield* SupervisionTree.snapshot).intensity.used).toBe(3)
      yield* TestSupervision.crash("app/a")
      expect(yield* TestSupervision.awaitRestart("app/a")).toBe(5)
    }).pipe(Effect.provide(layer))
  })

  it.effect("fails with the Cause it is given, also a start that was asked for, and that of a group", () => {
    const { events, layer } = app({ strategy: "rest_for_one" })
    return Effect.gen(function* () {
      yield* SupervisionTree.terminate("app/b")
      yield* TestSupervision.failNextStart("app/b", { cause: Cause.fail("no port") })
      const error = yield* Effect.flip(SupervisionTree.start("app/b"))
      expect(error).toMatchObject({ reason: "start failed" })
      expect(Cause.squash(error.cause)).toBe("no port")
      yield* TestSupervision.failNextStart("app/b")
      yield* TestSupervision.crash("app/a")
      yield* TestClock.adjust("1 second")
      yield* TestSupervision.expectTree(`
        app rest_for_one, 2 of 5 restarts in 5 s
        ├─ a up #2, restarted 1×
        └─ b up #4, restarted 1×
      `)
      expect(events).toEqual(["+a1", "+b1", "-b1", "-a1", "+a2", "+b2"])
    }).pipe(Effect.provide(layer))
  })

  it.effect("can be taken back, and knows no child that is not there", () => {
    const { layer } = app()
    return Effect.gen(function* () {
      yield* TestSupervision.failNextStart("app/a", { times: 100 })
      yield* TestSupervision.failNextStart("app/a", { times: 0 })
      yield* SupervisionTree.restart("app/a")
      const exit = yield* Effect.exit(TestSupervision.failNextStart("app/c"))
      expect(Exit.isFailure(exit) && Cause.pretty(exit.cause)).toContain(
        'no child has the path "app/c"; there are: app/a, app/b'
      )
    }).pipe(Effect.provide(layer))
  })
})

describe("awaitGiveUp", () => {
  it.effect("answers with why the tree gave up, also afterwards", () => {
    const { events, layer } = app()
    return Effect.gen(function* () {
      yield* TestSupervision.failNextStart("app/a", { times: 100 })
      yield* TestSupervision.crash("app/a")
      for (let n = 0; n < 2; n++) {
        expect(yield* TestSupervision.awaitGiveUp).toMatchObject({ reason: "intensity", childId: "a", restarts: 6 })
      }
      expect(events).toEqual(["+a1", "+b1", "-a1", "-b1"])
    }).pipe(Effect.provide(layer))
  })
})

describe("expectTree", () => {
  it.effect("dies with both pictures if they differ", () => {
    const { layer } = app()
    return Effect.gen(function* () {
      const exit = yield* Effect.exit(TestSupervision.expectTree("app one_for_one, 0 of 5 restarts in 5 s\n└─ a up #1"))
      const text = Exit.isFailure(exit) ? Cause.pretty(exit.cause) : ""
      expect(text).toContain("expected:\napp one_for_one, 0 of 5 restarts in 5 s\n└─ a up #1")
      expect(text).toContain("actual:\napp one_for_one, 0 of 5 restarts in 5 s\n├─ a up #1\n└─ b up #1")
    }).pipe(Effect.provide(layer))
  })
})
