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
 * A *guarded* Effect dies with `InstanceDied` when its instance dies first, and waits for the child if it is run while the
 * child is down. Guarding has to be cheap and must not be noticed:
 *
 * - An Effect that is already an answer (an `Exit`) is passed through, one that needs no fiber (`sync`) is run in place.
 * - Everything else is run by a fiber of its own, started at once on the same stack: an Effect that never suspends is done
 *   before anybody waits. Only one that does suspend costs an entry in the instance's list of waiting calls. There is no race.
 * - What the Effect forks belongs to the caller, as it would without a handle (`Effect.transplant`), and FiberRefs it changes
 *   are changed for the caller.
 * - An Effect of a class of its own (a SQL statement, a lazy cache read) keeps its identity: methods, fields, and an iterator
 *   that may answer without the runtime.
 */
import * as Effect from "effect/Effect"
import * as Effectable from "effect/Effectable"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as FiberRef from "effect/FiberRef"
import * as Runtime from "effect/Runtime"
import * as Stream from "effect/Stream"
import { YieldWrap, yieldWrapGet } from "effect/Utils"
import type { Instance, Slot } from "./instance.js"
import * as Linking from "./linking.js"

type AnyEffect = Effect.Effect<unknown, unknown, unknown>
type AnyStream = Stream.Stream<unknown, unknown, unknown>

/** Reaches a value inside an instance. */
type Reach = (instance: Instance) => unknown

/** A handle for the service under `key` of whatever instance the slot holds; the value itself if no handle can carry it. */
export const make = (slot: Slot, key: string, sample: unknown): unknown =>
  isCarried(sample) || (isFunction(sample) && !isClass(sample))
    ? node(slot, nowhere, (instance) => instance.context.unsafeMap.get(key), sample)
    : sample

const nowhere: Reach = () => undefined

const isObject = (u: unknown): u is object => (typeof u === "object" && u !== null) || typeof u === "function"

const typeIds = /^~?(effect\/|@effect\/)/
const effectIds = new Set([
  "effect/Effect",
  "effect/Stream",
  "effect/Sink",
  "effect/Channel",
  "effect/Equal",
  "effect/Hash"
])

/** Whether a value is marked as a data type of Effect's: a Ref, an Option, a Scope. */
const isBranded = (value: object, allowed: ReadonlySet<string>): boolean => {
  for (let at: object | null = value; at !== null && at !== Object.prototype; at = Object.getPrototypeOf(at)) {
    for (const symbol of Object.getOwnPropertySymbols(at)) {
      const name = symbol.description ?? ""
      if (typeIds.test(name) && !allowed.has(name)) return true
    }
  }
  return false
}

const noneAllowed: ReadonlySet<string> = new Set()

/** Objects with members of their own to look through: not arrays, not built-in classes, not data types. */
const isCarried = (value: unknown): value is object =>
  typeof value === "object" &&
  value !== null &&
  Object.prototype.toString.call(value) === "[object Object]" &&
  !isBranded(value, noneAllowed)

const opOf = (effect: AnyEffect): unknown =>
  // The operation name is not in the public types; every Effect of version 3 has one, and it is only compared.
  (effect as unknown as { readonly _op?: unknown })._op

type EffectKind = "answer" | "sync" | "primitive" | "custom" | "data"

const kindOf = (effect: AnyEffect): EffectKind => {
  switch (opOf(effect)) {
    case "Success":
    case "Failure":
      return "answer"
    case "Sync":
      return "sync"
    case "Commit":
      return isBranded(effect, effectIds) ? "data" : "custom"
    case "OnSuccess":
    case "OnFailure":
    case "OnSuccessAndFailure":
    case "Iterator":
    case "Async":
    case "WithRuntime":
    case "UpdateRuntimeFlags":
    case "While":
    case "Yield":
      return "primitive"
    default:
      // Option, Either, Tag and the like are Effects, but nobody calls a method to run them.
      return "data"
  }
}

const isStream = (value: object): value is AnyStream => Stream.StreamTypeId in value && "channel" in value

const node = (slot: Slot, reachOwner: Reach, reach: Reach, sample: object): object => {
  const members = new Map<PropertyKey, unknown>()
  const latest = (): object => {
    const instance = slot.current ?? slot.last
    const value = instance === undefined ? sample : reach(instance)
    return isObject(value) ? value : sample
  }
  const member = (property: PropertyKey): unknown => {
    const known = members.get(property)
    if (known !== undefined) return known
    const real = latest()
    const value: unknown = Reflect.get(real, property, real)
    if (!isObject(value)) return value
    const reachMember: Reach = (instance) => {
      const owner = reach(instance)
      return isObject(owner) ? Reflect.get(owner, property, owner) : undefined
    }
    const made = carry(slot, reach, reachMember, value)
    if (made !== value) members.set(property, made)
    return made
  }
  // The target is empty, because a proxy may not answer differently from a frozen target.
  const target = typeof sample === "function" ? function () {} : {}
  const self = typeof sample === "function" ? method(slot, reachOwner, reach) : undefined
  return new Proxy(target, {
    get: (_target, property) => member(property),
    set: (_target, property, value) => Reflect.set(latest(), property, value),
    has: (_target, property) => Reflect.has(latest(), property),
    apply: (_target, _this, args) => self?.(...args),
    getPrototypeOf: () => Reflect.getPrototypeOf(latest()),
    ownKeys: () => Reflect.ownKeys(latest()).filter((key) => typeof sample !== "function" || key !== "prototype"),
    getOwnPropertyDescriptor: (proxied, property) => {
      const found = Reflect.getOwnPropertyDescriptor(latest(), property)
      if (found === undefined) return Reflect.getOwnPropertyDescriptor(proxied, property)
      return { configurable: true, enumerable: found.enumerable ?? false, writable: true, value: member(property) }
    }
  })
}

type AnyFunction = (...args: Array<unknown>) => unknown

const isFunction = (value: unknown): value is AnyFunction => typeof value === "function"

const isClass = (value: AnyFunction): boolean => /^class\b/.test(Function.prototype.toString.call(value))

const carry = (slot: Slot, reachOwner: Reach, reach: Reach, value: object): unknown => {
  if (isFunction(value)) {
    if (isClass(value)) return value
    const call = method(slot, reachOwner, reach)
    return Object.keys(value).length === 0 ? call : node(slot, reachOwner, reach, value)
  }
  if (Effect.isEffect(value)) {
    const kind = kindOf(value)
    return kind === "data" ? value : new Lazy(slot, undefined, undefined, reach)
  }
  if (isStream(value)) return stream(slot, reach)
  return isCarried(value) ? node(slot, nowhere, reach, value) : value
}

const method = (slot: Slot, reachOwner: Reach, reach: Reach): AnyFunction => {
  // What the function returned last tells what to return while the child is down.
  let shape: "effect" | "stream" | "value" | undefined
  return (...args) => {
    const again: Reach = (instance) => {
      const callee = reach(instance)
      if (typeof callee !== "function") {
        throw new TypeError(`a function of "${slot.path}" is not a function any more after a restart`)
      }
      return Reflect.apply(callee, reachOwner(instance), args)
    }
    const instance = slot.current
    if (instance === undefined) {
      if (shape === "stream") return stream(slot, again)
      if (shape === "value") throw slot.unavailable
      return shape === "effect" ? new Lazy(slot, undefined, undefined, again) : new Unknown(slot, again)
    }
    const result = again(instance)
    if (!isObject(result)) {
      shape = "value"
      return result
    }
    if (Effect.isEffect(result)) {
      const kind = kindOf(result)
      shape = kind === "data" ? "value" : "effect"
      switch (kind) {
        case "answer":
        case "data":
          return result
        case "custom":
          return custom(slot, instance, result, again)
        default:
          return new Lazy(slot, instance, result, again)
      }
    }
    if (isStream(result)) {
      shape = "stream"
      return stream(slot, (now) => (now === instance ? result : again(now)))
    }
    shape = "value"
    return result
  }
}

/** What a reached value means when it is run: an Effect runs guarded, anything else is the answer. */
const runReached = (instance: Instance, value: unknown): AnyEffect =>
  Effect.isEffect(value) && kindOf(value) !== "data" ? guarded(instance, value) : Effect.succeed(value)

const runOn = (slot: Slot, made: Instance | undefined, effect: AnyEffect | undefined, again: Reach): AnyEffect => {
  const instance = slot.current
  if (instance === undefined) return Effect.flatMap(slot.awaitUp, (next) => runReached(next, again(next)))
  return instance === made && effect !== undefined ? guarded(instance, effect) : runReached(instance, again(instance))
}

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
    return runOn(this.slot, this.made, this.effect, this.again)
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
const custom = (slot: Slot, made: Instance, effect: AnyEffect, again: Reach): AnyEffect => {
  const run = (): AnyEffect => runOn(slot, made, effect, again)
  const commit = new Lazy(slot, made, effect, again)
  const iterate = (): Iterator<unknown, unknown> => {
    // The effect's own iterator may have the answer at hand. If it asks the runtime instead, the guard does.
    if (slot.current !== made) return commit[Symbol.iterator]() as Iterator<unknown, unknown>
    const own: Iterator<unknown, unknown> = effect[Symbol.iterator]() as Iterator<unknown, unknown>
    return {
      next: (value) => {
        const step = own.next(value)
        return step.done === true || !(step.value instanceof YieldWrap)
          ? step
          : { done: false, value: new YieldWrap(guardYielded(yieldWrapGet(step.value))) }
      }
    }
  }
  const guardYielded = (yielded: unknown): AnyEffect =>
    yielded === effect || !Effect.isEffect(yielded) ? commit : new Lazy(slot, made, yielded, again)
  return new Proxy(effect, {
    get: (real, property, proxy) => {
      if (property === "commit") return run
      if (property === Symbol.iterator) return iterate
      const value: unknown = Reflect.get(real, property, real)
      if (typeof value !== "function") return value
      // `pipe` has to pipe the guard; other methods may use private fields, which only the real object has.
      return (...args: Array<unknown>) => Reflect.apply(value, property === "pipe" ? proxy : real, args)
    }
  })
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

/** Runs an Effect so that it cannot outwait its instance. */
const guarded = (instance: Instance, effect: AnyEffect): AnyEffect => {
  const kind = kindOf(effect)
  return kind === "answer" || kind === "sync"
    ? effect
    : Effect.transplant((graft) =>
        Effect.withFiberRuntime<unknown, unknown, unknown>((caller, status) => {
          if (instance.dead !== undefined) return Effect.die(instance.dead)
          const child = Runtime.runFork(
            Runtime.make({
              context: caller.getFiberRef(FiberRef.currentContext),
              fiberRefs: caller.getFiberRefs(),
              runtimeFlags: status.runtimeFlags
            }),
            // The caller's own context is the one that was just put into the runtime. The answer is the fiber's success even
            // if it is a failure: an ordinary typed error must not be logged as that of a fiber nobody waits for.
            graft(Effect.exit(effect)) as Effect.Effect<Exit.Exit<unknown, unknown>>,
            { updateRefs: Linking.startedByRefs(caller) }
          )
          const done = child.unsafePoll()
          if (done !== null) return Effect.zipRight(Fiber.inheritAll(child), Exit.flatten(done))
          return Effect.async<unknown, unknown>((resume) => {
            const forget = instance.onDeath((died) => {
              // Not awaited: whatever still runs there may never listen.
              child.unsafeInterruptAsFork(caller.id())
              resume(Effect.die(died))
            })
            child.addObserver((exit) => {
              forget()
              resume(Effect.zipRight(Fiber.inheritAll(child), Exit.flatten(exit)))
            })
            return Effect.async<void>((interrupted) => {
              forget()
              instance.onDeath(() => interrupted(Effect.void))
              child.addObserver(() => interrupted(Effect.void))
              child.unsafeInterruptAsFork(caller.id())
            })
          })
        })
      )
}
