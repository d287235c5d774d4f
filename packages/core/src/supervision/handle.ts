/**
 * Handles: what `yield* Db` returns inside and around a supervision tree. A handle stands for a service, not for one
 * instance of it, so it is still good after a restart.
 *
 * | member of the service | through the handle |
 * | --- | --- |
 * | Effect | the current instance's, looked up each time it is run |
 * | Stream | the same |
 * | function | called on the current instance with the right `this`; an Effect or Stream it returns is guarded |
 * | plain or class object | a handle again |
 * | anything else | the current instance's value, untouched: numbers, `Option`, `Ref`, `Queue`, ... |
 *
 * A *guarded* Effect (`guard.ts`) dies with `InstanceDied` when its instance dies first. Kept over a restart, it is asked of
 * the next instance when it is run again; run while the child is down, it waits. An Effect of a class of its own (an SQL
 * statement, a lazy cache read) keeps its identity: methods, fields, and an iterator that may answer without the runtime.
 */
import * as Effect from "effect/Effect"
import * as Effectable from "effect/Effectable"
import * as Stream from "effect/Stream"
import { YieldWrap, yieldWrapGet } from "effect/Utils"
import { type AnyEffect, isBranded, kindOf, run } from "./guard.js"
import type { Instance, Slot } from "./instance.js"

type AnyStream = Stream.Stream<unknown, unknown, unknown>

/** Reaches a value inside an instance. */
type Reach = (instance: Instance) => unknown

/** A handle for the service under `key` of whatever instance the slot holds; the value itself if no handle can carry it. */
export const make = (slot: Slot, key: string, sample: unknown): unknown =>
  isCarried(sample) || (isFunction(sample) && !isClass(sample))
    ? node(slot, (instance) => instance.context.unsafeMap.get(key), sample)
    : sample

const isObject = (u: unknown): u is object => (typeof u === "object" && u !== null) || typeof u === "function"

const noneAllowed: ReadonlySet<string> = new Set()

/** Objects with members of their own to look through: not arrays, not built-in classes, not data types. */
const isCarried = (value: unknown): value is object =>
  typeof value === "object" &&
  value !== null &&
  Object.prototype.toString.call(value) === "[object Object]" &&
  !isBranded(value, noneAllowed)

const isStream = (value: object): value is AnyStream => Stream.StreamTypeId in value && "channel" in value

const node = (slot: Slot, reach: Reach, sample: object): object => {
  const latest = (): object => {
    const instance = slot.current ?? slot.last
    const value = instance === undefined ? sample : reach(instance)
    return isObject(value) ? value : sample
  }
  return isFunction(sample) ? functionNode(slot, reach, latest) : objectNode(slot, reach, latest, sample)
}

/** A member of a service through its handle: made once if a handle can carry it, otherwise looked up each time. */
const memberOf = (slot: Slot, reach: Reach, latest: () => object) => {
  const members = new Map<PropertyKey, unknown>()
  return (property: PropertyKey): unknown => {
    const known = members.get(property)
    if (known !== undefined) return known
    const real = latest()
    const value: unknown = Reflect.get(real, property, real)
    if (!isObject(value)) return value
    const made = carry(slot, reach, property, value)
    if (made !== value) members.set(property, made)
    return made
  }
}

/** What a Proxy of a service answers about it. Its target is empty, because a proxy may not contradict a frozen target. */
const forwarding = (latest: () => object, member: (property: PropertyKey) => unknown): ProxyHandler<object> => ({
  get: (_target, property) => member(property),
  set: (_target, property, value) => Reflect.set(latest(), property, value),
  has: (_target, property) => Reflect.has(latest(), property),
  getPrototypeOf: () => Reflect.getPrototypeOf(latest())
})

/**
 * A handle for an object. Its carried members are ordinary properties, which the engine reads as fast as those of the service
 * itself; everything else, also what only a later instance has, is found through a Proxy that is its prototype.
 */
const objectNode = (slot: Slot, reach: Reach, latest: () => object, sample: object): object => {
  const member = memberOf(slot, reach, latest)
  /** Makes a property of what the handle carries, so that the next read does not come here. */
  const keep = (property: PropertyKey, enumerable: boolean): unknown => {
    const made = member(property)
    if (isObject(made) && (isFunction(made) || made instanceof Lazy)) {
      Object.defineProperty(self, property, { value: made, enumerable, configurable: true })
    }
    return made
  }
  const self: object = Object.create(
    new Proxy({}, { ...forwarding(latest, member), get: (_target, property) => keep(property, false) })
  )
  for (const property of Reflect.ownKeys(sample)) {
    const { enumerable = false, value } = Reflect.getOwnPropertyDescriptor(sample, property) ?? {}
    Object.defineProperty(self, property, {
      get: () => member(property),
      set: (to) => Reflect.set(latest(), property, to),
      enumerable,
      configurable: true
    })
    // Not for getters, which may do something, nor for objects, which may lead back here.
    if (isFunction(value) || Effect.isEffect(value)) keep(property, enumerable)
  }
  return self
}

/** A handle for a function, with its members. */
const functionNode = (slot: Slot, reach: Reach, latest: () => object): object => {
  const member = memberOf(slot, reach, latest)
  const call = method(slot, () => undefined, reach)
  return new Proxy(function () {}, {
    ...forwarding(latest, member),
    apply: (_target, _this, args) => call(...args),
    ownKeys: () =>
      Reflect.ownKeys(latest())
        .filter((key) => key !== "prototype")
        .concat("prototype"),
    getOwnPropertyDescriptor: (target, property) => {
      const found = Reflect.getOwnPropertyDescriptor(latest(), property)
      // The target's own `prototype` is not configurable, so it has to be answered as it is.
      if (found === undefined || property === "prototype") return Reflect.getOwnPropertyDescriptor(target, property)
      return { configurable: true, enumerable: found.enumerable ?? false, writable: true, value: member(property) }
    }
  })
}

type AnyFunction = (...args: Array<unknown>) => unknown

const isFunction = (value: unknown): value is AnyFunction => typeof value === "function"

const isClass = (value: AnyFunction): boolean => /^class\b/.test(Function.prototype.toString.call(value))

const carry = (slot: Slot, reachOwner: Reach, property: PropertyKey, value: object): unknown => {
  const reach: Reach = (instance) => {
    const owner = reachOwner(instance)
    return isObject(owner) ? Reflect.get(owner, property, owner) : undefined
  }
  if (isFunction(value)) {
    if (isClass(value)) return value
    // A function with members of its own is called without `this`, like the callable client it probably is.
    return Object.keys(value).length === 0 ? method(slot, reachOwner, reach) : node(slot, reach, value)
  }
  if (Effect.isEffect(value)) return kindOf(value) === "data" ? value : new Lazy(slot, undefined, undefined, reach)
  if (isStream(value)) return stream(slot, reach)
  return isCarried(value) ? node(slot, reach, value) : value
}

const method = (slot: Slot, reachOwner: Reach, reach: Reach): AnyFunction => {
  // What the function returned last tells what to return while the child is down.
  let shape: "effect" | "stream" | "value" | undefined
  // Looked up once for each instance: this is the hot path of every call.
  let at: Instance | undefined
  let owner: unknown
  let callee: AnyFunction | undefined
  const call = (instance: Instance, args: Array<unknown>): unknown => {
    if (instance !== at) {
      const found = reach(instance)
      if (!isFunction(found)) throw new TypeError(`a function of "${slot.path}" is not a function after a restart`)
      at = instance
      owner = reachOwner(instance)
      callee = found
    }
    return callee?.apply(owner, args)
  }
  return (...args) => {
    const instance = slot.current
    if (instance === undefined) {
      if (shape === "value") throw slot.unavailable
      const again: Reach = (now) => call(now, args)
      if (shape === "stream") return stream(slot, again)
      return shape === "effect" ? new Lazy(slot, undefined, undefined, again) : new Unknown(slot, again)
    }
    const result = call(instance, args)
    if (typeof result !== "object" || result === null) {
      shape = "value"
      return result
    }
    if (Effect.isEffect(result)) {
      const kind = kindOf(result)
      shape = kind === "data" ? "value" : "effect"
      if (kind === "answer" || kind === "data") return result
      const lazy = new Lazy(slot, instance, result, (now) => call(now, args))
      return kind === "custom" ? new Proxy(result, new Custom(lazy)) : lazy
    }
    if (isStream(result)) {
      shape = "stream"
      return stream(slot, (now) => (now === instance ? result : call(now, args)))
    }
    shape = "value"
    return result
  }
}

/** What a reached value means when it is run: an Effect runs guarded, anything else is the answer. */
const runReached = (instance: Instance, value: unknown): AnyEffect =>
  Effect.isEffect(value) && kindOf(value) !== "data" ? run(instance, value) : Effect.succeed(value)

/** An Effect that finds its instance when it is run: kept over a restart, it is asked of the next instance. */
class Lazy extends Effectable.Class<unknown, unknown, unknown> {
  constructor(
    readonly slot: Slot,
    readonly made: Instance | undefined,
    readonly effect: AnyEffect | undefined,
    readonly again: Reach
  ) {
    super()
  }
  commit(): AnyEffect {
    const { effect, made, slot } = this
    const instance = slot.current
    if (instance === undefined) return Effect.flatMap(slot.awaitUp, (next) => runReached(next, this.again(next)))
    return instance === made && effect !== undefined
      ? run(instance, effect)
      : runReached(instance, this.again(instance))
  }
}

/**
 * The result of a function that was never called before and is called while the child is down: it may be used as an Effect
 * or as a Stream. Used as a value it throws, since a value cannot wait.
 */
class Unknown extends Lazy {
  constructor(slot: Slot, again: Reach) {
    super(slot, undefined, undefined, again)
  }
  get channel(): unknown {
    return Stream.toChannel(stream(this.slot, this.again))
  }
  [Symbol.toPrimitive](): never {
    throw this.slot.unavailable
  }
}

/** Guards an Effect of a class of its own without hiding what else it is. */
class Custom implements ProxyHandler<AnyEffect> {
  constructor(readonly lazy: Lazy) {}

  get(real: AnyEffect, property: PropertyKey, proxy: unknown): unknown {
    if (property === "commit") return () => this.lazy.commit()
    if (property === Symbol.iterator) return () => this.iterator(real)
    const value: unknown = Reflect.get(real, property, real)
    if (!isFunction(value)) return value
    // `pipe` has to pipe the guard; other methods may use private fields, which only the real object has.
    return (...args: Array<unknown>) => value.apply(property === "pipe" ? proxy : real, args)
  }

  /** The effect's own iterator may have the answer at hand. If it asks the runtime instead, the guard does. */
  private iterator(real: AnyEffect): Iterator<unknown, unknown> {
    const { lazy } = this
    const iterate = (effect: AnyEffect) => effect[Symbol.iterator]() as Iterator<unknown, unknown>
    if (lazy.slot.current !== lazy.made) return iterate(lazy)
    const own = iterate(real)
    return {
      next: (value) => {
        const step = own.next(value)
        if (step.done === true || !(step.value instanceof YieldWrap)) return step
        const asked: unknown = yieldWrapGet(step.value)
        const guarded =
          asked === real || !Effect.isEffect(asked) ? lazy : new Lazy(lazy.slot, lazy.made, asked, lazy.again)
        return { done: false, value: new YieldWrap(guarded) }
      }
    }
  }
}

const stream = (slot: Slot, reach: Reach): AnyStream =>
  Stream.unwrap(
    Effect.map(
      Effect.suspend(() => (slot.current === undefined ? slot.awaitUp : Effect.succeed(slot.current))),
      (instance) => {
        const value = reach(instance)
        if (!isObject(value) || !isStream(value)) return Stream.succeed(value)
        return Stream.interruptWhen(
          value,
          Effect.async<never>((resume) => {
            const forget = instance.onDeath((died) => resume(Effect.die(died)))
            return Effect.sync(forget)
          })
        )
      }
    )
  )
