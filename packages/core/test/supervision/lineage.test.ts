import { describe, expect, it } from "@effect/vitest"
import { Context, Effect, Layer, Logger } from "effect"
import { real, slotOf } from "../../src/supervision/lineage.js"
import * as Supervised from "../../src/supervision/Supervised.js"
import * as SupervisionTree from "../../src/supervision/SupervisionTree.js"
import * as TestSupervision from "../../src/supervision/TestSupervision.js"

class Calls extends Context.Tag("test/Calls")<Calls, { (): Effect.Effect<number>; readonly of: () => number }>() {}

/** As the clients of SQL libraries are: a function that could be constructed, with members. Written down as they are made. */
const calls = (made: Array<object>) =>
  Layer.effect(
    Calls,
    Effect.sync(() => {
      const number = made.length + 1
      const service = Object.assign(
        // An arrow function has no prototype, and is not taken for a class.
        function () {
          return Effect.succeed(number)
        },
        { of: () => number }
      )
      made.push(service)
      return service
    })
  )

const silent = Effect.provide(Logger.remove(Logger.defaultLogger))
const restart = Effect.zipRight(TestSupervision.crash("app/it"), TestSupervision.awaitRestart("app/it"))

describe("real", () => {
  const nested = (made: Array<object>) =>
    calls(made).pipe(
      Supervised.layer({ id: "calls" }),
      SupervisionTree.layer({ name: "inner" }),
      Supervised.layer({ id: "it" })
    )
  const ways = {
    "a child": (made: Array<object>) => calls(made).pipe(Supervised.layer({ id: "it" })),
    "a child of a tree in a child": nested
  }
  for (const [name, layer] of Object.entries(ways))
    it.effect(`is the service of the current instance, by the handle for ${name}`, () => {
      const made: Array<object> = []
      return Effect.gen(function* () {
        const handle = yield* Calls
        expect(slotOf(handle)?.path).toBe("app/it")
        expect(real(handle)).toBe(made[0])
        yield* restart
        expect(made.length).toBe(2)
        expect(real(handle)).toBe(made[1])
        expect([yield* handle(), handle.of()]).toEqual([2, 2])
      }).pipe(SupervisionTree.provide(layer(made).pipe(SupervisionTree.layer({ name: "app" }))), silent)
    })

  it.effect(
    "is the service of the current instance, by the view that another child has of it, and asking is no reading",
    () => {
      const made: Array<object> = []
      const seen: Array<boolean> = []
      const reader = Layer.effectDiscard(Effect.map(Calls, (view) => seen.push(real(view) === made[0])))
      const app = reader.pipe(
        Supervised.layer({ id: "reader" }),
        Layer.provide(calls(made).pipe(Supervised.layer({ id: "it" }))),
        SupervisionTree.layer({ name: "app", strategy: "rest_for_dependents" })
      )
      return Effect.gen(function* () {
        expect(seen).toEqual([true])
        yield* restart
        // It has not read, so it is not restarted.
        expect(seen).toEqual([true])
      }).pipe(SupervisionTree.provide(app), silent)
    }
  )

  it.effect("is what is made of a handle itself: it may have members of its own", () => {
    const Plain = Context.GenericTag<{ readonly a: () => number }>("Plain")
    const plain = Layer.succeed(Plain, { a: () => 1 }).pipe(Supervised.layer({ id: "plain" }))
    return Effect.gen(function* () {
      const handle = yield* Plain
      const made = [
        Object.create(handle, { a: { value: () => 2 } }),
        new Proxy(handle, {}),
        new Proxy(yield* Calls, {})
      ]
      for (const one of made) {
        expect(real(one)).toBe(one)
        expect(slotOf(one)).toBe(undefined)
      }
    }).pipe(
      SupervisionTree.provide(
        calls([]).pipe(Supervised.layer({ id: "it" }), Layer.merge(plain), SupervisionTree.layer({ name: "app" }))
      ),
      silent
    )
  })

  it("is anything else itself", () => {
    const plain = { a: 1 }
    expect(real(plain)).toBe(plain)
    expect(slotOf(plain)).toBe(undefined)
  })
})
