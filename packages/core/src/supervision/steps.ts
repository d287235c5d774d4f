/**
 * Running an Effect in place: a call that needs no time needs no fiber of its own, and no guard.
 *
 * `advance` does what the run loop of the caller's fiber would do, step by step, until the Effect has its Exit or comes to a step
 * that it leaves to that run loop: to give way (`Yield`), and to wait (`Async`). It goes on where it was afterwards, unless what
 * it runs on has died. What belongs to one fiber (`UpdateRuntimeFlags`: a region, a bracket) is left to a fiber of its own, under a
 * guard, with all that follows: a region may have to be left behind while it hears nothing. The steps that run here see the caller's
 * own fiber: what they fork, what they change in its FiberRefs and what they ask about it is as without a handle.
 *
 * The fields of Effect's primitives are not public. They are read here and nowhere else; a step of a name that is not known
 * here is left to the runtime.
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Effectable from "effect/Effectable"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import * as FiberRef from "effect/FiberRef"
import * as FiberRefs from "effect/FiberRefs"
import * as FiberStatus from "effect/FiberStatus"
import * as Predicate from "effect/Predicate"
import { yieldWrapGet } from "effect/Utils"
import type { AnyEffect } from "./kind.js"
import { answerOf } from "./success.js"

export type AnyFiber = Fiber.RuntimeFiber<unknown, unknown>

type Next = (value: unknown) => Primitive

/** A step of Effect's own, with the fields that the run loop reads: which of them are there follows from its name. */
export interface Primitive {
  readonly _op: string
  readonly effect_instruction_i0: never
  readonly effect_instruction_i1: Next
  readonly effect_instruction_i2: Next
  commit(): Primitive
}

/** The end of a call inside of another instance's call. */
class End<Where> {
  readonly _op = "End"
  constructor(
    readonly where: Where,
    readonly outer: Where
  ) {}
}

type Frame<Where> = Primitive | End<Where>

/** What an Effect of ours stands for: another one, and where that runs. */
export interface Entered<Where> {
  readonly where: Where
  readonly effect: AnyEffect
}

export interface Rules<Where> {
  /** What a step stands for, if it is ours and can go on in place. */
  readonly enter: (step: object, where: Where) => Entered<Where> | undefined
  /** Leaves the rest to a fiber. */
  readonly leave: (where: Where, rest: AnyEffect) => AnyEffect
  /** Leaves the rest to the run loop of its caller. */
  readonly stay: (where: Where, rest: AnyEffect) => AnyEffect
  /** The outermost place that has died, whose answer nobody has to wait for any more. */
  readonly died: (where: Where, fiber: AnyFiber) => Died<Where> | undefined
  /** Waits until an `Async` is answered, with the Effect that it is answered with, or until a place has died. */
  readonly wait: (
    where: Where,
    fiber: AnyFiber,
    register: Register,
    blockingOn: FiberId.FiberId
  ) => Effect.Effect<Primitive | Died<Where>>
}

/** Asks for something, and takes what is to be called with the Effect that answers. */
export type Register = (resume: (effect: AnyEffect) => void) => void

/** Something has died while it was waited for. */
export class Died<Where> {
  constructor(
    readonly where: Where,
    readonly error: unknown
  ) {}
}

/** A fiber as the run loop sees it; the fields are not in its public type. */
interface Running {
  currentOpCount: number
  readonly currentRuntimeFlags: FiberStatus.Running["runtimeFlags"]
  readonly currentContext: Context.Context<never>
  readonly _fiberRefs: FiberRefs.FiberRefs
  readonly currentTracer: unknown
  /** What it has been told and has not looked at yet. */
  readonly _queue: ReadonlyArray<unknown>
}

/** How many steps are done between two questions to the scheduler. */
const askedEvery = 16

const untraced = Effect.runSync(Effect.tracer)

/** Whether each step has to be done inside of a tracer's own context, as that of OpenTelemetry asks for: the run loop does that. */
export const isTraced = (fiber: AnyFiber): boolean => (fiber as unknown as Running).currentTracer !== untraced

/** Counts a step as the run loop does, and says whether the fiber may do it at once. It may not if it has been told something: interrupted. */
export const grants = (fiber: AnyFiber): boolean => {
  const running = fiber as unknown as Running
  running.currentOpCount += 1
  if (running._queue.length > 0) return false
  return running.currentOpCount % askedEvery !== 0 || fiber.currentScheduler.shouldYield(fiber) === false
}

/** What the runtime makes of an exception. */
export const thrown = (error: unknown): AnyEffect =>
  Exit.failCause(
    Cause.isInterruptedException(error)
      ? Cause.sequential(Cause.die(error), Cause.interrupt(FiberId.none))
      : Cause.die(error)
  )

// Both directions: an Effect of version 3 is a primitive, or has the `_op` of one.
export const primitive = (effect: AnyEffect): Primitive => effect as unknown as Primitive
export const effectOf = (step: Primitive): AnyEffect => step as unknown as AnyEffect

/**
 * What a step is to anybody but the run loop. Some that have a `commit` are a `Sync` to that alone: what stands for an Effect that
 * may be one, and a cache's read, which puts what follows on a miss onto the run loop's own stack.
 */
export const operationOf = ({ _op, commit }: Primitive): string =>
  _op === "Sync" && commit !== undefined ? "Commit" : _op

const nothing = primitive(Effect.void)

/** Says that an Effect has been run to its end and has succeeded; `taken` tells with what. An Exit for each call is too slow. */
export const succeeded = Symbol("succeeded")
let success: unknown

const succeed = (value: unknown): typeof succeeded => {
  success = value
  return succeeded
}

/** What the Effect has succeeded with that was run last. To be asked at once, and once. */
export const taken = (): unknown => {
  const value = success
  success = undefined
  return value
}

/** Runs an Effect as far as it goes without time: answers with its end, or with what is left. */
export const advance = <Where>(
  fiber: AnyFiber,
  where: Where,
  effect: AnyEffect,
  rules: Rules<Where>
): AnyEffect | typeof succeeded => goOn(fiber, where, primitive(effect), undefined, rules)

/** Goes on from some step of a call. */
const goOn = <Where>(
  fiber: AnyFiber,
  where: Where,
  next: Primitive,
  frames: Array<Frame<Where>> | undefined,
  rules: Rules<Where>
): AnyEffect | typeof succeeded => {
  const running = fiber as unknown as Running
  let at = where
  let stays = false
  let step = next
  let stack = frames
  while (true) {
    let value: unknown
    try {
      // Done when there is a value; otherwise `step` is the next one.
      steps: while (true) {
        switch (operationOf(step)) {
          case "Success":
            value = step.effect_instruction_i0
            break steps
          case "Failure": {
            if (stack === undefined) return effectOf(step)
            let frame: Frame<Where> | undefined
            do {
              frame = stack.pop()
              if (frame === undefined) return effectOf(step)
              if (frame._op === "End") at = (frame as End<Where>).outer
            } while (frame._op !== "OnFailure" && frame._op !== "OnSuccessAndFailure")
            step = (frame as Primitive).effect_instruction_i1(step.effect_instruction_i0)
            break
          }
          case "Sync":
            value = (step.effect_instruction_i0 as () => unknown)()
            break steps
          case "Commit": {
            // Left by a call in here, whose fiber is the same one: then all that follows stays, too.
            if (step instanceof Staying) return left(at, step, stack, rules, true)
            const entered = rules.enter(step, at)
            if (entered === undefined) step = step.commit()
            else {
              if (entered.where !== at) {
                stack ??= []
                stack.push(new End(entered.where, at))
                at = entered.where
              }
              step = primitive(entered.effect)
            }
            break
          }
          case "WithRuntime": {
            const refs = running._fiberRefs
            step = (step.effect_instruction_i0 as (fiber: AnyFiber, status: FiberStatus.Running) => Primitive)(
              fiber,
              FiberStatus.running(running.currentRuntimeFlags) as FiberStatus.Running
            )
            if (running._fiberRefs !== refs && isOpen(step) && isChanged(refs, fiber)) stays = true
            break
          }
          case "OnSuccess":
          case "OnFailure":
          case "OnSuccessAndFailure":
            stack ??= []
            stack.push(step)
            step = step.effect_instruction_i0
            break
          case "While":
            if ((step.effect_instruction_i0 as () => boolean)()) {
              stack ??= []
              stack.push(step)
              step = (step.effect_instruction_i1 as unknown as () => Primitive)()
              break
            }
            value = undefined
            break steps
          case "Iterator":
            stack ??= []
            stack.push(step)
            value = undefined
            break steps
          case "Tag":
            value = Context.unsafeGet(running.currentContext, step as unknown as Context.Tag<never, unknown>)
            break steps
          case "Async":
          case "Yield":
            return stays ? left(at, step, stack, rules, stays) : waiting(at, step, stack, rules, fiber)
          default:
            return left(at, step, stack, rules, stays)
        }
        if (!grants(fiber)) return pausedOrLeft(at, step, stack, rules, stays)
      }
      if (stack === undefined) return succeed(value)
      // Hands the value to whoever waits for it.
      let next: Primitive | undefined
      while (next === undefined) {
        const frame: Frame<Where> | undefined = stack.pop()
        if (frame === undefined) return succeed(value)
        switch (frame._op) {
          case "OnSuccess":
            next = (frame as Primitive).effect_instruction_i1(value)
            break
          case "OnSuccessAndFailure":
            next = (frame as Primitive).effect_instruction_i2(value)
            break
          case "End":
            at = (frame as End<Where>).outer
            break
          case "While": {
            const loop = frame as Primitive
            loop.effect_instruction_i2(value)
            next = loop
            break
          }
          case "Iterator": {
            const result: IteratorResult<unknown, unknown> = (
              (frame as Primitive).effect_instruction_i0 as Iterator<unknown, unknown, unknown>
            ).next(value)
            if (result.done === true) value = result.value
            else {
              // The generator waits for the answer of what it has yielded.
              next = yieldWrapGet(result.value as never) as Primitive
              if (next._op === "Success") {
                value = next.effect_instruction_i0
                next = undefined
                stack.push(frame)
              } else if (next._op !== "Failure") stack.push(frame)
            }
            break
          }
        }
      }
      step = next
      if (!grants(fiber)) return pausedOrLeft(at, step, stack, rules, stays)
    } catch (error) {
      // It is for the runtime to say that something is no Effect.
      if (!Predicate.hasProperty(step, "_op")) return left(at, step, stack, rules, stays)
      step = primitive(thrown(error))
    }
  }
}

/** What is left of a call, to go on with here after a turn of the run loop: with this step. */
const paused = <Where>(
  at: Where,
  step: Primitive,
  stack: Array<Frame<Where>> | undefined,
  rules: Rules<Where>
): AnyEffect =>
  Effect.withFiberRuntime((fiber) => {
    const died = rules.died(at, fiber)
    return died === undefined ? endOf(goOn(fiber, at, step, stack, rules)) : abandoned(fiber, died, stack, rules)
  })

/** The same, after a step that the run loop does: it gives way, or waits for an answer. */
const waiting = <Where>(
  at: Where,
  step: Primitive,
  stack: Array<Frame<Where>> | undefined,
  rules: Rules<Where>,
  fiber: AnyFiber
): AnyEffect => {
  if (step._op === "Yield") return Effect.flatMap(effectOf(step), () => paused(at, nothing, stack, rules))
  // An `Async` has the function that registers for its answer, and whose answer it is.
  const { effect_instruction_i0: register, effect_instruction_i1: blockingOn } = step as unknown as {
    readonly effect_instruction_i0: Register
    readonly effect_instruction_i1: FiberId.FiberId
  }
  return Effect.flatMap(rules.wait(at, fiber, register, blockingOn), (answer) =>
    Effect.withFiberRuntime((fiber) =>
      answer instanceof Died ? abandoned(fiber, answer, stack, rules) : endOf(goOn(fiber, at, answer, stack, rules))
    )
  )
}

const endOf = (end: AnyEffect | typeof succeeded): AnyEffect => (end === succeeded ? answerOf(taken()) : end)

/** Goes on where the answer of something was waited for that has died: all that was to be done inside is left out. */
const abandoned = <Where>(
  fiber: AnyFiber,
  { error, where }: Died<Where>,
  stack: Array<Frame<Where>> | undefined,
  rules: Rules<Where>
): AnyEffect => {
  for (let frame = stack?.pop(); frame !== undefined; frame = stack?.pop()) {
    if (frame._op !== "End" || (frame as End<Where>).where !== where) continue
    return endOf(goOn(fiber, (frame as End<Where>).outer, primitive(Effect.die(error)), stack, rules))
  }
  return Effect.die(error)
}

/** What has to stay in its caller's fiber: known by its class to a call around it, which would leave it to another one. */
class Staying extends Effectable.Class<unknown, unknown, unknown> {
  constructor(private readonly self: AnyEffect) {
    super()
  }
  commit(): AnyEffect {
    return this.self
  }
}

const isOpen = (step: Primitive): boolean => step._op !== "Success" && step._op !== "Failure"

/** Whether a fiber has other values in its FiberRefs than before; its flags are written there whenever somebody looks. */
const isChanged = (before: FiberRefs.FiberRefs, fiber: AnyFiber): boolean => {
  const { _fiberRefs: after } = fiber as unknown as Running
  for (const ref of FiberRefs.fiberRefs(after)) {
    if (ref === FiberRef.currentRuntimeFlags) continue
    if (FiberRefs.getOrDefault(after, ref) !== FiberRefs.getOrDefault(before, ref)) return true
  }
  return false
}

const pausedOrLeft = <Where>(
  at: Where,
  step: Primitive,
  stack: Array<Frame<Where>> | undefined,
  rules: Rules<Where>,
  stays: boolean
): AnyEffect => (stays ? left(at, step, stack, rules, stays) : paused(at, step, stack, rules))

/**
 * What is left of an Effect, as one Effect again, left to a fiber of its own. But a step that has changed the FiberRefs of the fiber,
 * and has more to do, is going to change them back: that is how a finalizer runs with those it was made with. It has to stay in the
 * fiber that it began in, and so does what follows.
 */
const left = <Where>(
  at: Where,
  step: Primitive,
  stack: ReadonlyArray<Frame<Where>> | undefined,
  rules: Rules<Where>,
  stays: boolean
): AnyEffect => {
  const leave = stays ? (where: Where, rest: AnyEffect) => new Staying(rules.stay(where, rest)) : rules.leave
  let rest = effectOf(step)
  let where = at
  for (let index = (stack?.length ?? 0) - 1; index >= 0; index -= 1) {
    const frame = stack?.[index]
    if (frame === undefined) continue
    if (frame._op === "End") {
      const { outer, where: inner } = frame as End<Where>
      rest = leave(inner, rest)
      where = outer
    } else rest = resumed(rest, frame as Primitive)
  }
  return leave(where, rest)
}

const resumed = (rest: AnyEffect, frame: Primitive): AnyEffect => {
  // What a frame goes on with is an Effect, as every primitive is.
  const next = frame.effect_instruction_i1 as unknown as (value: unknown) => AnyEffect
  switch (frame._op) {
    case "OnSuccess":
      return Effect.flatMap(rest, next)
    case "OnFailure":
      return Effect.catchAllCause(rest, next)
    case "OnSuccessAndFailure":
      return Effect.matchCauseEffect(rest, {
        onFailure: next,
        onSuccess: frame.effect_instruction_i2 as unknown as (value: unknown) => AnyEffect
      })
    case "While":
      return Effect.flatMap(rest, (value) => {
        frame.effect_instruction_i2(value)
        return effectOf(frame)
      })
    default: {
      const own = frame.effect_instruction_i0 as Iterator<never, unknown, unknown>
      return Effect.flatMap(rest, (value) =>
        Effect.gen(() => new Resumed(own, value) as unknown as Generator<never, unknown, never>)
      )
    }
  }
}

/** A generator that has asked already: the first answer it gets is the one to what it asked. */
class Resumed {
  private first = true
  constructor(
    private readonly own: Iterator<never, unknown, unknown>,
    private readonly value: unknown
  ) {}
  next(answer?: unknown): IteratorResult<never, unknown> {
    if (!this.first) return this.own.next(answer)
    this.first = false
    return this.own.next(this.value)
  }
}
