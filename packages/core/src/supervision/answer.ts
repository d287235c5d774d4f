/**
 * What a call through a handle answers with: Effects and Streams that are guarded while their instance lives, and asked of the
 * next one afterwards. `again` asks an instance for the same thing; while the child is down, it is all there is.
 */
import * as Effect from "effect/Effect"
import * as Effectable from "effect/Effectable"
import { pipeArguments } from "effect/Pipeable"
import * as Stream from "effect/Stream"
import { YieldWrap, yieldWrapGet } from "effect/Utils"
import { isDetached, isMarked } from "./detached.js"
import { CallTypeId, run, runNow } from "./guard.js"
import type { Instance, Slot } from "./instance.js"
import { type AnyEffect, type AnyStream, isFunction, isObject, isStream, kindOf } from "./kind.js"
import { type AnyFiber, grants, operationOf, primitive, succeeded, taken, thrown } from "./steps.js"
import { answerOf } from "./success.js"

/** Reaches a value inside an instance. */
export type Reach = (instance: Instance) => unknown

/** What a reached value means when it is run: an Effect runs guarded, anything else is the answer. */
const asEffect = (value: unknown): AnyEffect =>
  Effect.isEffect(value) && kindOf(value) !== "value" ? value : Effect.succeed(value)

/** Where Effect keeps the fiber that is running: what `Fiber.getCurrentFiber` reads, without the Option around it. */
const global = globalThis as { readonly "effect/FiberCurrent"?: AnyFiber | null | undefined }

/**
 * An Effect that finds its instance when it is run: kept over a restart, it is asked of the next instance.
 *
 * It is its own iterator, and so answers a generator where that stands, without a turn of the run loop: `yield*` asks for the
 * iterator and for its first step in one go, so all there is to remember is whether the next step is the first one.
 *
 * It extends nothing, for a chain of constructors costs more than many a call. What makes it an Effect is put into its
 * prototype below.
 */
class LazyCall {
  private first = true

  constructor(
    readonly slot: Slot,
    readonly made: Instance | undefined,
    readonly effect: AnyEffect | undefined,
    readonly again: Reach
  ) {}

  /**
   * What the run loop knows it as. A `Sync` needs no guard, and the run loop does it itself: a turn of that is most of what such a call
   * costs, and this one would take two.
   */
  get _op(): string {
    const { effect, made, slot } = this
    return effect !== undefined && made !== undefined && slot.current === made && isSync(effect) ? "Sync" : "Commit"
  }

  get effect_instruction_i0(): unknown {
    return this.effect === undefined ? undefined : primitive(this.effect).effect_instruction_i0
  }

  enter(): { readonly instance: Instance; readonly effect: AnyEffect } | undefined {
    const instance = this.slot.current
    if (instance === undefined) return undefined
    return { instance, effect: this.of(instance) }
  }

  /** What is to be run on an instance. */
  protected of(instance: Instance): AnyEffect {
    const { effect, made } = this
    return instance === made && effect !== undefined ? effect : asEffect(this.again(instance))
  }

  /** Runs it, as far as it goes without time. */
  private attempt(fiber: AnyFiber): AnyEffect | typeof succeeded {
    const { effect, made, slot } = this
    const instance = slot.current
    if (instance === undefined) {
      return slot.whenUp((next, caller) => {
        const end = runNow(caller, next, asEffect(this.again(next)))
        return end === succeeded ? answerOf(taken()) : end
      })
    }
    return runNow(fiber, instance, instance === made && effect !== undefined ? effect : this.of(instance))
  }

  private run(fiber: AnyFiber): AnyEffect {
    const end = this.attempt(fiber)
    return end === succeeded ? answerOf(taken()) : end
  }

  commit(): AnyEffect {
    const fiber = global["effect/FiberCurrent"]
    return fiber === undefined || fiber === null ? Effect.withFiberRuntime((fiber) => this.run(fiber)) : this.run(fiber)
  }

  [Symbol.iterator](): Effect.EffectGenerator<Effect.Effect<unknown, unknown, unknown>> {
    this.first = true
    return this
  }

  next(answer?: unknown): IteratorResult<YieldWrap<AnyEffect>, unknown> {
    if (!this.first) return { done: true, value: answer }
    this.first = false
    const fiber = global["effect/FiberCurrent"]
    // Without a fiber there is nobody to run it: the run loop that this is handed to will know its fiber.
    if (fiber === undefined || fiber === null || !grants(fiber)) {
      return { done: false, value: new YieldWrap(this as unknown as AnyEffect) } // its prototype has all that an Effect has
    }
    let end: AnyEffect | typeof succeeded
    try {
      end = this.attempt(fiber)
    } catch (error) {
      // Not for the generator to catch, since it would not be there if it had been for the run loop to do.
      end = thrown(error)
    }
    return end === succeeded ? { done: true, value: taken() } : { done: false, value: new YieldWrap(end) }
  }

  toJSON(): unknown {
    return { _id: "Supervised", path: this.slot.path }
  }
}

for (const name of Reflect.ownKeys(Effectable.CommitPrototype)) {
  const property = Object.getOwnPropertyDescriptor(Effectable.CommitPrototype, name)
  if (property !== undefined && !Object.hasOwn(LazyCall.prototype, name))
    Object.defineProperty(LazyCall.prototype, name, property)
}
Object.defineProperty(LazyCall.prototype, CallTypeId, { value: CallTypeId })

const isSync = (effect: AnyEffect): boolean => operationOf(primitive(effect)) === "Sync"

/** An Effect that is a member of a service: it is looked up when the run loop asks what it is, and not again when that does it. */
class MemberCall extends LazyCall {
  private found: AnyEffect | undefined = undefined
  private foundIn: Instance | undefined = undefined

  constructor(slot: Slot, reach: Reach) {
    super(slot, undefined, undefined, reach)
  }

  override get _op(): string {
    const instance = this.slot.current
    this.found = undefined
    if (instance === undefined) return "Commit"
    try {
      const found = asEffect(this.again(instance))
      this.found = found
      this.foundIn = instance
      return isSync(found) ? "Sync" : "Commit"
    } catch {
      // It will throw again when it is run, where somebody hears of it.
      return "Commit"
    }
  }

  override get effect_instruction_i0(): unknown {
    const instance = this.slot.current
    return instance === undefined ? undefined : primitive(this.of(instance)).effect_instruction_i0
  }

  protected override of(instance: Instance): AnyEffect {
    const { found } = this
    this.found = undefined
    return found !== undefined && this.foundIn === instance ? found : super.of(instance)
  }
}

/** The class, as what its instances are to everybody else. */
export interface Lazy extends Effect.Effect<unknown, unknown, unknown> {
  readonly slot: Slot
  readonly made: Instance | undefined
  readonly effect: AnyEffect | undefined
  readonly again: Reach
  commit(): AnyEffect
  toJSON(): unknown
}

export const Lazy = LazyCall as unknown as new (
  slot: Slot,
  made: Instance | undefined,
  effect: AnyEffect | undefined,
  again: Reach
) => Lazy

/** The Effect that a place of a service is. */
export const member = (slot: Slot, reach: Reach): AnyEffect => new MemberCall(slot, reach) as unknown as Lazy // as above

/**
 * The result of a function that was never called before and is called while the child is down: it may be used as an Effect,
 * as a Stream, or as a function. Used as a value it throws, since a value cannot wait. What cannot be noticed is the question
 * whether it is truthy.
 */
class Unknown extends Lazy {
  get channel(): unknown {
    return Stream.toChannel(stream(this.slot, this.again))
  }
  // biome-ignore lint/suspicious/noThenProperty: a Promise of it would be answered with it; this makes that fail.
  get then(): never {
    throw this.slot.unavailable
  }
  override toJSON(): never {
    throw this.slot.unavailable
  }
  [Symbol.toPrimitive](): never {
    throw this.slot.unavailable
  }
}

export const unknown = (slot: Slot, again: Reach): Unknown => {
  const callable = (...args: Array<unknown>): Unknown =>
    unknown(slot, (instance) => {
      const found = again(instance)
      if (!isFunction(found))
        throw new TypeError(`a function of "${slot.path}" did not return the function it was used as`)
      return found(...settled(slot, instance, args))
    })
  // A function that is an Effect, like a Tag. These are the fields of a Lazy.
  const fields = { slot, made: undefined, effect: undefined, again }
  return Object.assign(Object.setPrototypeOf(callable, Unknown.prototype), fields) as Unknown
}

/**
 * Arguments for an instance. What another function of the service answered with while the child was down may turn out to be a
 * value, like a part of a statement; then it is that value which is meant.
 */
export const settled = (slot: Slot, instance: Instance, args: ReadonlyArray<unknown>): Array<unknown> => {
  const settle = (value: unknown): unknown => {
    if (!(value instanceof Lazy) || value.slot !== slot || value.made !== undefined) return value
    const found = value.again(instance)
    const kind = kindOf(found)
    return kind === "value" || kind === "object" ? found : value
  }
  return args.map((value) =>
    Array.isArray(value) && value.some((part) => part instanceof Lazy) ? value.map(settle) : settle(value)
  )
}

/** A Stream of whatever instance is there when it is run. Each pull is guarded: one may be in a region that hears nothing. */
export const stream = (slot: Slot, reach: Reach): AnyStream =>
  Stream.unwrap(
    Effect.map(
      Effect.suspend(() => (slot.current === undefined ? slot.awaitUp : Effect.succeed(slot.current))),
      (instance) => {
        const value = reach(instance)
        if (!isStream(value)) return Stream.succeed(value)
        if (isMarked(value)) return value
        return Stream.fromPull(
          // A guarded Effect has the types of the one it guards.
          Effect.map(Stream.toPull(value), (pull) => run(instance, pull) as typeof pull)
        )
      }
    )
  )

/** The Effect for what a call returned, if it needs a guard at all. */
export const effect = (slot: Slot, instance: Instance, result: AnyEffect, again: Reach): AnyEffect => {
  switch (kindOf(result)) {
    case "answer":
    case "value":
      return result
    case "custom":
      return isDetached(result) ? new Lazy(slot, instance, result, again) : custom(slot, instance, result, again)
    default:
      return new Lazy(slot, instance, result, again)
  }
}

type MakeCustom = (slot: Slot, made: Instance, real: AnyEffect, again: Reach) => AnyEffect

const customs = new WeakMap<object, MakeCustom>()

/** Guards an Effect of a class of its own (an SQL statement, a lazy cache read) without hiding what else it is. */
const custom: MakeCustom = (slot, made, real, again) => {
  const prototype: object = Object.getPrototypeOf(real)
  let make = customs.get(prototype)
  if (make === undefined) {
    make = customOf(prototype)
    customs.set(prototype, make)
  }
  return make(slot, made, real, again)
}

/**
 * Guards for one class of Effects. A guard is a small object, because one is made for each call; what it does not have itself
 * is found through a Proxy that is its prototype.
 */
const customOf = (prototype: object): MakeCustom => {
  class Guarded extends Effectable.Class<unknown, unknown, unknown> {
    readonly #slot: Slot
    readonly #made: Instance
    readonly #real: AnyEffect
    readonly #again: Reach

    constructor(slot: Slot, made: Instance, real: AnyEffect, again: Reach) {
      super()
      this.#slot = slot
      this.#made = made
      this.#real = real
      this.#again = again
    }

    #lazy(): Lazy {
      return new Lazy(this.#slot, this.#made, this.#real, this.#again)
    }

    commit(): AnyEffect {
      return this.#lazy().commit()
    }

    /** The effect's own iterator may have the answer at hand. If it asks the runtime instead, the guard does. */
    override [Symbol.iterator](): Effect.EffectGenerator<this> {
      const real = this.#real
      // What an iterator of an Effect yields is known to the runtime only.
      if (this.#slot.current !== this.#made) return this.#lazy()[Symbol.iterator]() as never
      const own = real[Symbol.iterator]() as Iterator<unknown, unknown>
      const guard = (asked: unknown): Lazy =>
        asked === real || !Effect.isEffect(asked) ? this.#lazy() : new Lazy(this.#slot, this.#made, asked, this.#again)
      return new Steps(own, guard) as never
    }

    static member(self: object, property: PropertyKey): unknown {
      if (!(#real in self)) return Reflect.get(prototype, property, self)
      const real = self.#real
      const value: unknown = Reflect.get(real, property, real)
      if (isFunction(value)) {
        // Methods may use private fields, which only the real object has.
        return (...args: Array<unknown>) =>
          self.#part(value.apply(real, args), (again) => {
            const method: unknown = Reflect.get(again, property, again)
            return isFunction(method) ? method.apply(again, args) : undefined
          })
      }
      return self.#part(value, (again) => Reflect.get(again, property, again))
    }

    /** What is got from the Effect belongs to the same instance. */
    #part(value: unknown, get: (of: object) => unknown): unknown {
      const again: Reach = (instance) => {
        const owner = instance === this.#made ? this.#real : this.#again(instance)
        return isObject(owner) ? get(owner) : undefined
      }
      if (Effect.isEffect(value)) return effect(this.#slot, this.#made, value, again)
      return isStream(value) && kindOf(value) === "stream"
        ? stream(this.#slot, (instance) => (instance === this.#made ? value : again(instance)))
        : value
    }

    static assign(self: object, property: PropertyKey, value: unknown): boolean {
      return #real in self && Reflect.set(self.#real, property, value)
    }
  }
  // Found before the Proxy: what the runtime looks at. `pipe` is the guard's own, so that it is the guard which is piped.
  const own: object = Guarded.prototype
  for (const source of [Effectable.CommitPrototype, Effectable.EffectPrototype]) {
    for (const property of Reflect.ownKeys(source)) {
      const keep = property === "_op" || (typeof property === "symbol" && property.description?.startsWith("effect/"))
      if (!keep || Object.hasOwn(own, property) || isEquality(property)) continue
      Object.defineProperty(own, property, { value: Reflect.get(source, property), configurable: true })
    }
  }
  Object.defineProperty(own, "pipe", {
    value(this: unknown) {
      // biome-ignore lint/complexity/noArguments: what `pipeArguments` asks for.
      return pipeArguments(this, arguments)
    }
  })
  Object.setPrototypeOf(
    own,
    new Proxy(
      {},
      {
        get: (_target, property, self: object) => Guarded.member(self, property),
        set: (_target, property, value, self: object) => Guarded.assign(self, property, value),
        has: (_target, property) => Reflect.has(prototype, property),
        getPrototypeOf: () => prototype
      }
    )
  )
  return (slot, made, real, again) => new Guarded(slot, made, real, again)
}

/** What a thing equals is said by its class. */
export const isEquality = (property: PropertyKey): boolean =>
  typeof property === "symbol" && (property.description === "effect/Equal" || property.description === "effect/Hash")

/** An iterator whose questions to the runtime are guarded. */
class Steps implements Iterator<unknown, unknown> {
  constructor(
    private readonly own: Iterator<unknown, unknown>,
    private readonly guard: (asked: unknown) => Lazy
  ) {}
  next(value?: unknown): IteratorResult<unknown, unknown> {
    const step = this.own.next(value as undefined)
    if (step.done === true || !(step.value instanceof YieldWrap)) return step
    return { done: false, value: new YieldWrap(this.guard(yieldWrapGet(step.value))) }
  }
}
