/**
 * Handles: what `yield* Db` returns inside and around a supervision tree. A handle stands for a service, not for one
 * instance of it, so it is still good after a restart.
 *
 * | service, or member of it | through the handle |
 * | --- | --- |
 * | Effect | the current instance's, looked up each time it is run |
 * | Stream | the same; each of its pulls is guarded |
 * | function | called on the current instance with the right `this`; an Effect or Stream it returns is guarded, a function it returns is a handle again |
 * | success, returned by a function | an equal one, which a generator takes at once (`success.ts`); itself, if the first that was returned had members of its own |
 * | plain or class object | a handle again; of a getter that makes another one each time, another handle each time |
 * | anything else | as a member: the current instance's value, untouched; as a service: the first instance's (a warning says so) |
 *
 * Anything else is numbers, arrays, `Map`s, classes, and data types of Effect's (`Option`, `Ref`, `Queue`, ...): see `kind.ts`.
 *
 * A *guarded* Effect (`guard.ts`) dies with `InstanceDied` when its instance dies first. Kept over a restart, it is asked of
 * the next instance when it is run again; run while the child is down, it waits. An Effect of a class of its own (an SQL
 * statement, a lazy cache read) keeps its identity: methods, fields, and an iterator that may answer without the runtime.
 *
 * Called while the child is down, a function answers with what it has answered with before: an Effect, a Stream or a function
 * that waits; for a value, it throws. If it was never called before, the answer can be used as any of the three.
 *
 * An Effect that is marked with `Supervised.detach` is not guarded: it is the caller's own work, and goes on.
 *
 * Not protected: an object returned by a function (`transaction()`, a row) belongs to its instance, and so do its methods. A
 * function that returns a value, called for the first time while the child is down, answers with something truthy.
 */
import { pipeArguments } from "effect/Pipeable"
import { effect, isEquality, Lazy, member, type Reach, stream, unknown } from "./answer.js"
import { Binding, isOrdinary } from "./binding.js"
import type { Instance, Slot } from "./instance.js"
import { type AnyEffect, type AnyFunction, isFunction, isObject, isProxy, type Kind, kindOf } from "./kind.js"
import { Standing, StandsFor } from "./lineage.js"
import { OriginTypeId, takingOf } from "./origin.js"
import { type Memo, type Reached, reading } from "./reading.js"
import { isEffect, isReturned, isStream, isValue, Shape } from "./shape.js"
import type { Primitive } from "./steps.js"

/** Whether a handle can carry a service. */
export const carries = (service: unknown): boolean => kindOf(service) !== "value"

/**
 * A handle for the service under `key` of whatever instance the slot holds; the value itself if no handle can carry it.
 *
 * `onRead` is called when the handle is used in any way, once for each instance that it reaches: it costs nothing after that,
 * for a handle has to notice another instance anyway.
 */
export const make = (slot: Slot, key: string, sample: unknown, onRead?: () => void): unknown => {
  const at: Reached = { instance: undefined, service: isObject(sample) ? sample : slot }
  let reached: Instance | undefined
  let service: unknown
  const reach: Reach = (instance) => {
    if (instance !== reached) {
      reached = instance
      service = instance.context.unsafeMap.get(key)
      if (isObject(service)) {
        at.instance = instance
        at.service = service
      }
      onRead?.()
    }
    return service
  }
  const peek: Reach = (instance) => instance.context.unsafeMap.get(key)
  return carry(slot, reach, sample, kindOf(sample), new Binding(slot, reach), new Shape(), peek, at)
}

const carry = (
  slot: Slot,
  reach: Reach,
  value: unknown,
  kind: Kind,
  binding: Binding,
  shape: Shape,
  peek = reach,
  at?: Reached
): unknown => {
  if (!isObject(value)) return value
  switch (kind) {
    case "function":
      return isBare(value) ? method(slot, binding, shape) : functionNode(slot, reach, value, binding, shape, peek)
    case "object":
    case "custom":
      return objectNode(slot, reach, value, kind, peek, at)
    case "stream":
      return stream(slot, reach)
    case "answer":
    case "sync":
    case "primitive":
      return member(slot, reach)
    case "value":
      return value
  }
}

/**
 * Whether a function has no members, of its own or of a class of functions, and can have none that are made when they are asked
 * for.
 */
const isBare = (value: object): boolean =>
  Object.keys(value).length === 0 && ordinary.has(Object.getPrototypeOf(value)) && !isProxy(value)

/** What functions inherit from that have no members. */
const ordinary: ReadonlySet<object> = new Set(
  [() => {}, async () => {}, function* () {}, async function* () {}].map((each): object => Object.getPrototypeOf(each))
)

/** The object that answers for its place: of the current instance, or of the last one while the child is down. */
const latestOf = (slot: Slot, reach: Reach, sample: object) => (): object => {
  const instance = slot.last
  const value = instance === undefined ? sample : reach(instance)
  return isObject(value) ? value : sample
}

/** A member of a service, through a handle. */
interface Member {
  readonly read: () => unknown
  /** It is about to be another one. */
  readonly replaced: () => void
}

/** What a handle for a member has stood for on an instance, where that is told by nothing else. */
interface Pin {
  instance: Instance | undefined
  value: unknown
  /** For the first use only. */
  readonly once: boolean
}

/** What no member is. */
const unseen = {}

/**
 * A member of a service. What was made for it is good for as long as the real one is of the same kind. There are two exceptions, in
 * which a handle is pinned to what was read, for as long as the instance lives:
 *
 * - What a getter has answered with: asked again it would make another one, and two that were read are not the same one. An Effect
 *   that is kept is looked up at each run but the first.
 * - What is replaced through the handle: the new one may well call the old one, and would call itself.
 */
const memberOf = (
  slot: Slot,
  reachOwner: Reach,
  latest: () => object,
  property: PropertyKey,
  at: Reached | undefined
): Member => {
  const again: Reach = (instance) => {
    const owner = reachOwner(instance)
    return isObject(owner) ? owner[property as never] : undefined
  }
  const memo: Memo = { seen: unseen, made: undefined }
  let binding: Binding | undefined
  let kind: Kind = "value"
  let wasBare = false
  let shape = new Shape()
  let pin: Pin | undefined
  const make = (value: object, held: boolean): unknown => {
    const own: Pin = { instance: held ? undefined : slot.last, value, once: !held && isRun(kind) }
    const reach: Reach = (instance) => {
      if (instance !== own.instance) return again(instance)
      if (own.once) own.instance = undefined
      return own.value
    }
    binding = new Binding(slot, reach, reachOwner)
    pin = held ? own : undefined
    return carry(slot, reach, value, kind, binding, shape)
  }
  const anew = (value: unknown): unknown => {
    if (!isObject(value)) return value
    if (binding !== undefined) binding.instance = undefined
    const now = kindOf(value)
    const bare = now === "function" && isBare(value)
    const held = isHeld(latest(), property, value)
    const isSame = now === kind && bare === wasBare && now !== "value"
    if (now !== kind) shape = new Shape()
    kind = now
    wasBare = bare
    if (!(isSame && held && pin !== undefined)) memo.made = make(value, held)
    memo.seen = value
    return memo.made
  }
  const replaced = (): void => {
    const instance = slot.last
    if (pin === undefined || instance === undefined) return
    pin.instance = instance
    pin.value = again(instance)
    pin = undefined
    memo.seen = unseen
  }
  return { read: reading(slot, at, latest, property, memo, anew), replaced }
}

/** Whether an object has a member as a value of its own or of its class, which is the same one whenever it is read. */
const isHeld = (owner: object, property: PropertyKey, value: unknown): boolean => {
  for (let at: object | null = owner; at !== null; at = Reflect.getPrototypeOf(at)) {
    const found = Reflect.getOwnPropertyDescriptor(at, property)
    if (found !== undefined) return found.value === value
  }
  return false
}

/** Whether a member is used by being run. */
const isRun = (kind: Kind): boolean => kind !== "function" && kind !== "object" && kind !== "custom"

/**
 * How many members a handle remembers that its service did not have as properties at first: of a dictionary there may be ever more.
 */
const remembered = 1024

type Special = (property: PropertyKey, value: unknown) => AnyFunction | undefined

const membersOf = (slot: Slot, reach: Reach, peek: Reach, sample: object, at?: Reached) => {
  const members = new Map<PropertyKey, Member>()
  const latest = latestOf(slot, reach, sample)
  const seen = latestOf(slot, peek, sample)
  const member = (property: PropertyKey): Member => {
    let member = members.get(property)
    if (member === undefined) {
      // A name that the service has not may be one of any number.
      const known = at !== undefined && property in sample ? at : undefined
      member = isEquality(property)
        ? memberOf(slot, peek, seen, property, undefined)
        : memberOf(slot, reach, latest, property, known)
      for (const oldest of members.keys()) {
        if (members.size < remembered) break
        members.delete(oldest)
      }
      members.set(property, member)
    }
    return member
  }
  const assign = (property: PropertyKey, value: unknown): boolean => {
    members.get(property)?.replaced()
    return Reflect.set(seen(), property, value)
  }
  return { read: (property: PropertyKey) => member(property).read, assign }
}

/** What a Proxy of a service answers about it. Its target is empty, because a proxy may not contradict a frozen target. */
const forwarding = (
  latest: () => object,
  assign: (property: PropertyKey, value: unknown) => boolean
): ProxyHandler<object> => ({
  set: (_target, property, value) => assign(property, value),
  has: (_target, property) => Reflect.has(latest(), property),
  getPrototypeOf: () => Reflect.getPrototypeOf(latest()),
  // Refused rather than done to one instance only, or to the handle, where the service would not know.
  defineProperty: () => false,
  deleteProperty: () => false,
  preventExtensions: () => false
})

/**
 * A handle for an object. The members it has at first are ordinary properties, which the engine reads nearly as fast as those
 * of the service itself; everything else, also what only a later instance has, is found through a Proxy that is its
 * prototype. It is sealed: a member can be assigned, but not deleted or redefined.
 */
const objectNode = (
  slot: Slot,
  reach: Reach,
  sample: object,
  kind: "object" | "custom",
  peek: Reach,
  at?: Reached
): object => {
  // What it is and has may be asked without reading it.
  const latest = latestOf(slot, peek, sample)
  const { assign, read: member } = membersOf(slot, reach, peek, sample, at)
  const lazy = kind === "custom" ? new Lazy(slot, undefined, undefined, reach) : undefined
  const commit = (): unknown => lazy?.commit()
  const iterator = (): unknown => lazy?.[Symbol.iterator]()
  // What the runtime and `pipe` take has to be the handle, and not what it stands for now.
  const pipe = (...steps: Array<unknown>): unknown => pipeArguments(self, steps as unknown as IArguments)
  const special: Special = (property, value) => {
    if (!isFunction(value)) return undefined
    if (property === "pipe") return pipe
    if (lazy === undefined) return undefined
    return property === "commit" ? commit : property === Symbol.iterator ? iterator : undefined
  }
  const read = (property: PropertyKey): unknown => {
    // To the run loop as well, whatever the Effect behind it is to that.
    if (property === "_op" && lazy !== undefined) return "Commit"
    const value = member(property)()
    return special(property, value) ?? value
  }
  const self: object = Object.create(
    new Proxy(
      {},
      {
        ...forwarding(latest, assign),
        get: (_target, property, asked: unknown) => {
          if (property !== StandsFor) return read(property)
          // What is made of a handle, and has members of its own, is another service.
          return asked === self ? new Standing(slot, latest()) : undefined
        }
      }
    )
  )
  for (const property of Reflect.ownKeys(sample)) {
    const { enumerable = false, value } = Reflect.getOwnPropertyDescriptor(sample, property) ?? {}
    Object.defineProperty(self, property, {
      get: property !== "_op" && special(property, value) === undefined ? member(property) : () => read(property),
      set: (to) => assign(property, to),
      enumerable
    })
  }
  return Object.preventExtensions(self)
}

/** A handle for a function, with its members. */
const functionNode = (
  slot: Slot,
  reach: Reach,
  sample: object,
  binding: Binding,
  shape: Shape,
  peek = reach
): object => {
  const latest = latestOf(slot, peek, sample)
  const { assign, read: member } = membersOf(slot, reach, peek, sample)
  const call = method(slot, binding, shape)
  const self: object = new Proxy(function () {}, {
    ...forwarding(latest, assign),
    // The origin of a call is for what answers it, and not for a handle in between.
    get: (_target, property, asked: unknown) => {
      if (property === StandsFor) return asked === self ? new Standing(slot, latest()) : undefined
      return property === OriginTypeId ? undefined : member(property)()
    },
    apply: (_target, _this, args) => call(...args),
    construct: (_target, args) => Reflect.construct(call, args),
    ownKeys: () =>
      Reflect.ownKeys(latest())
        .filter((key) => key !== "prototype")
        .concat("prototype"),
    getOwnPropertyDescriptor: (target, property) => {
      const found = Reflect.getOwnPropertyDescriptor(latest(), property)
      // The target's own `prototype` is not configurable, so it has to be answered as it is.
      if (found === undefined || property === "prototype") return Reflect.getOwnPropertyDescriptor(target, property)
      return { configurable: true, enumerable: found.enumerable ?? false, writable: true, value: member(property)() }
    }
  })
  return self
}

const areOrdinary = (first: unknown, second: unknown, third: unknown): boolean =>
  isOrdinary(first) && isOrdinary(second) && isOrdinary(third)

const method = (slot: Slot, binding: Binding, shape: Shape): AnyFunction => {
  /** What was returned, as it may be given to the caller. */
  const carried = (instance: Instance, result: unknown, shaped: Shape, again: Reach): unknown => {
    const kind = kindOf(result)
    switch (kind) {
      case "value":
      case "object":
        shaped.seen |= isValue
        return result
      case "stream":
        shaped.seen |= isStream
        return stream(slot, (now) => (now === instance ? result : again(now)))
      case "function":
        shaped.seen |= isReturned
        return returned(slot, shaped.result, instance, result as object, again)
      case "answer":
        return shaped.answer(result as Primitive)
      default:
        shaped.seen |= isEffect
        return effect(slot, instance, result as AnyEffect, again)
    }
  }
  // Functions of their own, for what they capture would be allocated for each call of the one below.
  const once = (instance: Instance, result: unknown, args: ReadonlyArray<unknown>): unknown =>
    carried(instance, result, shape, (now) => binding.call(now, args))
  /** The same for what the shortest way has got, which makes no array of arguments before it is needed. */
  const got = (
    instance: Instance,
    result: object,
    count: number,
    first: unknown,
    second: unknown,
    third: unknown
  ): unknown => {
    if (count <= 1) {
      const takes = takingOf(result)
      if (takes !== undefined) {
        const answering = takes.call(result, binding.originOf(instance, count === 0 ? 0 : 1), first)
        if (answering !== undefined) {
          shape.seen |= isEffect
          return answering
        }
      }
    }
    return once(
      instance,
      result,
      count === 1 ? [first] : count === 0 ? [] : count === 2 ? [first, second] : [first, second, third]
    )
  }
  const anyhow = (...args: Array<unknown>): unknown => {
    const instance = slot.current
    const shaped = shape.of(args)
    if (instance === undefined) return whileDown(slot, shaped, (now) => binding.call(now, args))
    return carried(instance, binding.call(instance, args), shaped, (now) => binding.call(now, args))
  }
  const construct = (...args: Array<unknown>): unknown => {
    const instance = slot.current
    if (instance === undefined) throw slot.unavailable
    if (instance !== binding.instance) binding.bind(instance)
    return Reflect.construct(binding.real, args)
  }
  return function (first, second, third) {
    const instance = slot.current
    // biome-ignore lint/complexity/noArguments: its length is asked for, and nothing is made.
    const count = arguments.length
    // What most calls are: with three arguments at most. No array of arguments is made for them: it would take as long as the rest.
    if (instance === undefined || count > 3 || new.target !== undefined || !areOrdinary(first, second, third)) {
      const slow = new.target === undefined ? anyhow : construct
      // biome-ignore lint/complexity/noArguments: handed on without being made.
      return slow.apply(undefined, arguments as unknown as Array<unknown>)
    }
    if (instance !== binding.instance) binding.bind(instance)
    const { callee, origin, owner } = binding
    let result: unknown
    if (count === 1) {
      if (origin !== undefined && binding.take !== undefined) {
        const answering = binding.take(origin, first)
        if (answering !== undefined) {
          shape.seen |= isEffect
          return answering
        }
      }
      result = callee.call(owner, first)
    } else if (count === 0) result = callee.call(owner)
    else if (count === 2) result = callee.call(owner, first, second)
    else result = callee.call(owner, first, second, third)
    if (!isObject(result)) {
      shape.seen |= isValue
      return result
    }
    if ((result as Partial<Primitive>)._op === "Success") return shape.answer(result as Primitive)
    return got(instance, result, count, first, second, third)
  }
}

/** A function that a function returned is bound to an instance: for another one the outer function is called again. */
const returned = (
  slot: Slot,
  shape: Shape,
  made: Instance | undefined,
  result: object | undefined,
  again: Reach
): object => {
  let at = made
  let found: unknown = result
  const reach: Reach = (instance) => {
    if (instance !== at) {
      found = again(instance)
      at = instance
    }
    return found
  }
  const binding = new Binding(slot, reach)
  return result === undefined || isBare(result)
    ? method(slot, binding, shape)
    : functionNode(slot, reach, result, binding, shape)
}

const whileDown = (slot: Slot, shape: Shape, again: Reach): unknown => {
  switch (shape.seen) {
    case isEffect:
      return new Lazy(slot, undefined, undefined, again)
    case isStream:
      return stream(slot, again)
    case isReturned:
      return returned(slot, shape.result, undefined, undefined, again)
  }
  // A value cannot wait, and a function that never did answer may have been meant to answer with one.
  if ((shape.seen & isValue) !== 0 || slot.isOver) throw slot.unavailable
  return unknown(slot, again)
}
