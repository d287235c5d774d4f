/**
 * A child registers with its supervisor: whether its settings can hold there, whom it depends on, and its first start.
 */
import type * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Runtime from "effect/Runtime"
import { problemOf } from "./backoff.js"
import { carrierOf } from "./carrier.js"
import { Child, type ChildSettings } from "./child.js"
import type { Slot } from "./instance.js"
import * as Machine from "./machine.js"
import * as Report from "./report.js"
import { CurrentSupervisor } from "./runner.js"
import { SupervisorConfigError } from "./SupervisionError.js"
import type { Supervisor } from "./supervisor.js"

/** What is wrong with a child's settings under a supervisor. */
const problemUnder = (
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

interface StartedChild<A> {
  readonly child: Child
  readonly handles: Context.Context<A>
}

/** Starts a child and answers with handles for its services. Fails and dies with what its build failed or died with. */
export const register = <A, E, R>(
  self: Supervisor,
  layer: Layer.Layer<A, E, R>,
  settings: ChildSettings
): Effect.Effect<StartedChild<A>, E, R> =>
  Effect.flatMap(Effect.runtime<R>(), (runtime) =>
    Effect.async<StartedChild<A>, E>((resume) => {
      const id = settings.id ?? self.nextName()
      if (self.children.has(id)) return resume(Effect.die(duplicate(self.path, id)))
      const dependsOn = self.edges.declared(settings, runtime.context)
      const problem = typeof dependsOn === "string" ? dependsOn : problemUnder(self.settings, settings)
      if (problem !== undefined) {
        const named = `child "${id}": ${problem}`
        return resume(Effect.die(new SupervisorConfigError({ path: self.path, problem: named })))
      }
      // Not for the child's own layers: a supervised layer inside a child would register again at every restart.
      const context = Context.omit(CurrentSupervisor)(runtime.context as Context.Context<CurrentSupervisor>)
      const own = Runtime.make({ ...runtime, context })
      const onRead = (slot: Slot): void => self.edges.noteRead(child, slot)
      const child: Child = new Child(
        id,
        `${self.path}/${id}`,
        settings,
        layer,
        own,
        self.settings.strategy === "rest_for_dependents" ? onRead : undefined
      )
      child.slot.holder = self
      child.slot.provisional = settings.id === undefined
      self.children.set(id, child)
      self.edges.add(child)
      let answered = false
      let told: (() => void) | undefined
      self.send({
        _tag: "Event",
        event: {
          _tag: "StartChild",
          child: {
            id,
            restart: settings.restart,
            significant: settings.significant,
            delayed: settings.backoff !== undefined,
            dependsOn: Array.isArray(dependsOn) ? dependsOn : []
          }
        },
        reply: (reply) => {
          answered = true
          const instance = child.instance
          if (reply === "ok" && instance !== undefined) {
            // Handles for what the layer provides: its type says which services those are.
            const handles = child.offer.handles as Context.Context<A>
            resume(Effect.as(Report.uncarried(child.slot.path, child.offer.uncarried), { child, handles }))
          } else if (reply === "start_failed") resume(Effect.failCause(child.cause as Cause.Cause<E>))
          else resume(Effect.die(self.gone ?? duplicate(self.path, id)))
          told?.()
        }
      })
      return Effect.async<void>((interrupted) => {
        child.unwant()
        // A letter that is not read yet will find that nobody wants it. Waiting for that could take for ever: the
        // supervisor may be held up by the build of a sibling.
        if (answered || child.instance === undefined) return interrupted(Effect.void)
        told = () => interrupted(Effect.void)
      })
    })
  )

const duplicate = (path: string, id: string): SupervisorConfigError =>
  new SupervisorConfigError({
    path,
    problem: `two children are called "${id}"; give one of them another id with Supervised.layer(layer, { id: "..." })`
  })
