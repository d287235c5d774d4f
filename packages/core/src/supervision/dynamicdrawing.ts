/** Drawing a dynamic supervisor: of many children the first ones, and how many there are besides. */
import { drawNested } from "./drawing.js"
import type { DynamicChild } from "./dynamicchild.js"
import * as Machine from "./dynamicmachine.js"
import type { ChildNode, TreeNode } from "./TreeNode.js"

/** How many children a picture shows one by one. */
const shown = 20

interface Drawn {
  readonly machine: Machine.Machine<DynamicChild>
  readonly path: string
  readonly settings: { readonly name: string; readonly intensity: number; readonly period: number }
}

/** The supervisor and its children as they are at `time`. Only some of very many are drawn one by one. */
export const drawDynamic = ({ machine, path, settings }: Drawn, time: number): TreeNode => {
  const { intensity, name, period } = settings
  const children: Array<ChildNode> = []
  let { up } = machine
  for (const child of machine.children.values()) {
    if (children.length === shown) break
    children.push(drawChild(child, time))
    if (child.status === "up") up--
  }
  const omitted = machine.children.size - children.length
  return {
    name,
    path,
    strategy: "one_for_one",
    status: machine.closed ? "closed" : "running",
    intensity: { used: Machine.intensityUsed(machine, time), max: intensity, period },
    children,
    ...(omitted === 0 ? {} : { omitted: { up, other: omitted - up } })
  }
}

const statuses: { readonly [K in Machine.Status]: ChildNode["status"] } = {
  starting: "starting",
  up: "up",
  closing: "restarting",
  restarting: "restarting",
  waiting: "restarting",
  stopping: "down",
  gone: "down"
}

const drawChild = (child: DynamicChild, time: number): ChildNode => ({
  id: child.id,
  path: child.path,
  restart: child.restart,
  shutdown: child.shutdown,
  significant: false,
  status: statuses[child.status],
  instance: child.number,
  restarts: Math.max(0, child.starts - 1),
  orphaned: child.orphaned,
  dependsOn: [],
  ...drawNested(child.instance, time)
})
