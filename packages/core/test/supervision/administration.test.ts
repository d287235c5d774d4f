import { describe, expect, it } from "@effect/vitest"
import { Cause, Context, Effect, Exit, Fiber, Layer, Option, TestClock } from "effect"
import * as Supervised from "../../src/supervision/Supervised.js"
import { ChildDown } from "../../src/supervision/SupervisionError.js"
import * as SupervisionTree from "../../src/supervision/SupervisionTree.js"
import * as TestSupervision from "../../src/supervision/TestSupervision.js"

const Db = Context.GenericTag<{ readonly instance: Effect.Effect<number> }>("Db")

const app = (options: Supervised.ChildOptions = {}, build: (n: number) => Effect.Effect<void> = () => Effect.void) => {
  const state = { instances: 0, events: [] as Array<string> }
  const layer = Layer.scoped(
    Db,
    Effect.gen(function* () {
      const n = ++state.instances
      yield* build(n)
      state.events.push(`+${n}`)
      yield* Effect.addFinalizer(() => Effect.sync(() => state.events.push(`-${n}`)))
      return { instance: Effect.succeed(n) }
    })
  ).pipe(Supervised.layer({ id: "db", ...options }), SupervisionTree.layer({ name: "app" }))
  return { layer, state }
}

const reason = (effect: Effect.Effect<void, SupervisionTree.ControlError, SupervisionTree.SupervisionTree>) =>
  Effect.match(effect, { onSuccess: () => "ok", onFailure: (error) => error.reason })

const used = Effect.map(SupervisionTree.snapshot, (node) => node.intensity.used)

describe("terminate", () => {
  it.effect("23, 24: stops a child and keeps it down, however often it is asked", () => {
    const { layer, state } = app()
    return Effect.gen(function* () {
      expect(yield* reason(SupervisionTree.terminate("app/db"))).toBe("ok")
      expect(yield* reason(SupervisionTree.terminate("app/db"))).toBe("ok")
      yield* TestClock.adjust("1 minute")
      expect(state.events).toEqual(["+1", "-1"])
      expect((yield* SupervisionTree.snapshot).children).toMatchObject([{ id: "db", status: "down", instance: 1 }])
      expect(yield* used).toBe(0)
    }).pipe(Effect.provide(layer))
  })

  it.effect("forgets a temporary child", () => {
    const { layer } = app({ restart: "temporary" })
    return Effect.gen(function* () {
      yield* SupervisionTree.terminate("app/db")
      expect((yield* SupervisionTree.snapshot).children).toEqual([])
      expect(yield* reason(SupervisionTree.terminate("app/db"))).toBe("not found")
    }).pipe(Effect.provide(layer))
  })

  it.effect("191: interrupts a restart whose build hangs", () => {
    const { layer } = app({}, (n) => (n === 2 ? Effect.never : Effect.void))
    return Effect.gen(function* () {
      yield* TestSupervision.crash("app/db")
      yield* TestClock.adjust("1 second")
      expect((yield* SupervisionTree.snapshot).children).toMatchObject([{ status: "starting" }])
      yield* SupervisionTree.terminate("app/db")
      expect((yield* SupervisionTree.snapshot).children).toMatchObject([{ status: "down" }])
      yield* SupervisionTree.start("app/db")
      expect(yield* Effect.flatMap(Db, (db) => db.instance)).toBe(3)
    }).pipe(Effect.provide(layer))
  })
})

describe("start", () => {
  it.effect("starts a child that is down, and refuses one that is running", () => {
    const { layer, state } = app()
    return Effect.gen(function* () {
      expect(yield* reason(SupervisionTree.start("app/db"))).toBe("running")
      yield* SupervisionTree.terminate("app/db")
      yield* SupervisionTree.start("app/db")
      expect(state.events).toEqual(["+1", "-1", "+2"])
      expect(yield* used).toBe(0)
    }).pipe(Effect.provide(layer))
  })

  it.effect("answers with the cause when the child cannot be built, and leaves it down", () => {
    const { layer } = app({}, (n) => (n === 2 ? Effect.die("no disk") : Effect.void))
    return Effect.gen(function* () {
      yield* SupervisionTree.terminate("app/db")
      const error = yield* Effect.flip(SupervisionTree.start("app/db"))
      expect(error.reason).toBe("start failed")
      expect(Option.getOrUndefined(Cause.dieOption(error.cause))).toBe("no disk")
      expect((yield* SupervisionTree.snapshot).children).toMatchObject([{ status: "down" }])
    }).pipe(Effect.provide(layer))
  })
})

describe("restart", () => {
  it.effect("stops and starts a running child without counting it", () => {
    const { layer, state } = app()
    return Effect.gen(function* () {
      yield* SupervisionTree.restart("app/db")
      expect(state.events).toEqual(["+1", "-1", "+2"])
      expect(yield* used).toBe(0)
      expect(yield* Effect.flatMap(Db, (db) => db.instance)).toBe(2)
    }).pipe(Effect.provide(layer))
  })
})

describe("remove", () => {
  it.effect("forgets a child that is down; calls through its handles die at once", () => {
    const { layer } = app()
    return Effect.gen(function* () {
      const db = yield* Db
      expect(yield* reason(SupervisionTree.remove("app/db"))).toBe("running")
      yield* SupervisionTree.terminate("app/db")
      yield* SupervisionTree.remove("app/db")
      expect(yield* reason(SupervisionTree.remove("app/db"))).toBe("not found")
      const exit = yield* Effect.exit(db.instance)
      expect(Exit.isFailure(exit) && Option.getOrUndefined(Cause.dieOption(exit.cause))).toBeInstanceOf(ChildDown)
    }).pipe(Effect.provide(layer))
  })
})

describe("an administration call", () => {
  it.effect("names an unknown path", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(SupervisionTree.restart("app/nothing"))
      expect(error.message).toBe('could not restart "app/nothing": there is no child of this path')
    }).pipe(Effect.provide(app().layer))
  )

  it.effect("203: from the build of a child fails at once instead of waiting for itself", () => {
    const reasons: Array<string> = []
    const tree = Effect.flatMap(SupervisionTree.SupervisionTree, Effect.succeed)
    let self: Effect.Effect.Success<typeof tree> | undefined
    const { layer } = app({}, (n) =>
      n === 1
        ? Effect.void
        : Effect.suspend(() => self?.control("restart", "app/db") ?? Effect.void).pipe(
            Effect.catchAll((error) => Effect.sync(() => reasons.push(error.reason)))
          )
    )
    return Effect.gen(function* () {
      self = yield* tree
      yield* TestSupervision.crash("app/db")
      yield* TestSupervision.awaitRestart("app/db")
      expect(reasons).toEqual(["would deadlock"])
    }).pipe(Effect.provide(layer))
  })

  it.effect("to a supervisor that has ended is refused", () => {
    const { layer } = app()
    return Effect.gen(function* () {
      const context = yield* Effect.scoped(Layer.build(layer))
      expect(yield* reason(SupervisionTree.restart("app/db")).pipe(Effect.provide(context))).toBe("closed")
    })
  })

  it.effect("reaches the children of a nested tree", () => {
    const inner = app().layer
    const layer = Supervised.layer(inner, { id: "inner" }).pipe(SupervisionTree.layer({ name: "outer" }))
    return Effect.gen(function* () {
      yield* SupervisionTree.restart("outer/inner/db")
      expect(yield* Effect.flatMap(Db, (db) => db.instance)).toBe(2)
    }).pipe(Effect.provide(layer))
  })

  it.effect("does not hang when its caller is interrupted", () => {
    const { layer } = app({}, (n) => (n === 2 ? Effect.never : Effect.void))
    return Effect.gen(function* () {
      const call = yield* Effect.fork(SupervisionTree.restart("app/db"))
      yield* TestClock.adjust("1 second")
      yield* Fiber.interrupt(call)
      yield* SupervisionTree.terminate("app/db")
    }).pipe(Effect.provide(layer))
  })
})
