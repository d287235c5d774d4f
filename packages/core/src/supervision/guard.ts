/**
 * Guarding: an Effect of a service is run so that it cannot outwait its instance.
 *
 * It has to be cheap and must not be noticed:
 *
 * - An Effect is run in place for as long as it takes no time (`steps.ts`): most calls are over before anybody waits.
 * - Where it gives way, or waits for an answer, its caller does, with an entry in the instance's list of waiting calls while it waits.
 *   There is no race.
 * - What is left of one that comes to a region is run by a fiber of its own, started at once on the same stack, for what must not be
 *   interrupted may outlive the instance, and its caller must not wait for that.
 * - A call inside of a call of the same instance is guarded by that one, and run in place.
 * - What the Effect forks belongs to the caller, as it would without a guard, and FiberRefs it changes are changed for the
 *   caller.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import * as FiberRef from "effect/FiberRef"
import * as FiberRefs from "effect/FiberRefs"
import * as HashSet from "effect/HashSet"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Runtime from "effect/Runtime"
import { isDetached } from "./detached.js"
import type { Instance } from "./instance.js"
import type { AnyEffect } from "./kind.js"
import * as Linking from "./linking.js"
import { type AnyFiber, advance, Died, isTraced, primitive, type Rules, succeeded, taken } from "./steps.js"

/** An Effect that runs another one on an instance, each time it is run. */
export const run = (instance: Instance, effect: AnyEffect): AnyEffect =>
  Effect.withFiberRuntime((fiber) => {
    if (instance.dead !== undefined) return Effect.die(instance.dead)
    const end = runNow(fiber, instance, effect)
    return end === succeeded ? Effect.succeed(taken()) : end
  })

/** Runs an Effect on an instance as far as it goes without time. What is left is guarded. */
export const runNow = (fiber: AnyFiber, instance: Instance, effect: AnyEffect): AnyEffect | typeof succeeded => {
  if (isDetached(effect)) return effect.self
  const guard = { instance, outer: undefined }
  // An Effect of a class of its own may come here again from its `commit`.
  if (depth > deepest || isTraced(fiber)) return inFiber(guard, effect)
  depth += 1
  try {
    return advance(fiber, guard, effect, rules)
  } finally {
    depth -= 1
  }
}

/** What is a call of another service, or of the same, for whoever runs it in place. */
export interface Call {
  enter(): { readonly instance: Instance; readonly effect: AnyEffect } | undefined
}

const CallTypeId: unique symbol = Symbol("@effecto/core/supervision/Call")

export { CallTypeId }

const rules: Rules<Guard> = {
  enter: (step, where) => {
    if (!(CallTypeId in step)) return undefined
    const entered = (step as unknown as Call).enter()
    if (entered === undefined) return undefined
    const { effect, instance } = entered
    if (isDetached(effect)) return { where, effect: effect.self }
    return { where: isUnder(where, instance) ? where : { instance, outer: where }, effect }
  },
  leave: (where, rest) => inFiber(where, rest),
  stay: (where, rest) => inCaller(where, rest),
  died: (where, fiber) => {
    let died: Guard | undefined
    for (let guard: Guard | undefined = where; guard !== undefined; guard = guard.outer) {
      if (guard.instance.dead !== undefined && releases(guard, fiber)) died = guard
    }
    return died === undefined ? undefined : new Died(died, died.instance.dead)
  },
  wait: (where, fiber, register, blockingOn) =>
    Effect.async((resume) => {
      const registered: Array<() => void> = []
      let isOver = false
      const forget = (): void => {
        isOver = true
        for (const take of registered) take()
      }
      const answer = (step: AnyEffect | Died<Guard>): void => {
        forget()
        resume(Effect.succeed(step instanceof Died ? step : primitive(step)))
      }
      // One that is dead already answers at once; then nothing more is to be heard of.
      for (let guard: Guard | undefined = where; guard !== undefined && !isOver; guard = guard.outer) {
        const at = guard
        if (releases(at, fiber)) registered.push(at.instance.onDeath((died) => answer(new Died(at, died))))
      }
      try {
        if (!isOver) register(answer)
      } catch (error) {
        answer(Effect.die(error))
      }
      return Effect.sync(forget)
    }, blockingOn)
}

/** Whether the death of its instance ends a call that this fiber makes: unless it was promised to go on, or is inside of another one. */
const releases = ({ instance }: Guard, fiber: AnyFiber): boolean =>
  !instance.slot.detached && !isUnder(guards.get(fiber.id()), instance)

/** A call inside of a call: whoever waits is told by the guard of the outer one. */
const isUnder = (where: Guard | undefined, instance: Instance): boolean => {
  for (let guard = where; guard !== undefined; guard = guard.outer) if (guard.instance === instance) return true
  return false
}

/** Where the fibers that a fiber forks belong, if not to itself. */
type ForkScope = FiberRef.FiberRef<Option.Option<unknown>>

/**
 * The FiberRef behind `Effect.transplant`, which is not public: the one FiberRef that a transplanted Effect has and another
 * one has not. Setting it directly saves a bracket around each call. Without it `transplant` does.
 */
const forkScope: ForkScope | undefined = (() => {
  const plain = FiberRefs.fiberRefs(Effect.runSync(Effect.getFiberRefs))
  const transplanted = FiberRefs.fiberRefs(Effect.runSync(Effect.transplant((graft) => graft(Effect.getFiberRefs))))
  const added = Array.from(HashSet.difference(transplanted, plain))
  return added.length === 1 ? (added[0] as ForkScope) : undefined
})()

type Graft = (effect: AnyEffect) => AnyEffect

const scopeOf = (caller: AnyFiber): Option.Option<unknown> | undefined => {
  if (forkScope === undefined) return undefined
  const overridden = caller.getFiberRef(forkScope)
  if (Option.isSome(overridden)) return overridden
  // Not in the public types; checked before it is used.
  const { scope } = caller as unknown as { readonly scope?: unknown }
  return typeof scope === "function" ? Option.some(Reflect.apply(scope, caller, [])) : undefined
}

/** The fiber that waits for this one, as for a part of itself (`Effect.all`, a guarded call); else its own. */
export const hostOf = (fiber: AnyFiber): unknown => {
  const scope = scopeOf(fiber)
  const host: unknown = scope === undefined ? undefined : Option.getOrUndefined(scope)
  // Not in the public types; checked before it is used.
  return Predicate.hasProperty(host, "fiberId") ? host.fiberId : fiber.id()
}

/** A call inside of another service's call is started on the stack of that; but only so deep, because the stack ends. */
const deepest = 16
let depth = 0

/** What releases the caller of a fiber that runs a call: the death of one of these instances. */
interface Guard {
  readonly instance: Instance
  readonly outer: Guard | undefined
}

/** Guards by the fiber that runs under them. What such a fiber forks may outlive the call, and is under none of them. */
const guards = new WeakMap<object, Guard>()

const inFiber = ({ instance }: Guard, effect: AnyEffect): AnyEffect =>
  Effect.withFiberRuntime<unknown, unknown, unknown>((caller, status) => {
    if (instance.dead !== undefined) return Effect.die(instance.dead)
    // What a caller was promised by the option `inFlight`: it goes on, whatever becomes of the instance.
    if (instance.slot.detached) return effect
    const outer = guards.get(caller.id())
    if (isUnder(outer, instance)) return effect
    const scope = scopeOf(caller)
    const guard = { instance, outer }
    return scope === undefined
      ? Effect.transplant((graft) => fork(guard, effect, caller, status.runtimeFlags, undefined, graft))
      : fork(guard, effect, caller, status.runtimeFlags, scope, undefined)
  })

/** A fiber as the run loop sees it; the fields are not in its public type. */
interface Running {
  /** Ends what it waits for, if that may be interrupted. */
  readonly _asyncInterruptor: ((exit: Exit.Exit<never, never>) => void) | null
  setFiberRef<A>(ref: FiberRef.FiberRef<A>, value: A): void
}

/**
 * Runs what has to stay in its caller's fiber. When the instance dies it is interrupted, and its caller is not: the fiber bears a
 * mark that is taken away again here, and the fibers that it has forked hear nothing of it. What must not be interrupted is waited
 * for.
 */
const inCaller = (guard: Guard, rest: AnyEffect): AnyEffect =>
  Effect.withFiberRuntime<unknown, unknown, unknown>((caller) => {
    if (!releases(guard, caller)) return rest
    const running = caller as unknown as Running
    return Effect.uninterruptibleMask((restore) => {
      const mark = FiberId.unsafeMake()
      const interrupted = Cause.interrupt(mark)
      let died: unknown
      const forget = guard.instance.onDeath((error) => {
        died = error
        const others = caller.getFiberRef(FiberRef.interruptedCause)
        running.setFiberRef(FiberRef.interruptedCause, Cause.sequential(others, interrupted))
        running._asyncInterruptor?.(Exit.failCause(interrupted))
      })
      const over = (): void => {
        forget()
        if (died === undefined) return
        const others = HashSet.remove(Cause.interruptors(caller.getFiberRef(FiberRef.interruptedCause)), mark)
        const none: Cause.Cause<never> = Cause.empty
        running.setFiberRef(
          FiberRef.interruptedCause,
          HashSet.reduce(others, none, (all, by) => Cause.sequential(all, Cause.interrupt(by)))
        )
      }
      return Effect.matchCauseEffect(restore(rest), {
        onFailure: (cause) => {
          over()
          return died === undefined ? Effect.failCause(cause) : Effect.die(died)
        },
        // Also where the instance has died: what could not be interrupted has an answer after all.
        onSuccess: (value) => {
          over()
          return Effect.succeed(value)
        }
      })
    })
  })

const fork = (
  guard: Guard,
  effect: AnyEffect,
  caller: AnyFiber,
  runtimeFlags: Runtime.Runtime<never>["runtimeFlags"],
  scope: Option.Option<unknown> | undefined,
  graft: Graft | undefined
): AnyEffect => {
  const { instance } = guard
  // The answer is the fiber's success even if it is a failure: an ordinary typed error must not be logged as that of a fiber
  // nobody waits for.
  const answer = Effect.exit(effect)
  let before: FiberRefs.FiberRefs | undefined
  let child: AnyFiber
  depth += 1
  try {
    child = Runtime.runFork(
      Runtime.make({
        context: caller.getFiberRef(FiberRef.currentContext),
        fiberRefs: caller.getFiberRefs(),
        runtimeFlags
      }),
      // The caller's own context is in the runtime.
      (graft === undefined ? answer : graft(answer)) as Effect.Effect<Exit.Exit<unknown, unknown>>,
      {
        immediate: depth <= deepest,
        updateRefs: (refs, fiberId) => {
          guards.set(fiberId, guard)
          const own =
            scope === undefined || forkScope === undefined
              ? refs
              : FiberRefs.updateAs(refs, { fiberId, fiberRef: forkScope, value: scope })
          before = Linking.startedBy(own, fiberId, caller)
          return before
        }
      }
    )
  } finally {
    depth -= 1
  }
  const done = child.unsafePoll()
  if (done !== null) {
    charge(caller, child)
    return answered(child, before, done)
  }
  return Effect.async<unknown, unknown, unknown>((resume) => {
    const forget = instance.onDeath((died) => {
      // Not awaited: whatever still runs there may never listen.
      child.unsafeInterruptAsFork(caller.id())
      resume(Effect.die(died))
    })
    child.addObserver((exit) => {
      forget()
      resume(answered(child, before, exit))
    })
    return Effect.async<void>((interrupted) => {
      forget()
      // A body that cannot be interrupted is waited for, as without a guard, but not longer than its instance lives.
      const forgetAgain = instance.onDeath(() => interrupted(Effect.void))
      child.addObserver(() => {
        forgetAgain()
        interrupted(Effect.void)
      })
      child.unsafeInterruptAsFork(caller.id())
    })
  })
}

/** Steps done before a fiber gives others a turn: not in the public types; checked before it is used. */
interface Counting {
  currentOpCount?: unknown
}

/** What was done in the caller's place counts as the caller's, who would otherwise never have to yield. */
const charge = (caller: AnyFiber, child: AnyFiber): void => {
  const payer: Counting = caller as unknown as Counting
  const { currentOpCount } = child as unknown as Counting
  if (typeof payer.currentOpCount === "number" && typeof currentOpCount === "number") {
    payer.currentOpCount += currentOpCount
  }
}

/**
 * The FiberRefs of a fiber, to be compared only. It is not in the public types; without it they just seem to have changed.
 * `getFiberRefs` writes the runtime flags into them first, and so never returns those that a fiber was started with.
 */
const refsOf = (fiber: AnyFiber): unknown => (fiber as unknown as { readonly _fiberRefs?: unknown })._fiberRefs

/** The answer, and for the caller whatever the Effect changed in its FiberRefs. */
const answered = (
  child: Fiber.RuntimeFiber<unknown, unknown>,
  before: FiberRefs.FiberRefs | undefined,
  exit: Exit.Exit<unknown, unknown>
): AnyEffect => {
  const answer = Exit.isSuccess(exit) && Exit.isExit(exit.value) ? exit.value : exit
  if (refsOf(child) === before) return answer
  const after = child.getFiberRefs()
  const refs = forkScope === undefined ? after : FiberRefs.delete(after, forkScope)
  return Effect.zipRight(Effect.inheritFiberRefs(refs), answer)
}
