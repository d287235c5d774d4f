/**
 * Administration: how a path leads to a child, here or in a nested tree, and what may be asked of the supervisor that owns it.
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as FiberRef from "effect/FiberRef"
import type { Child } from "./child.js"
import { CurrentInstance } from "./currentinstance.js"
import type { DynamicChild } from "./dynamicchild.js"
import type { Dynamic } from "./dynamicruntime.js"
import type { Instance, Nested } from "./instance.js"
import type * as Machine from "./machine.js"
import { ControlError } from "./SupervisionError.js"
import type { Supervisor } from "./supervisor.js"
import { Wait } from "./waits.js"

export type Operation = ControlError["operation"]

/** What an answer of the machine means to a call; nothing if it was granted. */
const refusals: { readonly [K in Machine.Reply]: ControlError["reason"] | undefined } = {
  ok: undefined,
  ignored: undefined,
  start_failed: "start failed",
  already_started: "running",
  already_present: "restarting",
  not_found: "not found",
  running: "running",
  restarting: "restarting",
  noproc: "closed"
}

/** A tree inside an instance, if it is a static one. */
export const asStatic = (nested: Nested): Supervisor | undefined =>
  // Only supervisors write themselves there; an instance does not know their types, because that would be a circle of imports.
  // A dynamic one draws itself.
  nested.draw === undefined ? (nested as Supervisor) : undefined

/** The supervisor that built an instance. */
export const ownerOf = (instance: Instance): Supervisor =>
  // Whoever builds an instance is a supervisor. A dynamic one is none of these, but has what is asked of it here: `parent`, `changed`.
  instance.owner as Supervisor

/** What a path leads to, and whose it is. */
export type Found =
  | { readonly _tag: "Static"; readonly child: Child; readonly owner: Supervisor }
  | { readonly _tag: "Dynamic"; readonly child: DynamicChild; readonly owner: Dynamic<never> }

/** The child under a path. */
export const find = (self: Supervisor, path: string): Found | undefined => {
  for (const child of self.children.values()) {
    if (child.slot.path === path) return { _tag: "Static", child, owner: self }
    if (child.instance === undefined || !path.startsWith(`${child.slot.path}/`)) continue
    const found = findIn(child.instance, path)
    if (found !== undefined) return found
  }
  return undefined
}

/** In the trees inside of an instance. */
const findIn = (instance: Instance, path: string): Found | undefined => {
  for (const nested of instance.nested) {
    const inside = asStatic(nested)
    // What draws itself is a dynamic one.
    const found = inside === undefined ? findDynamic(nested as unknown as Dynamic<never>, path) : find(inside, path)
    if (found !== undefined) return found
  }
  return undefined
}

/** There may be very many, so they are looked up by their ids, which may have slashes in them. */
const findDynamic = (owner: Dynamic<never>, path: string): Found | undefined => {
  const { children } = owner
  const prefix = `${owner.path}/`
  if (!path.startsWith(prefix)) return undefined
  const id = path.slice(prefix.length)
  const child = children.get(id)
  if (child !== undefined) return { _tag: "Dynamic", child, owner }
  for (let end = id.indexOf("/"); end !== -1; end = id.indexOf("/", end + 1)) {
    const instance = children.get(id.slice(0, end))?.instance
    const found = instance === undefined ? undefined : findIn(instance, path)
    if (found !== undefined) return found
  }
  return undefined
}

/** A call to the supervisor that owns the child of this path. */
export const control = (self: Supervisor, operation: Operation, path: string): Effect.Effect<void, ControlError> =>
  Effect.withFiberRuntime<void, ControlError>((fiber) => {
    const refused = (reason: ControlError["reason"], cause: Cause.Cause<unknown> = Cause.empty) =>
      Effect.fail(new ControlError({ path, operation, reason, cause }))
    if (self.isOver) return refused("closed")
    const found = find(self, path)
    if (found === undefined) return refused("not found")
    if (found._tag === "Dynamic") {
      const { child, owner } = found
      if (operation !== "terminate") return refused("dynamic")
      // The types of the fiber are those of whoever runs this, and are not looked at.
      const wait = Wait.of(fiber as Fiber.RuntimeFiber<unknown, unknown>, child)
      if (wait?.look() !== undefined) return refused("would deadlock")
      owner.terminate(child)
      const gone = child.slot.until(() => (child.status === "gone" ? Effect.void : undefined))
      return Effect.ensuring(
        gone,
        Effect.sync(() => wait?.end())
      )
    }
    const { child, owner } = found
    if (waitsFor(owner, Context.get(fiber.getFiberRef(FiberRef.currentContext), CurrentInstance)))
      return refused("would deadlock")
    return Effect.async<void, ControlError>((resume) => {
      owner.request(operation, child, (answer) => {
        const reason = refusals[answer]
        resume(
          reason === undefined ? Effect.void : refused(reason, answer === "start_failed" ? child.cause : Cause.empty)
        )
      })
    })
  })

/** Whether a supervisor cannot answer before this instance is built. */
const waitsFor = (self: Supervisor, caller: Instance | undefined): boolean => {
  for (let at = caller; at?.state === "building"; at = ownerOf(at).parent) {
    if (ownerOf(at) === self) return true
  }
  return false
}
