/**
 * Running an Effect on its own fiber, without a turn of the run loop for each of its steps.
 *
 * A restart is some three hundred steps that take no time, and the run loop needs longer for each of them than the step does.
 * What is done here is what it does, with its own stack: whatever is not known here (`Async`, `Yield`, a failure, a message for the
 * fiber) is handed back to it, and it goes on exactly there. For the supervisor's own work, and for builds and finalizers,
 * whose fibers are the supervisor's.
 */

import type * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FiberStatus from "effect/FiberStatus"
import * as RuntimeFlags from "effect/RuntimeFlags"
import type * as RuntimeFlagsPatch from "effect/RuntimeFlagsPatch"
import { yieldWrapGet } from "effect/Utils"
import type { AnyEffect } from "./kind.js"
import { type AnyFiber, effectOf, grants, isTraced, operationOf, type Primitive, primitive, thrown } from "./steps.js"
import { answerOf } from "./success.js"

interface Revert {
  readonly _op: "RevertFlags"
  readonly patch: RuntimeFlagsPatch.RuntimeFlagsPatch
  readonly op: Primitive
}

/** A fiber as the run loop sees it; the fields are not in its public type. */
interface Running {
  readonly _stack: Array<Primitive | Revert | Again>
  readonly _queue: ReadonlyArray<unknown>
  readonly currentRuntimeFlags: RuntimeFlags.RuntimeFlags
  readonly currentContext: Context.Context<never>
  patchRuntimeFlags(flags: RuntimeFlags.RuntimeFlags, patch: RuntimeFlagsPatch.RuntimeFlagsPatch): unknown
  isInterrupted(): boolean
  getInterruptedCause(): Cause.Cause<never>
}

/** Where Effect keeps the fiber that is running. */
const global = globalThis as { readonly "effect/FiberCurrent"?: AnyFiber | null | undefined }

/** The same Effect, done faster. */
export const driven = <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.suspend(() => {
    const fiber = global["effect/FiberCurrent"]
    // What comes back is the same Effect, some steps on.
    return fiber === undefined || fiber === null
      ? self
      : (effectOf(drive(fiber, primitive(self as AnyEffect))) as typeof self)
  })

/** A frame on the stack of the run loop: goes on here when it has the answer that it was handed back for. */
class Again {
  readonly _op = "OnSuccess"
  constructor(
    private readonly fiber: AnyFiber,
    private readonly base: number
  ) {}
  effect_instruction_i1(value: unknown): Primitive {
    return drive(this.fiber, primitive(answerOf(value)), this.base)
  }
}

const drive = (fiber: AnyFiber, effect: Primitive, base = (fiber as unknown as Running)._stack.length): Primitive => {
  const running = fiber as unknown as Running
  const { _stack: stack } = running
  let step = effect
  while (true) {
    if (running._queue.length > 0 || isTraced(fiber) || !grants(fiber)) return step
    let value: unknown
    try {
      switch (operationOf(step)) {
        case "Success":
          value = step.effect_instruction_i0
          break
        case "Sync":
          value = (step.effect_instruction_i0 as () => unknown)()
          break
        case "Commit":
          step = step.commit()
          continue
        case "WithRuntime":
          step = (step.effect_instruction_i0 as (fiber: AnyFiber, status: FiberStatus.Running) => Primitive)(
            fiber,
            FiberStatus.running(running.currentRuntimeFlags) as FiberStatus.Running
          )
          continue
        case "OnSuccess":
        case "OnFailure":
        case "OnSuccessAndFailure":
          stack.push(step)
          step = step.effect_instruction_i0
          continue
        case "While":
          if (!(step.effect_instruction_i0 as () => boolean)()) break
          stack.push(step)
          step = (step.effect_instruction_i1 as unknown as () => Primitive)()
          continue
        case "Iterator":
          stack.push(step)
          break
        case "Tag":
          value = Context.unsafeGet(running.currentContext, step as unknown as Context.Tag<never, unknown>)
          break
        case "UpdateRuntimeFlags": {
          const before = running.currentRuntimeFlags
          const patch: RuntimeFlagsPatch.RuntimeFlagsPatch = step.effect_instruction_i0
          const after = RuntimeFlags.patch(before, patch)
          if (RuntimeFlags.interruptible(after) && running.isInterrupted()) return step
          running.patchRuntimeFlags(before, patch)
          // Without an Effect to run under them, the flags stay changed.
          const inner = step.effect_instruction_i1 as unknown as
            | ((before: RuntimeFlags.RuntimeFlags) => Primitive)
            | undefined
          if (inner === undefined) break
          stack.push({ _op: "RevertFlags", patch: RuntimeFlags.diff(after, before), op: step })
          step = inner(before)
          continue
        }
        case "Async":
        case "Yield":
          stack.push(new Again(fiber, base))
          return step
        default:
          return step
      }
      // Hands the value to whoever waits for it.
      let next: Primitive | undefined
      while (next === undefined) {
        if (stack.length <= base) return primitive(answerOf(value))
        const frame = stack.pop()
        switch (frame?._op) {
          case "OnSuccess":
            next = (frame as Primitive).effect_instruction_i1(value)
            break
          case "OnSuccessAndFailure":
            next = (frame as Primitive).effect_instruction_i2(value)
            break
          case "OnFailure":
            break
          case "While":
            ;(frame as Primitive).effect_instruction_i2(value)
            value = undefined
            if (((frame as Primitive).effect_instruction_i0 as () => boolean)()) {
              stack.push(frame)
              next = ((frame as Primitive).effect_instruction_i1 as unknown as () => Primitive)()
            }
            break
          case "Iterator": {
            const own = (frame as Primitive).effect_instruction_i0 as Iterator<unknown, unknown, unknown>
            const result = own.next(value)
            if (result.done === true) value = result.value
            else {
              stack.push(frame)
              next = yieldWrapGet(result.value as never) as Primitive
            }
            break
          }
          case "RevertFlags":
            running.patchRuntimeFlags(running.currentRuntimeFlags, (frame as Revert).patch)
            if (RuntimeFlags.interruptible(running.currentRuntimeFlags) && running.isInterrupted()) {
              return primitive(Exit.failCause(running.getInterruptedCause()))
            }
            break
          default:
            // Not known here.
            if (frame !== undefined) stack.push(frame)
            return primitive(answerOf(value))
        }
      }
      step = next
    } catch (error) {
      return primitive(thrown(error))
    }
  }
}
