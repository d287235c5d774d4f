import { Effect, Exit, Layer } from "effect"
import { describe, expect, it } from "vitest"
import * as DynamicSupervisor from "../../../src/supervision/DynamicSupervisor.js"
import * as Supervised from "../../../src/supervision/Supervised.js"
import * as SupervisionTree from "../../../src/supervision/SupervisionTree.js"
import { Simulation } from "../simulation.js"

/** Starts and stops so many, and answers with how many steps that took. What is left over fails the test. */
const stepsOf = (program: Effect.Effect<number>, count: number): number => {
  const simulation = new Simulation()
  expect(simulation.run(program)).toEqual(Exit.succeed(count))
  expect(simulation.alive).toBe(0)
  return simulation.performed
}

const dynamic = (count: number): Effect.Effect<number> =>
  Effect.scoped(
    Effect.gen(function* () {
      const actors = yield* DynamicSupervisor.make({
        name: "actors",
        child: (n: number) => Effect.as(Effect.forkScoped(Effect.never), { answer: Effect.succeed(n) }),
        restart: "temporary"
      })
      let sum = 0
      for (let n = 0; n < count; n++) {
        const actor = yield* Effect.orDie(actors.start(n))
        if ((yield* actor.service.answer) === n) sum++
      }
      expect((yield* actors.children).length).toBe(count)
      expect(yield* actors.count).toEqual({ specs: count, active: count, supervisors: 0, workers: count })
      return sum
    })
  )

const fixed = (count: number): Effect.Effect<number> =>
  Layer.scopedDiscard(
    Effect.gen(function* () {
      const supervisor = yield* Effect.context<Supervised.CurrentSupervisor>()
      for (let n = 0; n < count; n++) {
        const child = Supervised.layer(Layer.effectDiscard(Effect.forkDaemon(Effect.never)), { id: `${n}` })
        yield* Layer.build(Layer.provide(child, Layer.succeedContext(supervisor)))
      }
    })
  ).pipe(SupervisionTree.layer({ name: "app" }), (layer) =>
    Effect.provide(
      Effect.map(SupervisionTree.snapshot, ({ children }) => children.filter((it) => it.status === "up").length),
      layer
    )
  )

// Steps, and not seconds: what a machine does beside it does not count. In proportion means about ten times; squared, a hundred.
describe("scale", () => {
  it("89, 105: the steps of ten times as many dynamic children grow in proportion, and all of them are listed", () => {
    expect(stepsOf(dynamic(1000), 1000) / stepsOf(dynamic(100), 100)).toBeLessThan(20)
  })

  it("90: the steps of ten times as many children of a tree grow in proportion", () => {
    expect(stepsOf(fixed(1000), 1000) / stepsOf(fixed(100), 100)).toBeLessThan(20)
  })

  it("204: ten thousand dynamic children start, answer and stop, and no fiber of them is left", () => {
    stepsOf(dynamic(10_000), 10_000)
  }, 60_000)
})
