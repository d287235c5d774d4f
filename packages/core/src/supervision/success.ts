/**
 * Answers that are there already: what `Effect.succeed` makes, made faster, and taken faster.
 *
 * A generator that is answered by one of Effect's own gives way to the run loop, in three objects, and is called again with the
 * value: that takes longer than a call and its answer. One of ours has an iterator that is the result of its own first step: the
 * generator has the value without giving way. In every other respect it is what Effect makes: an Exit, with the same fields, equal
 * to the same things.
 */
import * as Effect from "effect/Effect"
import { YieldWrap } from "effect/Utils"
import type { AnyEffect } from "./kind.js"

const template = Effect.succeed(undefined)
const { [Effect.EffectTypeId]: variance } = template
const prototype: object = Object.getPrototypeOf(template)
const keys = Reflect.ownKeys(template)

interface Success {
  readonly _op: "Success"
  readonly effect_instruction_i0: unknown
  readonly effect_instruction_i1: undefined
  readonly effect_instruction_i2: undefined
  readonly trace: undefined
  readonly [Effect.EffectTypeId]: typeof variance
  readonly _tag: "Success"
}

/**
 * The class of Effect's own defines a field of a computed name, for which the engine takes as long as for the rest of a call. The
 * same fields in the same order, and its prototype behind ours, make it the same in every respect but how it is iterated.
 */
const Answer = function (this: { -readonly [K in keyof Success]: Success[K] }, value: unknown) {
  this._op = "Success"
  this.effect_instruction_i0 = value
  this.effect_instruction_i1 = undefined
  this.effect_instruction_i2 = undefined
  this.trace = undefined
  this[Effect.EffectTypeId] = variance
  this._tag = "Success"
} as unknown as new <A>(
  value: A
) => Effect.Effect<A> & Success // a function that is only ever called with `new`

Answer.prototype = Object.create(prototype, {
  [Symbol.iterator]: {
    value(this: AnyEffect & Success): Taking {
      return new Taking(this)
    }
  }
})

/** One pass over it: the iterator, and the result of its step. */
class Taking {
  readonly done: boolean
  readonly value: unknown
  /** Nothing when a loop has had its element. */
  private self: (AnyEffect & Success) | undefined

  constructor(self: AnyEffect & Success) {
    this.done = true
    this.value = self.effect_instruction_i0
    this.self = self
  }

  /**
   * A generator hands on what it was told, which at first is nothing; a loop, or who compares by iterating, gives no argument at
   * all.
   */
  next(told?: unknown): IteratorResult<unknown, unknown> {
    // biome-ignore lint/complexity/noArguments: whether there is one.
    return arguments.length > 0 && this.self !== undefined ? this : this.lookedAt(told)
  }

  /** As one of Effect's own looks to a loop: it has one element. */
  private lookedAt(told: unknown): IteratorResult<unknown, unknown> {
    const { self } = this
    if (self === undefined) return { done: true, value: told }
    this.self = undefined
    return { done: false, value: new YieldWrap(self) }
  }

  return(value: unknown): IteratorResult<never, unknown> {
    return { done: true, value }
  }
}

const isSame = keys.every((key, index) => Reflect.ownKeys(new Answer(undefined))[index] === key)

/** An Effect that has succeeded, which a generator takes at once. */
export const answerOf: <A>(value: A) => Effect.Effect<A> = isSame ? (value) => new Answer(value) : Effect.succeed

/** Whether something is a success of Effect's own, and has nothing that another one of the same value has not. */
export const isPlain = (value: object): boolean => {
  const at: unknown = Object.getPrototypeOf(value)
  return (at === prototype || at === Answer.prototype) && Reflect.ownKeys(value).length === keys.length
}
