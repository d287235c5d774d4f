import { describe, expect, it } from "@effect/vitest"
import { Effect, Fiber, TestClock } from "effect"
import * as SupervisionTree from "../../../src/supervision/SupervisionTree.js"
import { end, family, settle, status, statuses, used } from "./family.js"

const strategies = ["one_for_one", "one_for_all", "rest_for_one", "rest_for_dependents"] as const

describe("intensity", () => {
  for (const strategy of strategies) {
    it.effect(`47: the third crash inside the window stops all children, in reverse (${strategy})`, () => {
      const { events, layer, of } = family({ strategy, intensity: 2 }, { a: {}, b: {}, c: {} })
      return Effect.gen(function* () {
        yield* end(of.b, "crash")
        yield* end(of.b, "crash")
        expect(yield* status).toBe("running")
        events.length = 0
        yield* end(of.b, "crash")
        const error = yield* Effect.flip(SupervisionTree.awaitShutdown)
        expect(error).toMatchObject({ path: "app", reason: "intensity", childId: "b", restarts: 3 })
        const [a, c] = { one_for_one: [1, 1], one_for_all: [3, 3], rest_for_one: [1, 3], rest_for_dependents: [1, 1] }[
          strategy
        ]
        expect(events).toEqual(["-b3", `-c${c}`, `-a${a}`])
      }).pipe(Effect.provide(layer))
    })

    it.effect(`62: a child that crashes and then cannot start takes all of them down (${strategy})`, () => {
      const { events, layer, of } = family({ strategy }, { a: {}, b: {}, c: {} })
      return Effect.gen(function* () {
        of.b.state.failNext = Number.POSITIVE_INFINITY
        yield* end(of.b, "crash")
        expect(yield* Effect.flip(SupervisionTree.awaitShutdown)).toMatchObject({ childId: "b", restarts: 4 })
        expect(events.filter((event) => event === "b fails")).toHaveLength(3)
        const started = events.filter((event) => event.startsWith("+")).map((event) => event.slice(1))
        const stopped = events.filter((event) => event.startsWith("-")).map((event) => event.slice(1))
        expect(stopped.sort()).toEqual(started.sort())
      }).pipe(Effect.provide(layer))
    })
  }

  it.effect("52: giving up stops the healthy siblings in reverse, each as its shutdown says", () => {
    const { events, layer, of } = family(
      { intensity: 0 },
      {
        killed: { shutdown: "brutalKill", finalizer: Effect.never },
        stuck: { shutdown: "2 seconds", finalizer: Effect.never },
        patient: { shutdown: "infinity", finalizer: Effect.sleep("1 hour") },
        crashes: {}
      }
    )
    return Effect.gen(function* () {
      const shutdown = yield* Effect.fork(Effect.flip(SupervisionTree.awaitShutdown))
      events.length = 0
      yield* end(of.crashes, "crash")
      expect(events).toEqual(["-crashes1", "-patient1"])
      yield* TestClock.adjust("1 hour")
      expect(events.slice(2)).toEqual(["-stuck1"])
      yield* TestClock.adjust("1999 millis")
      expect(shutdown.unsafePoll()).toBe(null)
      yield* TestClock.adjust("1 millis")
      expect(yield* Fiber.join(shutdown)).toMatchObject({ childId: "crashes" })
      expect(events.slice(3)).toEqual(["-killed1"])
      expect((yield* SupervisionTree.snapshot).children.map((it) => it.orphaned)).toEqual([1, 1, 0, 0])
    }).pipe(Effect.provide(layer))
  })

  for (const [strategy, cost] of [
    ["one_for_one", 3],
    ["rest_for_one", 1],
    ["one_for_all", 1]
  ] as const) {
    it.effect(`61: three that crash together cost ${cost} under ${strategy}, if the first of them goes first`, () => {
      const { layer, of } = family({ strategy }, { db: {}, orders: {}, http: {} })
      return Effect.gen(function* () {
        const services = [yield* of.db.tag, yield* of.orders.tag, yield* of.http.tag]
        // One after the other without a pause in between: no letter is read before the last has crashed.
        yield* Effect.forEach(services, (service) => service.end("crash"))
        yield* settle
        expect(yield* used).toBe(cost)
        expect(yield* statuses).toEqual(["db up #2", "orders up #2", "http up #2"])
      }).pipe(Effect.provide(layer))
    })
  }
})

describe("a group restart", () => {
  it.effect("56: of five children takes those after the crash down in reverse, and up in order", () => {
    const { events, layer, of } = family({ strategy: "rest_for_one" }, { a: {}, b: {}, c: {}, d: {}, e: {} })
    return Effect.gen(function* () {
      yield* Effect.provide(end(of.c, "crash"), layer)
      expect(events).toEqual([
        ...["+a1", "+b1", "+c1", "+d1", "+e1"],
        ...["-c1", "-e1", "-d1"],
        ...["+c2", "+d2", "+e2"],
        ...["-e2", "-d2", "-c2", "-b1", "-a1"]
      ])
    })
  })

  for (const strategy of ["one_for_all", "rest_for_one"] as const) {
    it.effect(`59: stops and forgets a temporary bystander, at no cost of its own (${strategy})`, () => {
      const { events, layer, of } = family({ strategy, intensity: 1 }, { a: {}, b: { restart: "temporary" }, c: {} })
      return Effect.gen(function* () {
        yield* end(of.a, "crash")
        expect(yield* statuses).toEqual(["a up #2", "c up #2"])
        expect(yield* used).toBe(1)
        expect(events.slice(3)).toEqual(["-a1", "-c1", "-b1", "+a2", "+c2"])
      }).pipe(Effect.provide(layer))
    })
  }
})
