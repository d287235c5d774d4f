/**
 * What is looked at when a child registers with its supervisor: whether its settings can hold there, and whom it depends on.
 */
import type * as Context from "effect/Context"
import { problemOf } from "./backoff.js"
import { carrierOf } from "./carrier.js"
import type { Child, ChildSettings } from "./child.js"
import type { Slot } from "./instance.js"
import * as Machine from "./machine.js"
import type { Supervisor } from "./supervisor.js"

/** What is wrong with a child's settings under a supervisor. */
export const problemUnder = (
  { autoShutdown, ...window }: Machine.Options,
  { backoff, restart, significant }: ChildSettings
): string | undefined => {
  if (significant && autoShutdown === "never") {
    return 'significant, but the tree\'s autoShutdown is "never", so that can have no effect'
  }
  if (backoff === undefined) return undefined
  return restart === "temporary"
    ? "it has a backoff, but is temporary: a temporary child is never restarted"
    : problemOf(backoff, window)
}

/** Who depends on whom among the children of one supervisor. */
export class Edges {
  /** Whose slot it is, for those that were ever started here. */
  private readonly owners = new WeakMap<Slot, Child>()

  constructor(private readonly self: Pick<Supervisor, "machine" | "children" | "changed">) {}

  add(child: Child): void {
    this.owners.set(child.slot, child)
  }

  /** Ids of the children that provide what a child is declared to depend on, or what is wrong with that. */
  declared({ dependsOn = [] }: ChildSettings, context: Context.Context<never>): ReadonlyArray<string> | string {
    const ids: Array<string> = []
    for (const key of dependsOn) {
      const carrier = carrierOf(context, key)
      const on =
        carrier === undefined
          ? // Not seen by the child itself: the last one that provides it is beneath it, behind layers without supervision.
            Array.from(this.self.children.values()).findLast((other) => other.slot.last?.context.unsafeMap.has(key))
          : this.owners.get(carrier.slot)
      if (on !== undefined) ids.push(on.id)
      // One of a tree around this one: there it is the child that this tree is in which depends on it.
      else if (carrier !== undefined) carrier.onRead?.()
      else {
        return `it depends on "${key}", which no child started before it provides; put the supervised layer of "${key}" beneath it (Layer.provide), or leave it out of dependsOn`
      }
    }
    return ids
  }

  /** A child has used a service of another one. Those of trees around this one are noted there. */
  noteRead(reader: Child, slot: Slot): void {
    const { children, machine } = this.self
    const on = this.owners.get(slot)
    if (on === undefined || children.get(reader.id) !== reader || children.get(on.id) !== on) return
    if (Machine.depend(machine, reader.id, on.id)) this.self.changed()
  }
}
