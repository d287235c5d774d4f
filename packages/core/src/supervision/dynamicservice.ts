/**
 * The operations of a dynamic supervisor, as its users call them. Each looks, decides and begins in one step, in its caller's fiber,
 * and waits for what it has begun: the supervisor itself (`dynamicruntime.ts`) never waits.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import { CurrentInstance } from "./currentinstance.js"
import type { Child, DynamicSupervisor, StartOptions } from "./DynamicSupervisor.js"
import { detach, detachStream } from "./detached.js"
import type { ChildSettings, DynamicChild } from "./dynamicchild.js"
import { AlreadyStarted, MaxChildren, NotFound, Terminated } from "./dynamicerror.js"
import { terminated } from "./dynamicinstance.js"
import type { Refusal } from "./dynamicmachine.js"
import { refuse } from "./dynamicoptions.js"
import type { Dynamic } from "./dynamicruntime.js"
import { ControlError, type SupervisorShutdown } from "./SupervisionError.js"
import { Wait } from "./waits.js"

type Starting<Handle, E> = Effect.Effect<
  Child<Handle>,
  E | AlreadyStarted<Handle> | MaxChildren | Terminated | SupervisorShutdown
>

export const serviceOf = <Arg, Handle, E>(
  self: Dynamic<Arg>,
  idOf: ((arg: Arg) => string) | undefined,
  overrides: (options: StartOptions) => ChildSettings
): DynamicSupervisor<Arg, Handle, E> => {
  // The children of this supervisor were made by its `child`, so their services and failures are of its types.
  const typed = (child: DynamicChild): Child<Handle> => child as DynamicChild<Handle>
  const failureOf = (child: DynamicChild): Cause.Cause<E> => child.cause as Cause.Cause<E>

  /** In one step, and then waiting for what was begun. */
  const start = (
    arg: Arg,
    options: StartOptions | undefined,
    caller: Fiber.RuntimeFiber<unknown, unknown>,
    restore: <A, X>(effect: Effect.Effect<A, X>) => Effect.Effect<A, X>
  ): Starting<Handle, E> => {
    const id = options?.id ?? idOf?.(arg)
    if (id === "") refuse(self.path, "the id of a child is empty; it is a part of its path")
    // Noted before there is a build, which may be the one to find out that each of the two waits for the other.
    let wait: Wait | undefined
    const child = self.begin(id, arg, options === undefined ? undefined : overrides(options), (made) => {
      wait = Wait.of(caller, made)
      wait?.look()
    })

    const refused = (refusal: Refusal, other: DynamicChild | undefined): Starting<Handle, E> => {
      if (refusal === "max children") {
        return Effect.fail(new MaxChildren({ path: self.path, maxChildren: self.settings.maxChildren }))
      }
      if (refusal === "closed" || other === undefined) return Effect.fail(self.ended)
      const already = Effect.fail(new AlreadyStarted<Handle>({ path: other.path, child: other }))
      if (refusal === "already started") return already
      const turn = Wait.of(caller, other)
      if (turn?.look() !== undefined) {
        // It could only wait for itself, round some corner. What is going is no answer; what is coming is.
        return other.status === "stopping"
          ? Effect.die(
              new ControlError({ path: other.path, operation: "start", reason: "would deadlock", cause: Cause.empty })
            )
          : already
      }
      const decided = other.slot.until((): Effect.Effect<Starting<Handle, E>> | undefined => {
        if (other.status === "gone") return Effect.succeed(Effect.suspend(() => start(arg, options, caller, restore)))
        return other.starts > 0 && other.status !== "stopping" ? Effect.succeed(already) : undefined
      })
      return Effect.flatten(
        Effect.ensuring(
          restore(decided),
          Effect.sync(() => turn?.end())
        )
      )
    }
    const outcome = (): Starting<Handle, E> | undefined => {
      if (child.refused !== undefined) return refused(child.refused.refusal, child.refused.other)
      if (child.starts > 0 && !self.isOver) return Effect.succeed(typed(child))
      if (child.status !== "gone" && !self.isOver) return undefined
      if (self.machine.closed) return Effect.fail(self.ended)
      return child.cause === terminated
        ? Effect.fail(new Terminated({ path: child.path }))
        : Effect.failCause(failureOf(child))
    }
    const known = outcome()
    if (known !== undefined) {
      wait?.end()
      return known
    }
    const settled = child.slot.until(() => {
      const found = outcome()
      return found === undefined ? undefined : Effect.succeed(found)
    })
    const answer = Effect.onInterrupt(restore(settled), () => stop(child))
    return Effect.flatten(
      wait === undefined
        ? answer
        : Effect.ensuring(
            answer,
            Effect.sync(() => wait?.end())
          )
    )
  }

  const stop = (child: DynamicChild): Effect.Effect<void> =>
    Effect.suspend(() => {
      self.terminate(child)
      return child.slot.until(() => (child.status === "gone" ? Effect.void : undefined))
    })

  // Detached: what is still waited for when the supervisor ends is answered here, with why. A guard of the tree that it is in would
  // be the first to answer, and an interrupted start could not take back what it has begun in a fiber of the guard's.
  return {
    start: (arg, options) =>
      detach(
        Effect.withFiberRuntime<
          Child<Handle>,
          E | AlreadyStarted<Handle> | MaxChildren | Terminated | SupervisorShutdown
        >((caller) =>
          Effect.uninterruptibleMask((restore) =>
            // Its types are those of whoever runs it, and are not looked at.
            start(arg, options, caller as Fiber.RuntimeFiber<unknown, unknown>, restore)
          )
        )
      ),
    terminate: (target) =>
      detach(
        Effect.flatMap(CurrentInstance, (caller) => {
          const id = typeof target === "string" ? target : target.id
          const child = self.children.get(id)
          if (child === undefined || (typeof target !== "string" && target !== child)) {
            return Effect.fail(new NotFound({ path: self.path, id }))
          }
          // A finalizer that waits for the end of what it belongs to would wait for itself.
          if (caller !== undefined && caller === child.instance && caller.state !== "up") {
            return Effect.sync(() => self.terminate(child))
          }
          return stop(child)
        })
      ),
    find: (id) =>
      Effect.sync(() => Option.map(Option.filter(Option.fromNullable(self.children.get(id)), isLiving), typed)),
    children: Effect.sync(() => Array.from(self.children.values()).filter(isLiving).map(typed)),
    count: Effect.sync(() => {
      let [active, supervisors] = [0, 0]
      for (const child of self.children.values()) {
        if (child.status === "up") active++
        if (child.isSupervisor) supervisors++
      }
      const specs = self.children.size
      return { specs, active, supervisors, workers: specs - supervisors }
    }),
    awaitShutdown: detach(self.awaitShutdown),
    events: detachStream(self.emitted),
    snapshot: self.snapshot
  }
}

/** Has come up, and is to stay. */
const isLiving = (child: DynamicChild): boolean => child.starts > 0 && child.status !== "stopping"
