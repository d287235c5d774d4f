import { describe, expect, it } from "@effect/vitest"
import { Chunk, Context, Deferred, Effect, Fiber, Layer, Schedule, Stream, TestClock } from "effect"
import * as Supervised from "../../src/supervision/Supervised.js"
import * as SupervisionTree from "../../src/supervision/SupervisionTree.js"
import * as TestSupervision from "../../src/supervision/TestSupervision.js"

const plain = (id: string, options: Supervised.ChildOptions = {}) =>
  Supervised.layer(Layer.effectDiscard(Effect.yieldNow()), { id, ...options })

const text = (node: SupervisionTree.TreeNode): string =>
  node.children
    .map((it) => `${it.id} ${it.status}${it.supervisor === undefined ? "" : ` (${text(it.supervisor)})`}`)
    .concat(node.status === "closed" ? ["closed"] : [])
    .join(", ")

/** Subscribes, and answers with all that was seen when asked, without what differs in nothing that `text` shows. */
const watch = Effect.gen(function* () {
  const seen: Array<string> = []
  const subscribed = yield* Deferred.make<void>()
  const fiber = yield* SupervisionTree.changes.pipe(
    Stream.runForEach((node) =>
      Effect.suspend(() => {
        if (seen.at(-1) !== text(node)) seen.push(text(node))
        return Deferred.succeed(subscribed, undefined)
      })
    ),
    Effect.forkDaemon
  )
  yield* Deferred.await(subscribed)
  return { seen, fiber }
})

describe("SupervisionTree.changes", () => {
  it.effect("begins with the tree as it is, and shows each change", () =>
    Effect.gen(function* () {
      const { fiber, seen } = yield* watch
      expect(seen).toEqual(["a up, b up"])
      yield* TestSupervision.crash("app/a")
      yield* TestClock.adjust("1 second")
      yield* SupervisionTree.terminate("app/b")
      yield* SupervisionTree.remove("app/b")
      yield* TestClock.adjust(0)
      expect(seen).toEqual([
        "a up, b up",
        "a restarting, b up",
        "a starting, b up",
        "a up, b up",
        "a up, b down",
        "a up"
      ])
      yield* Fiber.interrupt(fiber)
    }).pipe(Effect.provide(plain("b").pipe(Layer.provideMerge(plain("a")), SupervisionTree.layer({ name: "app" }))))
  )

  it.effect("leaves out what makes no difference to the picture", () =>
    Effect.gen(function* () {
      const seen: Array<string> = []
      const fiber = yield* SupervisionTree.changes.pipe(
        Stream.runForEach((node) => Effect.sync(() => seen.push(JSON.stringify(node)))),
        Effect.fork
      )
      yield* TestClock.adjust(0)
      yield* TestSupervision.crash("app/a")
      yield* TestClock.adjust(0)
      yield* SupervisionTree.terminate("app/a")
      yield* SupervisionTree.terminate("app/a")
      yield* TestClock.adjust(0)
      expect(seen.filter((text, n) => text === seen[n - 1])).toEqual([])
      expect(seen.length).toBeGreaterThan(3)
      yield* Fiber.interrupt(fiber)
    }).pipe(Effect.provide(SupervisionTree.layer({ name: "app" })(plain("a"))))
  )

  it.effect("shows what changes in nested trees, and ends with the tree", () => {
    const inner = plain("a", { backoff: Schedule.spaced("1 second") }).pipe(
      SupervisionTree.layer({ name: "inner" }),
      Supervised.layer({ id: "inner" })
    )
    return Effect.gen(function* () {
      const { fiber, seen } = yield* Effect.gen(function* () {
        const watching = yield* watch
        yield* TestSupervision.crash("app/inner/a")
        yield* TestClock.adjust("999 millis")
        expect(watching.seen).toEqual(["inner up (a up)", "inner up (a restarting)"])
        yield* TestClock.adjust("1 millis")
        return watching
      }).pipe(Effect.provide(SupervisionTree.layer({ name: "app" })(inner)))
      yield* Fiber.join(fiber)
      expect(seen.slice(2, 4)).toEqual(["inner up (a starting)", "inner up (a up)"])
      expect(seen.at(-1)).toBe("closed")
    })
  })

  it.effect("ends with give-up, after the tree that is closed", () =>
    Effect.gen(function* () {
      const all = yield* Effect.fork(Stream.runCollect(SupervisionTree.changes))
      yield* TestClock.adjust(0)
      yield* TestSupervision.crash("app/a")
      expect(
        Chunk.toReadonlyArray(yield* Fiber.join(all))
          .map(text)
          .at(-1)
      ).toBe("a down, closed")
      expect(Chunk.toReadonlyArray(yield* Stream.runCollect(SupervisionTree.changes)).map(text)).toEqual([
        "a down, closed"
      ])
    }).pipe(Effect.provide(SupervisionTree.layer({ name: "app", intensity: 0 })(plain("a"))))
  )

  it.effect("loses the oldest for a slow subscriber, whom nobody waits for", () =>
    Effect.gen(function* () {
      const go = yield* Deferred.make<void>()
      const seen: Array<number> = []
      const first = yield* Deferred.make<void>()
      const fiber = yield* SupervisionTree.changes.pipe(
        Stream.runForEach((node) =>
          Effect.sync(() => seen.push(node.children[0]?.instance ?? 0)).pipe(
            Effect.zipRight(Deferred.succeed(first, undefined)),
            Effect.zipRight(Deferred.await(go))
          )
        ),
        Effect.fork
      )
      yield* Deferred.await(first)
      for (let n = 0; n < 100; n++) yield* SupervisionTree.restart("app/a")
      yield* Deferred.succeed(go, undefined)
      yield* TestClock.adjust(0)
      expect(seen).toHaveLength(65)
      expect([seen[0], seen.at(-1)]).toEqual([1, 101])
      yield* Fiber.interrupt(fiber)
    }).pipe(Effect.provide(SupervisionTree.layer({ name: "app" })(plain("a"))))
  )

  it.effect("shows whom a child reads when it reads it", () => {
    const Db = Context.GenericTag<{ readonly ask: Effect.Effect<number> }>("Db")
    const db = Supervised.layer(Layer.succeed(Db, { ask: Effect.succeed(1) }), { id: "db" })
    const reader = Supervised.layer(
      Layer.scopedDiscard(
        Effect.forkScoped(
          Effect.zipRight(
            Effect.sleep("1 second"),
            Effect.flatMap(Db, (it) => it.ask)
          )
        )
      ),
      { id: "reader" }
    )
    return Effect.gen(function* () {
      const drawn = yield* SupervisionTree.changes.pipe(
        Stream.map((node) => node.children.map((it) => it.dependsOn)),
        Stream.take(2),
        Stream.runCollect,
        Effect.fork
      )
      yield* TestClock.adjust("1 second")
      expect(Chunk.toReadonlyArray(yield* Fiber.join(drawn))).toEqual([
        [[], []],
        [[], ["db"]]
      ])
    }).pipe(
      Effect.provide(
        reader.pipe(Layer.provide(db), SupervisionTree.layer({ name: "app", strategy: "rest_for_dependents" }))
      )
    )
  })
})
