/**
 * Crashing things on purpose. Nothing here is a simulation: a child that is crashed goes the way of any crash, outside tests
 * as well, so a program can show what its tree does.
 *
 * A path leads to children of nested trees, and to dynamic ones (`app/devices/d1`) with what is inside of them. A dynamic supervisor
 * that is in no tree has no path here.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import type { Child } from "./child.js"
import type { DynamicChild } from "./dynamicchild.js"
import type { ChildDown } from "./SupervisionError.js"
import { awaitShutdown, render, SupervisionTree, type SupervisorShutdown, snapshot } from "./SupervisionTree.js"

/**
 * No child has this path.
 *
 * @since 0.1.0
 * @category errors
 */
export class NoSuchChild extends Data.TaggedError("NoSuchChild")<{
  readonly path: string
  readonly known: ReadonlyArray<string>
}> {
  override get message(): string {
    return `no child has the path "${this.path}"; there are: ${this.known.join(", ")}`
  }
}

/**
 * What a child that is crashed without a defect of one's own dies with.
 *
 * @since 0.1.0
 * @category errors
 */
export class CrashedOnPurpose extends Data.TaggedError("CrashedOnPurpose")<{ readonly path: string }> {
  override get message(): string {
    return `"${this.path}" was crashed on purpose`
  }
}

const childAt = (path: string): Effect.Effect<Child | DynamicChild, never, SupervisionTree> =>
  Effect.flatMap(SupervisionTree, (tree) => {
    const found = tree.find(path)
    return found === undefined
      ? Effect.die(new NoSuchChild({ path, known: tree.paths() }))
      : Effect.succeed(found.child)
  })

/**
 * Crashes the current instance of a child with a defect, as if one of its own fibers had died of it: its scope is closed, its
 * fibers are interrupted, and the tree restarts it, or does what else it would. Waits for the child to be up if it is down,
 * for as long as its `whenDown` allows a call to (not at all if that is `"fail"`), and then dies with `ChildDown`. Dies with
 * `NoSuchChild` for an unknown path.
 *
 * When this returns the instance has died, but the next one is not there yet: calls wait for it, and so does `awaitRestart`.
 *
 * @since 0.1.0
 * @category operations
 */
export const crash = (path: string, defect?: unknown): Effect.Effect<void, never, SupervisionTree> =>
  Effect.flatMap(childAt(path), (child) =>
    Effect.map(child.slot.awaitUp, (instance) => {
      instance.exit({ exit: "abnormal", cause: Cause.die(defect ?? new CrashedOnPurpose({ path })) })
    })
  )

/**
 * Makes the next starts of a child fail, `times` of them (default 1), with a Cause, as if its layer had failed with it; the layer
 * is not built. It does not matter who asks for the start: a restart, that of a group, or `SupervisionTree.start`. The failures of
 * a second call follow those of the first; `times: 0` takes back all that are left. Dies with `NoSuchChild` for an unknown path.
 *
 * @example
 * ```ts
 * import { Supervised, SupervisionTree, TestSupervision } from "@effecto/core"
 * import { Effect, Layer } from "effect"
 *
 * const app = Layer.empty.pipe(Supervised.layer({ id: "db" }), SupervisionTree.layer({ name: "app" }))
 *
 * const program = Effect.gen(function* () {
 *   yield* TestSupervision.failNextStart("app/db", { times: 2 })
 *   yield* TestSupervision.crash("app/db")
 *   console.log(yield* TestSupervision.awaitRestart("app/db")) // 4: the instances 2 and 3 could not start
 * })
 *
 * Effect.runPromise(program.pipe(Effect.provide(app)))
 * ```
 *
 * @since 0.1.0
 * @category operations
 */
export const failNextStart = (
  path: string,
  options: { readonly times?: number; readonly cause?: Cause.Cause<unknown> } = {}
): Effect.Effect<void, never, SupervisionTree> =>
  Effect.map(childAt(path), (child) => {
    const { cause = Cause.die(new CrashedOnPurpose({ path })), times = 1 } = options
    if (times === 0) child.failures = undefined
    for (let n = 0; n < times; n++) {
      child.failures ??= []
      child.failures.push(cause)
    }
  })

/**
 * Waits until the tree gives up or ends with its significant children, and answers with why. Answers at once if it has.
 *
 * @since 0.1.0
 * @category operations
 */
export const awaitGiveUp: Effect.Effect<SupervisorShutdown, never, SupervisionTree> = Effect.flip(awaitShutdown)

/**
 * Waits until a child that has crashed is up again, and answers with the number of its instance; at once if it already is.
 * Before its first crash this waits for one. Fails when its supervisor has ended, or its specification is gone.
 *
 * @since 0.1.0
 * @category operations
 */
export const awaitRestart = (path: string): Effect.Effect<number, SupervisorShutdown | ChildDown, SupervisionTree> =>
  Effect.flatMap(childAt(path), (child) =>
    child.slot.until(() => {
      const { current, ended } = child.slot
      if (current !== undefined && child.lastExit > 0 && current.number > child.lastExit) {
        return Effect.succeed(current.number)
      }
      return ended === undefined ? undefined : Effect.fail(ended)
    })
  )

/**
 * Compares the tree with a picture of it, as `SupervisionTree.render` draws it; dies with both if they differ. Indentation that
 * all lines of the picture share, and empty lines around it, do not count.
 *
 * @since 0.1.0
 * @category operations
 */
export const expectTree = (picture: string): Effect.Effect<void, never, SupervisionTree> =>
  Effect.flatMap(snapshot, (node) => {
    const [expected, actual] = [undent(picture), render(node)]
    return expected === actual
      ? Effect.void
      : Effect.dieMessage(`the tree is not as expected.\n\nexpected:\n${expected}\n\nactual:\n${actual}`)
  })

const undent = (text: string): string => {
  const lines = text.split("\n").map((line) => line.trimEnd())
  const full = lines.filter((line) => line !== "")
  const shared = Math.min(...full.map((line) => line.length - line.trimStart().length))
  return lines
    .map((line) => line.slice(shared))
    .join("\n")
    .replace(/^\n+|\n+$/g, "")
}
