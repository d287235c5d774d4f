/**
 * The picture of a supervision tree: plain data, and its drawing as text.
 *
 * @since 0.1.0
 */
import type { RestartType, Status, Strategy } from "./machine.js"

/**
 * A supervisor and its children as they were at one moment. `intensity.used` counts the restarts inside the last
 * `intensity.period` milliseconds.
 *
 * @since 0.1.0
 * @category models
 */
export interface TreeNode {
  readonly name: string
  readonly path: string
  readonly strategy: Strategy
  readonly status: "running" | "closed"
  readonly intensity: { readonly used: number; readonly max: number; readonly period: number }
  /** In start order. */
  readonly children: ReadonlyArray<ChildNode>
  /** How many children of a dynamic supervisor are not in `children`, because there are so many. */
  readonly omitted?: { readonly up: number; readonly other: number }
}

/**
 * One child of a supervisor. `instance` is the number of its current or last instance, 1 for the first; `restarts` counts
 * the instances that replaced another one; `orphaned` those whose scope did not close in time. `supervisor` is the tree
 * inside the child, if it is one.
 *
 * @since 0.1.0
 * @category models
 */
export interface ChildNode {
  readonly id: string
  readonly path: string
  readonly restart: RestartType
  /** Milliseconds. */
  readonly shutdown: number | "brutalKill" | "infinity"
  readonly significant: boolean
  readonly status: Status
  readonly instance: number
  readonly restarts: number
  readonly orphaned: number
  /** Ids of the children whose services this one has used so far, or was declared to depend on, in start order. */
  readonly dependsOn: ReadonlyArray<string>
  readonly supervisor: TreeNode | undefined
  /** Further trees inside the child, in the order in which they were built, if there is more than one. */
  readonly alsoSupervisors?: ReadonlyArray<TreeNode>
}

const plain = (text: string): string => text
const paint =
  (code: number) =>
  (text: string): string =>
    `\u001b[${code}m${text}\u001b[0m`

interface Palette {
  readonly strong: (text: string) => string
  readonly faint: (text: string) => string
  readonly good: (text: string) => string
  readonly bad: (text: string) => string
  readonly reads?: boolean
}

const colored: Palette = { strong: paint(1), faint: paint(2), good: paint(32), bad: paint(31) }
const uncolored: Palette = { strong: plain, faint: plain, good: plain, bad: plain }

/**
 * Draws a tree as text, one line for each supervisor and child. The same node always gives the same text. `reads` adds whose
 * services each child uses (`dependsOn`), `colors` the escape sequences of a terminal; both are off by default.
 *
 * @since 0.1.0
 * @category conversions
 */
export const render = (node: TreeNode, options?: { readonly colors?: boolean; readonly reads?: boolean }): string => {
  const palette = { ...(options?.colors === true ? colored : uncolored), reads: options?.reads === true }
  const lines = [supervisorLine(palette, palette.strong(node.name), node)]
  drawChildren(palette, node, "", lines)
  return lines.join("\n")
}

const supervisorLine = (palette: Palette, title: string, node: TreeNode): string => {
  const { max, period, used } = node.intensity
  const closed = node.status === "closed" ? ` ${palette.bad("closed")}` : ""
  return `${title} ${palette.faint(`${node.strategy}, ${used} of ${max} restarts in ${period / 1000} s`)}${closed}`
}

const drawChildren = (palette: Palette, node: TreeNode, indent: string, lines: Array<string>): void => {
  const { omitted } = node
  node.children.forEach((child, i) => {
    const last = i === node.children.length - 1 && omitted === undefined
    lines.push(indent + (last ? "└─ " : "├─ ") + childLine(palette, child))
    const within = indent + (last ? "   " : "│  ")
    if (child.supervisor !== undefined) drawChildren(palette, child.supervisor, within, lines)
    for (const tree of child.alsoSupervisors ?? []) {
      lines.push(`${within}${palette.faint("and")} ${supervisorLine(palette, palette.strong(tree.name), tree)}`)
      drawChildren(palette, tree, within, lines)
    }
  })
  if (omitted === undefined) return
  const others = omitted.other === 0 ? "" : `, ${palette.bad(`${omitted.other} not up`)}`
  lines.push(`${indent}└─ ${palette.faint("and")} ${omitted.up} more ${palette.good("up")}${others}`)
}

const childLine = (palette: Palette, child: ChildNode): string => {
  const status = child.status === "up" ? palette.good(child.status) : palette.bad(child.status)
  const parts = [`${status} #${child.instance}`]
  if (child.restarts > 0) parts.push(`restarted ${child.restarts}×`)
  if (child.orphaned > 0) parts.push(palette.bad(`orphaned ${child.orphaned}`))
  if (child.restart !== "permanent") parts.push(child.restart)
  if (palette.reads === true && child.dependsOn.length > 0)
    parts.push(palette.faint(`reads ${child.dependsOn.join(", ")}`))
  const line = `${palette.strong(child.id)} ${parts.join(", ")}`
  return child.supervisor === undefined ? line : supervisorLine(palette, `${line},`, child.supervisor)
}
