import { describe, expect, it } from "@effect/vitest"
import { Context, Deferred, Effect, FiberId, Layer, Scope, TestClock } from "effect"
import * as DynamicSupervisor from "../../src/supervision/DynamicSupervisor.js"
import * as Supervised from "../../src/supervision/Supervised.js"
import * as SupervisionTree from "../../src/supervision/SupervisionTree.js"
import * as TestSupervision from "../../src/supervision/TestSupervision.js"

const leaf = (events: Array<string>, id: string) =>
  Layer.scopedDiscard(
    Effect.acquireRelease(
      Effect.sync(() => events.push(`+${id}`)),
      () => Effect.sync(() => events.push(`-${id}`))
    )
  ).pipe(Supervised.layer({ id }))

const drawn = Effect.map(SupervisionTree.snapshot, (node) => SupervisionTree.render(node).split("\n"))

describe("several trees in one child", () => {
  it.effect("are all drawn, found by path, and restarted with it", () => {
    const events: Array<string> = []
    const inner = (name: string, id: string) => leaf(events, id).pipe(SupervisionTree.layer({ name }))
    const both = Layer.provideMerge(inner("two", "b"), inner("one", "a"))
    const layer = both.pipe(Supervised.layer({ id: "pair" }), SupervisionTree.layer({ name: "app" }))
    return Effect.gen(function* () {
      expect(yield* drawn).toEqual([
        "app one_for_one, 0 of 3 restarts in 5 s",
        "└─ pair up #1, one_for_one, 0 of 3 restarts in 5 s",
        "   └─ a up #1",
        "   and two one_for_one, 0 of 3 restarts in 5 s",
        "   └─ b up #1"
      ])
      yield* SupervisionTree.restart("app/pair/a")
      yield* SupervisionTree.restart("app/pair/b")
      expect(events).toEqual(["+a", "+b", "-a", "+a", "-b", "+b"])
      yield* TestSupervision.crash("app/pair")
      yield* TestSupervision.awaitRestart("app/pair")
      expect(events.slice(6)).toEqual(["-b", "-a", "+a", "+b"])
    }).pipe(Effect.provide(layer))
  })

  it.effect("may be dynamic ones, too", () => {
    const One = Context.GenericTag<DynamicSupervisor.DynamicSupervisor<string, string>>("one")
    const Two = Context.GenericTag<DynamicSupervisor.DynamicSupervisor<string, string>>("two")
    const rooms = { child: (name: string) => Effect.succeed(name), id: (name: string) => name }
    const layer = Layer.provideMerge(DynamicSupervisor.layer(Two, rooms), DynamicSupervisor.layer(One, rooms)).pipe(
      Supervised.layer({ id: "rooms" }),
      SupervisionTree.layer({ name: "app" })
    )
    return Effect.gen(function* () {
      yield* (yield* One).start("k")
      yield* (yield* Two).start("l")
      expect((yield* drawn).map((line) => line.replace(/ one_for_one.*/, ""))).toEqual([
        "app",
        "└─ rooms up #1,",
        "   └─ k up #1",
        expect.stringContaining("   and"),
        "   └─ l up #1"
      ])
    }).pipe(Effect.provide(layer))
  })

  it.effect("are forgotten when they are closed before the child", () => {
    const events: Array<string> = []
    const closing = Deferred.unsafeMake<void>(FiberId.none)
    const inner = leaf(events, "x").pipe(SupervisionTree.layer({ name: "inner" }))
    const worker = Effect.gen(function* () {
      const scope = yield* Scope.make()
      yield* Layer.buildWithScope(inner, scope)
      yield* Deferred.await(closing)
      yield* Effect.zipRight(Scope.close(scope, yield* Effect.exit(Effect.void)), Effect.never)
    })
    const layer = Layer.scopedDiscard(Effect.forkScoped(worker)).pipe(
      Supervised.layer({ id: "w" }),
      SupervisionTree.layer({ name: "app" })
    )
    return Effect.gen(function* () {
      yield* TestClock.adjust(0)
      expect((yield* drawn).slice(2)).toEqual(["   └─ x up #1"])
      yield* Deferred.succeed(closing, undefined)
      yield* TestClock.adjust(0)
      expect((yield* drawn).slice(1)).toEqual(["└─ w up #1"])
      expect((yield* Effect.flip(SupervisionTree.restart("app/w/x"))).reason).toBe("not found")
      expect(events).toEqual(["+x", "-x"])
    }).pipe(Effect.provide(layer))
  })
})
