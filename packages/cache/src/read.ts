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
import { Effect, Effectable, Fiber, Option, Utils } from "effect"
import { NotCached } from "./CacheError.js"
import type { Entry } from "./entry.js"
import type { Span } from "./lifetime.js"
import type { Service } from "./service.js"

/** What a hit needs of the running fiber. The count is the run loop's own; its public type only lets it be read. */
type Running = Fiber.RuntimeFiber<unknown, unknown> & { currentOpCount: number }

/** `E` is what the cache's loads fail with, `X` what this read fails with. */
abstract class Read<K, V, E, A, X> extends Effectable.Class<A, X> {
  constructor(
    readonly service: Service<K, V, E>,
    readonly key: K
  ) {
    super()
  }

  /** What the effect answers when the entry is there. */
  abstract answer(entry: Entry<K, V>): A
  /** What it does when there is none, or none that may be used. */
  abstract miss(fiber: Fiber.RuntimeFiber<unknown, unknown>): Effect.Effect<A, X>
  hit(fiber: Fiber.RuntimeFiber<unknown, unknown>): Entry<K, V> | undefined {
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
    return new Reading(this)
  }
}

/** One `yield*` of a read. */
class Reading<K, V, E, A, X> implements Effect.EffectGenerator<Effect.Effect<A, X>> {
  private asked = false

  constructor(private readonly read: Read<K, V, E, A, X>) {}

  next(value?: unknown): IteratorResult<Utils.YieldWrap<Effect.Effect<A, X>>, A> {
    if (this.asked) return { done: true, value: value as A } // the run loop sends back what the yielded effect succeeded with
    this.asked = true
    const fiber = Option.getOrUndefined(Fiber.getCurrentFiber()) as Running | undefined // every fiber counts in that field
    if (fiber !== undefined) {
      fiber.currentOpCount += 1
      if (fiber.currentScheduler.shouldYield(fiber) === false) {
        const entry = this.read.hit(fiber)
        if (entry !== undefined) return { done: true, value: this.read.answer(entry) }
      }
    }
    return { done: false, value: new Utils.YieldWrap<Effect.Effect<A, X>>(this.read) }
  }
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

  miss(fiber: Fiber.RuntimeFiber<unknown, unknown>): Effect.Effect<Option.Option<V>, E> {
    return lookUp(this.service, this.key, fiber)
  }
}

/** `fetch`: as `get`, and a failure where there is nothing. */
export class Fetch<K, V, E> extends Read<K, V, E, V, E | NotCached> {
  answer(entry: Entry<K, V>): V {
    return entry.value
  }

  miss(fiber: Fiber.RuntimeFiber<unknown, unknown>): Effect.Effect<V, E | NotCached> {
    return Effect.flatMap(lookUp(this.service, this.key, fiber), orNotCached(this.service.settings.name, this.key))
  }
}

export const orNotCached =
  <K>(cache: string, key: K) =>
  <V>(found: Option.Option<V>): Effect.Effect<V, NotCached> =>
    Option.isSome(found) ? Effect.succeed(found.value) : Effect.fail(new NotCached({ cache, key }))

const lookUp = <K, V, E>(service: Service<K, V, E>, key: K, fiber: Fiber.RuntimeFiber<unknown, unknown>) => {
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

  miss(fiber: Fiber.RuntimeFiber<unknown, unknown>): Effect.Effect<V, E> {
    const effect = Effect.asSome(this.effect)
    const context = fiber.currentContext
    const load = this.service.load(fiber, this.key, () => effect, this.span(), context)
    // A `lookup` of the same key that was already under way may bring nothing: then it is this effect's turn.
    return Effect.flatMap(load, (found) => (Option.isSome(found) ? Effect.succeed(found.value) : this))
  }
}
