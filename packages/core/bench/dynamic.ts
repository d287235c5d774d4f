/** Many that come and go: children of a dynamic supervisor, and what does the same without one. Each is started alone; all are stopped. */
import { DynamicSupervisor } from "@effecto/core"
import { Effect, Exit, Fiber, Scope } from "effect"
import type { Contestant } from "../../../scripts/bench/Contestant.js"

export interface Counted {
  up: number
  down: number
}

type Many = Effect.Effect<void>

const contestant = (ops: number, many: (counted: Counted) => Many): Contestant<Counted, Counted> => ({
  setup: () => ({ up: 0, down: 0 }),
  ops,
  run: (counted) => {
    counted.up = 0
    counted.down = 0
    return Effect.runPromise(Effect.as(many(counted), counted))
  },
  validate: ({ down, up }) => {
    if (up !== ops || down !== ops) throw new Error(`${up} of ${ops} were started, ${down} were stopped`)
  }
})

/** What each acquires and gives back. */
const resource = (counted: Counted): Effect.Effect<void, never, Scope.Scope> =>
  Effect.asVoid(
    Effect.acquireRelease(
      Effect.sync(() => {
        counted.up += 1
      }),
      () =>
        Effect.sync(() => {
          counted.down += 1
        })
    )
  )

const worker = Effect.forkScoped(Effect.never)

/** Children of a dynamic supervisor. */
export const dynamic = (ops: number, kind: "lazy" | "worker"): Contestant<Counted, Counted> =>
  contestant(ops, (counted) =>
    Effect.scoped(
      Effect.gen(function* () {
        const supervisor = yield* DynamicSupervisor.make({
          child: (n: number) => {
            const child = Effect.as(resource(counted), { n })
            return kind === "lazy" ? child : Effect.zipLeft(child, worker)
          }
        })
        for (let n = 0; n < ops; n++) yield* supervisor.start(n)
      })
    ).pipe(Effect.orDie)
  )

/** A Scope for each, with a worker in it or without, that nobody watches. */
export const scopes = (ops: number, kind: "lazy" | "worker"): Contestant<Counted, Counted> =>
  contestant(ops, (counted) =>
    Effect.gen(function* () {
      const all: Array<Scope.CloseableScope> = []
      for (let n = 0; n < ops; n++) {
        const scope = yield* Scope.make()
        const build = kind === "lazy" ? resource(counted) : Effect.zipLeft(resource(counted), worker)
        yield* Scope.extend(build, scope)
        all.push(scope)
      }
      for (const scope of all) yield* Scope.close(scope, Exit.void)
    })
  )

/** A parked fiber for each, and nothing else. */
export const fibers = (ops: number): Contestant<Counted, Counted> =>
  contestant(ops, (counted) =>
    Effect.gen(function* () {
      const all: Array<Fiber.RuntimeFiber<never>> = []
      for (let n = 0; n < ops; n++) {
        counted.up += 1
        all.push(yield* Effect.forkDaemon(Effect.never))
      }
      for (const fiber of all) {
        yield* Fiber.interrupt(fiber)
        counted.down += 1
      }
    })
  )
