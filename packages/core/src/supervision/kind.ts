/**
 * What kind of thing a value is to a handle: what it can stand in for, and what it has to leave alone.
 *
 * Data types of Effect's (`Ref`, `Queue`, `Option`, ...) are left alone: their operations are functions of modules that look
 * into them. They are known by their TypeIds, which are listed here. Any other TypeId marks a service (`KeyValueStore`) or an
 * ability (`Equal`, `Pipeable`), and says nothing against carrying its owner.
 */
import * as Channel from "effect/Channel"
import * as Effect from "effect/Effect"
import * as Sink from "effect/Sink"
import * as Stream from "effect/Stream"
import { real } from "./lineage.js"
import { operationOf, primitive } from "./steps.js"

export type AnyEffect = Effect.Effect<unknown, unknown, unknown>
export type AnyStream = Stream.Stream<unknown, unknown, unknown>
export type AnyFunction = (...args: Array<unknown>) => unknown

/**
 * - `answer`, `sync`, `primitive`: an Effect of the runtime's own, by what running it takes
 * - `custom`: an Effect of a class of its own
 * - `stream`, `function`, `object`: what they say
 * - `value`: everything else, which no handle can carry
 */
export type Kind = "answer" | "sync" | "primitive" | "custom" | "stream" | "function" | "object" | "value"

const dataTypes: ReadonlySet<string> = new Set(
  [
    "BigDecimal Cause Chunk Config ConfigError Context Cron DateTime DateTime/TimeZone Deferred Differ Duration",
    "Either ExecutionPlan Fiber FiberHandle FiberId FiberMap FiberRef FiberRefs FiberSet GroupBy HashMap HashSet KeyedPool",
    "Layer LayerMap List Logger Mailbox Mailbox/ReadonlyMailbox ManagedRuntime Metric Micro MutableHashMap MutableHashSet",
    "MutableList MutableQueue MutableRef Option Pool PubSub QueueDequeue QueueEnqueue RcMap RcRef RedBlackTree Redacted",
    "Ref Ref/SynchronizedRef Request RequestResolver Resource STM Schedule ScheduleDriver Schema Scope ScopedRef Secret",
    "SortedMap SortedSet SubscriptionRef Supervisor TArray TDeferred TMap TPriorityQueue TPubSub TQueue/TDequeue",
    "TQueue/TEnqueue TRandom TReentrantLock TRef TSemaphore TSet TSubscriptionRef Take Trie"
  ]
    .join(" ")
    .split(" ")
    .map((name) => `effect/${name}`)
)

const isMarked = (value: object): boolean =>
  Object.getOwnPropertySymbols(value).some((symbol) => dataTypes.has(symbol.description ?? ""))

const isMarkedAnywhere = (value: object): boolean => {
  for (let at: object | null = value; at !== null && at !== Object.prototype; at = Object.getPrototypeOf(at)) {
    if (isMarked(at)) return true
  }
  return false
}

/** Whether the instances of a class are data, by the prototype of the class. All of them have the same marks. */
const classes = new WeakMap<object, boolean>()

/** Asked for each result of each call, so it is remembered. */
const isData = (value: object): boolean => {
  const prototype: object | null = Object.getPrototypeOf(value)
  if (prototype === null || prototype === Object.prototype) return isMarked(value)
  const known = classes.get(prototype)
  if (known !== undefined) return known
  const data = isMarkedAnywhere(value)
  if (Object.hasOwn(prototype, "constructor")) classes.set(prototype, data)
  return data
}

export const isObject = (u: unknown): u is object => (typeof u === "object" && u !== null) || typeof u === "function"

export const isFunction = (value: unknown): value is AnyFunction => typeof value === "function"

export const isStream = (value: unknown): value is AnyStream =>
  typeof value === "object" && value !== null && Stream.StreamTypeId in value && "channel" in value

/** Whether something may answer to any name, by the platform's own word; where it has none, by whether it answers to this one. */
export const isProxy: (value: object) => boolean = (() => {
  const { process } = globalThis as {
    readonly process?: { readonly getBuiltinModule?: (name: string) => { readonly types?: { isProxy?: unknown } } }
  }
  const known = process?.getBuiltinModule?.("node:util")?.types?.isProxy
  if (typeof known === "function") return known as (value: object) => boolean // what it is documented to be
  return (value) => (value as { readonly [unlikely]?: unknown })[unlikely] !== undefined
})()

const unlikely = "@effecto/core/supervision/anyName"

/** Classes, of the language's own and old style as well: made to be constructed, and compared with. */
const isClass = (given: AnyFunction): boolean => {
  // A handle for a function looks like a native one.
  const value = real(given)
  // Not what it answers when it is asked, for that may be anything.
  const { value: prototype, writable } = Reflect.getOwnPropertyDescriptor(value, "prototype") ?? {}
  if (!isObject(prototype)) return false
  const source = Function.prototype.toString.call(value)
  // A Proxy looks like a native function; that of one which is no class has a prototype that can be replaced.
  if (/^class\b/.test(source) || (writable === false && source.includes("[native code]"))) return true
  return Object.getPrototypeOf(prototype) === Object.prototype && Reflect.ownKeys(prototype).length > 1
}

const effectKindOf = (effect: AnyEffect): Kind => {
  switch (operationOf(primitive(effect))) {
    case "Success":
    case "Failure":
      return "answer"
    case "Sync":
      return "sync"
    case "Commit":
      return isData(effect) || effect instanceof Error ? "value" : "custom"
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
      return "value"
  }
}

export const kindOf = (value: unknown): Kind => {
  if (!isObject(value)) return "value"
  if (Effect.isEffect(value)) return effectKindOf(value)
  if (isFunction(value)) return isClass(value) ? "value" : "function"
  if (isStream(value)) return isData(value) ? "value" : "stream"
  // Every Effect has these marks, too; what has one and is no Effect is a Sink or a Channel.
  if (Channel.ChannelTypeId in value || Sink.SinkTypeId in value) return "value"
  // Not arrays and not built-in classes, whose methods need the object itself.
  return Object.prototype.toString.call(value) === "[object Object]" && !isData(value) ? "object" : "value"
}
