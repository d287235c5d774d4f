import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import * as SupervisionTree from "../../../src/supervision/SupervisionTree.js"
import { type Ending, end, family, reply, settle, statuses, used } from "./family.js"

const endings: ReadonlyArray<Ending> = ["normal", "shutdown", "crash"]

describe("restart types", () => {
  for (const [name, restart, how, follows] of [
    ["35: a permanent child is restarted when it ends normally", "permanent", "normal", "restarted"],
    ["36: a permanent child is restarted when it shuts itself down", "permanent", "shutdown", "restarted"],
    ["37: a permanent child is restarted when it crashes", "permanent", "crash", "restarted"],
    ["38: a transient child that ends normally stays down, and is kept", "transient", "normal", "kept"],
    ["39: a transient child that shuts itself down stays down, and is kept", "transient", "shutdown", "kept"],
    ["40: a transient child is restarted when it crashes", "transient", "crash", "restarted"],
    ["41: a temporary child that ends normally is forgotten", "temporary", "normal", "forgotten"],
    ["42: a temporary child that shuts itself down is forgotten", "temporary", "shutdown", "forgotten"],
    ["43: a temporary child that crashes is forgotten", "temporary", "crash", "forgotten"]
  ] as const) {
    it.effect(name, () => {
      const { events, layer, of } = family({}, { a: { restart }, b: {} })
      return Effect.gen(function* () {
        yield* end(of.a, how)
        const a = { restarted: ["a up #2"], kept: ["a down #1"], forgotten: [] }[follows]
        expect(yield* statuses).toEqual([...a, "b up #1"])
        expect(events).toEqual(["+a1", "+b1", "-a1", ...(follows === "restarted" ? ["+a2"] : [])])
        expect(yield* used).toBe(follows === "restarted" ? 1 : 0)
        const answer = { restarted: "running", kept: "ok", forgotten: "not found" }[follows]
        expect(yield* reply(SupervisionTree.start("app/a"))).toBe(answer)
      }).pipe(Effect.provide(layer))
    })
  }

  it.effect("39: a transient child whose fiber is interrupted from outside has shut down", () => {
    const { layer, of } = family({}, { a: { restart: "transient" } })
    return Effect.gen(function* () {
      const tree = yield* SupervisionTree.SupervisionTree
      const [fiber] = tree.find("app/a")?.child.slot.current?.tracker.linked ?? []
      fiber?.unsafeInterruptAsFork(yield* Effect.fiberId)
      yield* settle
      expect(yield* statuses).toEqual(["a down #1"])
      yield* SupervisionTree.start("app/a")
      expect(yield* Effect.flatMap(of.a.tag, (a) => a.instance)).toBe(2)
    }).pipe(Effect.provide(layer))
  })

  it.effect("44: under every strategy and for every way to end, only temporary children are forgotten", () =>
    Effect.gen(function* () {
      for (const strategy of ["one_for_one", "one_for_all", "rest_for_one"] as const) {
        for (const restart of ["permanent", "transient", "temporary"] as const) {
          for (const how of [...endings, "terminate"] as const) {
            const { layer, of } = family({ strategy, intensity: 10 }, { first: {}, it: { restart }, last: {} })
            const left = yield* Effect.gen(function* () {
              if (how === "terminate") yield* SupervisionTree.terminate("app/it")
              else yield* end(of.it, how)
              return yield* statuses
            }).pipe(Effect.provide(layer))
            const isKept = left.some((line) => line.startsWith("it "))
            const isUp = left.some((line) => line.startsWith("it up"))
            const restarted = restart === "permanent" || (restart === "transient" && how === "crash")
            const label = `${strategy}, ${restart}, ${how}`
            expect(isKept, label).toBe(restart !== "temporary")
            expect(isUp, label).toBe(restarted && how !== "terminate")
            expect(left.length, label).toBe(restart === "temporary" ? 2 : 3)
          }
        }
      }
    })
  )
})

describe("significant children", () => {
  const three = ["never", "anySignificant", "allSignificant"] as const
  const state = Effect.map(SupervisionTree.snapshot, (node) => node.status)

  it.effect("79: a child that is not significant never ends its supervisor", () =>
    Effect.gen(function* () {
      for (const autoShutdown of three) {
        for (const restart of ["temporary", "transient"] as const) {
          for (const how of endings) {
            const { layer, of } = family({ autoShutdown }, { a: { restart }, b: {} })
            const left = yield* Effect.provide(Effect.zipRight(end(of.a, how), state), layer)
            expect(left, `${autoShutdown}, ${restart}, ${how}`).toBe("running")
          }
        }
      }
    })
  )

  it.effect(
    "80: any significant temporary child that ends by itself takes its supervisor along, but not when told to",
    () =>
      Effect.gen(function* () {
        const one = () =>
          family(
            { autoShutdown: "anySignificant" },
            { a: {}, b: { restart: "temporary", significant: true }, c: { restart: "temporary", significant: true } }
          )
        for (const how of endings) {
          const { events, layer, of } = one()
          yield* Effect.gen(function* () {
            yield* end(of.b, how)
            expect(yield* Effect.flip(SupervisionTree.awaitShutdown)).toMatchObject({
              reason: "significant",
              childId: "b"
            })
            expect(events).toEqual(["+a1", "+b1", "+c1", "-b1", "-c1", "-a1"])
          }).pipe(Effect.provide(layer))
        }
        const { layer } = one()
        yield* Effect.gen(function* () {
          yield* SupervisionTree.terminate("app/b")
          yield* settle
          expect([yield* state, yield* statuses]).toEqual(["running", ["a up #1", "c up #1"]])
        }).pipe(Effect.provide(layer))
      })
  )

  it.effect("81: any significant transient child is restarted after a crash, and ends its supervisor otherwise", () =>
    Effect.gen(function* () {
      for (const how of endings) {
        const { layer, of } = family(
          { autoShutdown: "anySignificant" },
          { a: {}, b: { restart: "transient", significant: true } }
        )
        const left = yield* Effect.provide(Effect.zipRight(end(of.b, how), state), layer)
        expect(left, how).toBe(how === "crash" ? "running" : "closed")
      }
    })
  )

  it.effect("82: with all significant children gone the supervisor ends, and not before", () =>
    Effect.gen(function* () {
      for (const restart of ["temporary", "transient"] as const) {
        const { layer, of } = family(
          { autoShutdown: "allSignificant" },
          { a: { restart, significant: true }, b: { restart, significant: true }, c: {} }
        )
        yield* Effect.gen(function* () {
          yield* end(of.a, "normal")
          expect(yield* state).toBe("running")
          yield* end(of.b, "normal")
          expect(yield* Effect.flip(SupervisionTree.awaitShutdown)).toMatchObject({
            reason: "significant",
            childId: "b"
          })
        }).pipe(Effect.provide(layer))
      }
    })
  )

  it.effect("85: a significant child is refused if it is permanent, or if its tree never shuts down for one", () =>
    Effect.gen(function* () {
      for (const [options, child, problem] of [
        [{ autoShutdown: "anySignificant" }, { significant: true }, "significant, but permanent"],
        [{}, { significant: true, restart: "transient" }, 'significant, but the tree\'s autoShutdown is "never"']
      ] as const) {
        const { events, layer } = family(options, { a: child })
        const error = yield* Effect.flip(Effect.sandbox(Effect.provide(state, layer)))
        expect(String(error)).toContain(problem)
        expect(events).toEqual([])
      }
    })
  )

  it.effect("86: a significant child that a sibling's crash takes down does not count", () =>
    Effect.gen(function* () {
      for (const autoShutdown of three.slice(1)) {
        for (const strategy of ["one_for_all", "rest_for_one"] as const) {
          for (const restart of ["transient", "temporary"] as const) {
            const { events, layer, of } = family(
              { autoShutdown, strategy },
              { a: {}, b: { restart, significant: true } }
            )
            const left = yield* Effect.provide(Effect.zipRight(end(of.a, "crash"), state), layer)
            expect(left, `${autoShutdown}, ${strategy}, ${restart}`).toBe("running")
            expect(events.slice(2, 5)).toEqual(["-a1", "-b1", "+a2"])
          }
        }
      }
    })
  )
})
