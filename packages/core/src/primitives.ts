/**
 * Two steps of Effect's run loop, made here: waiting for something that cannot be asked to stop, and a region that cannot be interrupted.
 *
 * Effect's own makers put functions around both; and some of these are assigned where they are made, so V8 puts them into the old generation, with
 * the fiber and what it was given within reach: that survives until the next full collection. The fields of Effect's primitives are not public.
 */
import { Effect, FiberId, RuntimeFlags, RuntimeFlagsPatch } from "effect"

interface Fields {
  _op: string
  effect_instruction_i0: unknown
  effect_instruction_i1: unknown
  effect_instruction_i2: unknown
  trace: unknown
  [Effect.EffectTypeId]: unknown
}

/** Any step of Effect's own that has no class by itself. */
const template: Effect.Effect<void> = Effect.interruptible(Effect.void)
const { [Effect.EffectTypeId]: variance } = template

/** The same prototype and the same fields in the same order. */
const Step = function (this: Fields, op: string, first: unknown, second: unknown) {
  this._op = op
  this.effect_instruction_i0 = first
  this.effect_instruction_i1 = second
  this.effect_instruction_i2 = undefined
  this.trace = undefined
  this[Effect.EffectTypeId] = variance
} as unknown as new (
  op: string,
  first: unknown,
  second: unknown
) => Effect.Effect<never, never>
Step.prototype = Object.getPrototypeOf(template)

const made = Reflect.ownKeys(new Step("", undefined, undefined))

/** Another version of Effect may make its steps otherwise. */
const isSame =
  Reflect.ownKeys(template).every((key, at) => made[at] === key) &&
  Reflect.get(template, "_op") === "UpdateRuntimeFlags"

/** Asks for something, and takes what is to be called with the Effect that answers; only the first call counts. */
type Register<A, E> = (resume: (answer: Effect.Effect<A, E>) => void) => void

/** What `Effect.async` comes to. An interruption leaves it at once, wherever that is allowed. */
export const waiting: <A, E>(register: Register<A, E>) => Effect.Effect<A, E> = isSame
  ? // Sound: the run loop waits for such a step, and goes on with what it is answered with.
    (register) => new Step("Async", register, FiberId.none)
  : // One parameter, whatever the register has: else an AbortController is made for each.
    (register) => Effect.async((resume) => register(resume))

/** Makes an effect as interruptible as what is around the region was. */
export type Restore = <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>

const off = RuntimeFlagsPatch.disable(RuntimeFlags.Interruption)
const on = RuntimeFlagsPatch.enable(RuntimeFlags.Interruption)

// Sound: the run loop changes its flags, goes on with what the function gives, and changes them back.
const changing = <A, E, R>(
  patch: RuntimeFlagsPatch.RuntimeFlagsPatch,
  then: (before: RuntimeFlags.RuntimeFlags) => Effect.Effect<A, E, R>
) => new Step("UpdateRuntimeFlags", patch, then) as Effect.Effect<A, E, R>

const restored: Restore = (self) => changing(on, () => self)
/** Not as it is: by then somebody may have made it interruptible. */
const keptOff: Restore = (self) => changing(off, () => self)

/** What `Effect.uninterruptibleMask` comes to. */
export const uninterruptibleMask: <A, E, R>(
  within: (restore: Restore) => Effect.Effect<A, E, R>
) => Effect.Effect<A, E, R> = isSame
  ? (within) => changing(off, (before) => within(RuntimeFlags.interruption(before) ? restored : keptOff))
  : Effect.uninterruptibleMask
