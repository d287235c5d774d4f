/**
 * Administration: how a path leads to a child, here or in a nested tree, and what may be asked of the supervisor that owns it.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import type { Child } from "./child.js"
import { CurrentInstance } from "./currentinstance.js"
import type { Instance, Nested } from "./instance.js"
import type * as Machine from "./machine.js"
import { ControlError } from "./SupervisionError.js"
import type { Supervisor } from "./supervisor.js"

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

/** A tree inside an instance, if it is a static one. A dynamic one is administered by its own functions, and not by path. */
export const asStatic = (nested: Nested): Supervisor | undefined =>
  // Only supervisors write themselves there; an instance does not know their types, because that would be a circle of imports.
  // A dynamic one draws itself.
  nested.draw === undefined ? (nested as Supervisor) : undefined

/** The supervisor that built an instance. */
export const ownerOf = (instance: Instance): Supervisor =>
  // Whoever builds an instance is a supervisor. A dynamic one is none of these, but has what is asked of it here: `parent`, `changed`.
  instance.owner as Supervisor

/** The child under a path, and whose it is. */
export const find = (
  self: Supervisor,
  path: string
): { readonly child: Child; readonly owner: Supervisor } | undefined => {
  for (const child of self.children.values()) {
    if (child.slot.path === path) return { child, owner: self }
    if (child.instance === undefined || !path.startsWith(`${child.slot.path}/`)) continue
    for (const nested of child.instance.nested) {
      const inside = asStatic(nested)
      const found = inside === undefined ? undefined : find(inside, path)
      if (found !== undefined) return found
    }
  }
  return undefined
}

/** A call to the supervisor that owns the child of this path. */
export const control = (self: Supervisor, operation: Operation, path: string): Effect.Effect<void, ControlError> =>
  Effect.flatMap(CurrentInstance, (caller) => {
    const refused = (reason: ControlError["reason"], cause: Cause.Cause<unknown> = Cause.empty) =>
      Effect.fail(new ControlError({ path, operation, reason, cause }))
    if (self.isOver) return refused("closed")
    const found = find(self, path)
    if (found === undefined) return refused("not found")
    const { child, owner } = found
    if (waitsFor(owner, caller)) return refused("would deadlock")
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
