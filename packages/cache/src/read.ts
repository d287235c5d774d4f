/**
 * Reading, made cheap: effects that answer a hit where they stand.
 *
 * `yield* cache.get(key)` asks the effect for an iterator. These effects look into the map at the first `next`: a hit ends the iterator with the
 * value, and the generator goes on without a turn of the fiber's run loop. A miss hands the run loop the effect that does the rest.
 *
 * What the run loop does for every operation must not be lost with it, so each hit counts as one: when the fiber has used up what its scheduler
 * grants in one go, the effect goes the ordinary way and the fiber yields there. Outside of generators (`flatMap`, `forEach`, `runPromise`) the same
 * effect is an ordinary one.
 */
import { Effect, Effectable, type Fiber, Option, Utils } from "effect"
import { NotCached } from "./CacheError.js"
import type { Entry } from "./entry.js"
import type { Span } from "./lifetime.js"
import type { Service } from "./service.js"

type Running = Fiber.RuntimeFiber<unknown, unknown>

/** Where Effect keeps the fiber that is running: what `Fiber.getCurrentFiber` reads, without the Option around it. */
const global = globalThis as { readonly "effect/FiberCurrent"?: Running | null | undefined }

/** How many hits pass between two questions to the scheduler; a power of two. */
const ASKED_EVERY = 8

/**
 * `E` is what the cache's loads fail with, `X` what this read fails with.
 *
 * The effect is its own iterator. `yield*` asks for the iterator and for the first step in one go, so all that has to be remembered is that the next step
 * is the first one; any later one brings what the run loop answered.
 */
abstract class Read<K, V, E, A, X> extends Effectable.Class<A, X> {
  private first = true

  constructor(
    readonly service: Service<K, V, E>,
    readonly key: K
  ) {
    super()
  }

  /** What the effect answers when the entry is there. */
  abstract answer(entry: Entry<K, V>): A
  /** What it does when there is none, or none that may be used. */
  abstract miss(fiber: Running): Effect.Effect<A, X>

  hit(fiber: Running): Entry<K, V> | undefined {
    const state = this.service.state.current
    if (state._tag === "Closed" || this.service.isDirty(this.key, fiber)) return undefined
    const entry = state.use(this.key, this.service.now(fiber))
    if (entry !== undefined) state.counters.hits += 1
    return entry
  }

  commit(): Effect.Effect<A, X> {
    return Effect.withFiberRuntime((fiber) => {
      const entry = this.hit(fiber)
      if (entry !== undefined) return Effect.succeed(this.answer(entry))
      const state = this.service.state.current
      if (state._tag === "Closed") return Effect.die(state.error)
      state.counters.misses += 1
      return this.miss(fiber)
    })
  }

  override [Symbol.iterator](): Effect.EffectGenerator<Effect.Effect<A, X>> {
    this.first = true
    return this
  }

  next(answer?: unknown): IteratorResult<Utils.YieldWrap<Effect.Effect<A, X>>, A> {
    if (!this.first) return { done: true, value: answer as A } // the run loop sends back what the yielded effect succeeded with
    this.first = false
    const fiber = global["effect/FiberCurrent"]
    // Without a fiber there is nobody to count for: the run loop that this is handed to will know its fiber.
    if (fiber !== undefined && fiber !== null && grants(fiber)) {
      const entry = this.hit(fiber)
      if (entry !== undefined) return { done: true, value: this.answer(entry) }
    }
    return { done: false, value: new Utils.YieldWrap<Effect.Effect<A, X>>(this) }
  }
}

/** Counts an operation as the run loop does, and says whether the fiber may go on without a turn of it. */
const grants = (fiber: Running): boolean => {
  const counted = fiber as { currentOpCount: number } // the run loop's own field, which its public type only lets be read
  counted.currentOpCount += 1
  return counted.currentOpCount % ASKED_EVERY !== 0 || fiber.currentScheduler.shouldYield(fiber) === false
}

/** `getOption`: what is there. */
export class Peek<K, V, E> extends Read<K, V, E, Option.Option<V>, never> {
  answer(entry: Entry<K, V>): Option.Option<V> {
    return Option.some(entry.value)
  }

  miss(): Effect.Effect<Option.Option<V>> {
    return Effect.succeedNone
  }
}

/** `get`: what is there, or what `lookup` brings. */
export class Get<K, V, E> extends Read<K, V, E, Option.Option<V>, E> {
  answer(entry: Entry<K, V>): Option.Option<V> {
    return Option.some(entry.value)
  }

  miss(fiber: Running): Effect.Effect<Option.Option<V>, E> {
    return lookUp(this.service, this.key, fiber)
  }
}

/** `fetch`: as `get`, and a failure where there is nothing. */
export class Fetch<K, V, E> extends Read<K, V, E, V, E | NotCached> {
  answer(entry: Entry<K, V>): V {
    return entry.value
  }

  miss(fiber: Running): Effect.Effect<V, E | NotCached> {
    return Effect.flatMap(lookUp(this.service, this.key, fiber), orNotCached(this.service.settings.name, this.key))
  }
}

export const orNotCached =
  <K>(cache: string, key: K) =>
  <V>(found: Option.Option<V>): Effect.Effect<V, NotCached> =>
    Option.isSome(found) ? Effect.succeed(found.value) : Effect.fail(new NotCached({ cache, key }))

const lookUp = <K, V, E>(service: Service<K, V, E>, key: K, fiber: Running) => {
  const { lookup, span } = service.settings
  if (lookup === undefined) return Effect.succeedNone
  return service.load(fiber, key, lookup, () => span)
}

/** `getOrLoad`: what is there, or what the caller's effect brings. */
export class GetOrLoad<K, V, E> extends Read<K, V, E, V, E> {
  constructor(
    service: Service<K, V, E>,
    key: K,
    readonly effect: Effect.Effect<V, E>,
    readonly span: () => (value: V) => Span
  ) {
    super(service, key)
  }

  answer(entry: Entry<K, V>): V {
    return entry.value
  }

  miss(fiber: Running): Effect.Effect<V, E> {
    const effect = Effect.asSome(this.effect)
    const context = fiber.currentContext
    const load = this.service.load(fiber, this.key, () => effect, this.span(), context)
    // A `lookup` of the same key that was already under way may bring nothing: then it is this effect's turn.
    return Effect.flatMap(load, (found) => (Option.isSome(found) ? Effect.succeed(found.value) : this))
  }
}
