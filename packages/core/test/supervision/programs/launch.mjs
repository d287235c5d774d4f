// A server whose worker cannot live, as a process: compiled, and run as `NodeRuntime.runMain` would. How it is launched is told
// by the first argument.
import { makeRunMain } from "@effect/platform/Runtime"
import { Deferred, Effect, Exit, Fiber, Layer, Logger, LogLevel } from "effect"
import * as Supervised from "../../../dist/supervision/Supervised.js"
import * as SupervisionTree from "../../../dist/supervision/SupervisionTree.js"

const runMain = makeRunMain(({ fiber, teardown }) => {
  fiber.addObserver((exit) => teardown(exit, (code) => process.exit(code)))
})

const resource = Layer.scopedDiscard(
  Effect.addFinalizer(() => Effect.sync(() => process.stdout.write("finalizer ran\n")))
)

const worker = Layer.scopedDiscard(
  Effect.sleep("1 millis").pipe(
    Effect.zipRight(Effect.fail(new Error("the port is taken"))),
    Effect.withSpan("listen"),
    Effect.forkScoped
  )
).pipe(Supervised.layer({ id: "worker" }))

const tree = worker.pipe(SupervisionTree.layer({ name: "app", intensity: 2 }), Layer.provide(resource))

const programs = {
  launch: () => SupervisionTree.launch(tree),
  provide: () => Effect.never.pipe(SupervisionTree.provide(tree)),
  // Nobody tells it, so it goes on; here it is ended when the log has told.
  layerLaunch: () =>
    Effect.gen(function* () {
      const told = yield* Deferred.make()
      const watch = Logger.make(({ logLevel }) => logLevel === LogLevel.Fatal && Deferred.unsafeDone(told, Exit.void))
      const fiber = yield* Effect.fork(Effect.provide(Layer.launch(tree), Logger.add(watch)))
      yield* Deferred.await(told)
      process.stdout.write(fiber.unsafePoll() === null ? "goes on\n" : "has ended\n")
      yield* Fiber.interrupt(fiber)
    })
}

runMain(programs[process.argv[2]]())
