/**
 * Waiting for something that cannot be asked to stop: what `Effect.async` comes to, without what it puts around it.
 *
 * That is a step more and half a dozen functions for each wait; and one of them is assigned where it is made, so V8 puts it into the old generation, with the
 * fiber that it resumes within reach: what the fiber ends with survives until the next full collection. The fields of Effect's primitives are not public.
 */
import { Effect, FiberId } from "effect"

/** Asks for something, and takes what is to be called with the Effect that answers; only the first call counts. */
type Register<A, E> = (resume: (answer: Effect.Effect<A, E>) => void) => void

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
const Waiting = function (this: Fields, register: unknown) {
  this._op = "Async"
  this.effect_instruction_i0 = register
  this.effect_instruction_i1 = FiberId.none
  this.effect_instruction_i2 = undefined
  this.trace = undefined
  this[Effect.EffectTypeId] = variance
}
Waiting.prototype = Object.getPrototypeOf(template)

const made = Reflect.ownKeys(new (Waiting as unknown as new (register: unknown) => object)(undefined))

/** Another version of Effect may make its steps otherwise. */
const isSame = Reflect.ownKeys(template).every((key, at) => made[at] === key)

/** An interruption leaves it at once, wherever that is allowed. */
export const waiting: <A, E>(register: Register<A, E>) => Effect.Effect<A, E> = isSame
  ? // Sound: the run loop waits for such a step, and goes on with what it is answered with.
    (register) => new (Waiting as unknown as new (register: unknown) => Effect.Effect<never, never>)(register)
  : // One parameter, whatever the register has: else an AbortController is made for each.
    (register) => Effect.async((resume) => register(resume))
