/**
 * The picture of a running supervisor, as plain data.
 */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { asStatic } from "./administration.js"
import type { Instance } from "./instance.js"
import * as Machine from "./machine.js"
import type { Supervisor } from "./supervisor.js"
import type { ChildNode, TreeNode } from "./TreeNode.js"

/** The supervisor, its children and the trees inside of them as they are at `time`. */
export const draw = (self: Supervisor, time: number): TreeNode => {
  const { machine, path } = self
  const { intensity, name, period, strategy } = self.settings
  return {
    name,
    path,
    strategy,
    status: machine.closed ? "closed" : "running",
    intensity: { used: Machine.intensityUsed(machine, time), max: intensity, period },
    children: Array.from(machine.children.values(), (state): ChildNode => {
      const child = self.children.get(state.id)
      return {
        id: state.id,
        path: `${path}/${state.id}`,
        restart: state.restart,
        shutdown: child?.shutdown ?? 5000,
        significant: state.significant,
        // Up for the machine but without an instance: it has exited, and the letter is not read yet.
        status: state.status === "up" && child?.slot.current === undefined ? "restarting" : state.status,
        instance: state.instance,
        restarts: Math.max(0, (child?.starts ?? 0) - 1),
        orphaned: child?.orphaned ?? 0,
        dependsOn: dependenciesOf(machine, state),
        ...drawNested(child?.instance, time)
      }
    })
  }
}

/** The supervisors inside an instance, of whichever kind. */
export const drawNested = (
  instance: Instance | undefined,
  time: number
): Pick<ChildNode, "supervisor" | "alsoSupervisors"> => {
  const [first, ...others] = (instance?.nested ?? []).flatMap((nested) => {
    const inside = asStatic(nested)
    return (inside === undefined ? nested.draw?.(time) : draw(inside, time)) ?? []
  })
  return { supervisor: first, ...(others.length === 0 ? {} : { alsoSupervisors: others }) }
}

/** In start order, whatever the order in which they were noticed. */
const dependenciesOf = (machine: Machine.Machine, { dependsOn }: Machine.Child): ReadonlyArray<string> =>
  dependsOn.size < 2
    ? Array.from(dependsOn, (child) => child.id)
    : Array.from(machine.children.values())
        .filter((child) => dependsOn.has(child))
        .map((child) => child.id)

/**
 * The picture as it is, and one more after each change, for as long as there is somebody to look at them. Drawn in the step that
 * made the change, so that none is missed; changes that the picture does not show are left out. Ends with the supervisor.
 */
export const follow = (self: Supervisor): Stream.Stream<TreeNode> =>
  Stream.asyncPush<TreeNode>(
    (emit) =>
      Effect.flatMap(Effect.clock, (clock) => {
        let last = ""
        const show = (): void => {
          const node = draw(self, Number(clock.unsafeCurrentTimeNanos() / 1_000_000n))
          const text = JSON.stringify(node)
          if (text !== last) emit.single(node)
          last = text
        }
        return Effect.acquireRelease(
          Effect.sync(() => {
            show()
            const forgetChange = self.onChange(show)
            const forgetFinish = self.onFinish(() => emit.end())
            return () => {
              forgetChange()
              forgetFinish()
            }
          }),
          (forget) => Effect.sync(forget)
        )
      }),
    { bufferSize: 64, strategy: "sliding" }
  )
