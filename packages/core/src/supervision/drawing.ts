/**
 * The picture of a running supervisor, as plain data.
 */
import { nestedIn } from "./administration.js"
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
      const nested = nestedIn(child?.instance)
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
        supervisor: nested === undefined ? undefined : draw(nested, time)
      }
    })
  }
}

/** In start order, whatever the order in which they were noticed. */
const dependenciesOf = (machine: Machine.Machine, { dependsOn }: Machine.Child): ReadonlyArray<string> =>
  dependsOn.size < 2
    ? Array.from(dependsOn, (child) => child.id)
    : Array.from(machine.children.values())
        .filter((child) => dependsOn.has(child))
        .map((child) => child.id)
