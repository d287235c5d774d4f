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
import * as Supervised from "@effecto/core/Supervised"
import { Effect, Effectable, Exit, type Fiber, Option, Utils } from "effect"
import { NotCached } from "./CacheError.js"
import type { Span } from "./lifetime.js"
import type { Service } from "./service.js"
import type { Slot } from "./slot.js"
import type { Store } from "./store.js"

type Running = Fiber.RuntimeFiber<unknown, unknown>

/** Where Effect keeps the fiber that is running: what `Fiber.getCurrentFiber` reads, without the Option around it. */
const global = globalThis as { readonly "effect/FiberCurrent"?: Running | null | undefined }

/** No step has been taken. */
const UNREAD = Symbol("unread")

/** How many hits pass between two questions to the scheduler. */
const ASKED_EVERY = 16

/**
 * What `Option.some` makes, made as fast as an object can be: with `Object.create`, as there, it is a sixth of a hit. The same prototype and the same one field
 * make it the same in every respect. To make it once and keep it beside the value is no faster, and takes memory for each entry.
 */
const Some = function <V>(this: { value: V }, value: V) {
  this.value = value
} as unknown as new <V>(
  value: V
) => Option.Some<V> // a function that is only ever called with `new`
Some.prototype = Object.getPrototypeOf(Option.some(undefined))

/** What the reads of one kind on one cache have in common. `E` is what the cache's loads fail with, `X` what such a read fails with. */
export interface Reader<K, V, E, A, X> {
  readonly service: Service<K, V, E>
  /** The service's map, at hand: once the cache is closed it is empty, so a hit need not ask. */
  readonly store: Store<K, V, E>
  /** Whether the answer is an Option, or the value itself. */
  readonly option: boolean
  /** What to do when there is no entry that may be used. */
  readonly miss: (read: Read<K, V, E, A, X>, fiber: Running) => Effect.Effect<A, X>
}

/**
 * The effect is its own iterator, and the result of its own steps: `yield*` asks for the iterator, for its first step and for what is in it in one go, so all
 * there is to remember is whether the next step is the first one; a later one brings what the run loop answered. What a hit allocates, it fetches into the
 * processor's caches instead of entries.
 *
 * It extends nothing: a chain of constructors costs as much as the lookup. What makes it an effect is put into its prototype below.
 */
class Read<K, V, E, A, X> {
  done = false
  value: unknown = UNREAD

  constructor(
    readonly reader: Reader<K, V, E, A, X>,
    readonly key: K,
    /** The call through a supervised handle that this answers, if there was one. */
    private readonly origin?: Supervised.Origin
  ) {}

  /** What that call was given: the key, where it was the cache itself that was called. */
  protected get argument(): unknown {
    return this.key
  }

  /** The same read, which asks the next instance once that of now has ended. One that has an origin is wrapped by the next one. */
  [Supervised.OriginTypeId](origin: Supervised.Origin, argument: unknown): Read<K, V, E, A, X> | undefined {
    return this.origin === undefined ? new AnsweringRead(this.reader, this.key, origin, argument) : undefined
  }

  /** This, as what it is to everybody else. */
  get effect(): Effect.Effect<A, X> {
    return this as unknown as Effect.Effect<A, X> // its prototype has all that Effect's own primitives have
  }

  private hit(fiber: Running): Slot | undefined {
    const slot = this.find(fiber)
    if (slot !== undefined) this.reader.store.counters.hits += 1
    return slot
  }

  private find(fiber: Running): Slot | undefined {
    const { service, store } = this.reader
    // First, for a Clock may be anybody's code, which leaves no slot as it was.
    const now = service.now(fiber)
    const slot = store.entries.get(this.key)
    if (slot === undefined) return undefined
    return service.isDirty(this.key, fiber) || !store.use(slot, now) ? undefined : slot
  }

  private answer(slot: Slot): A {
    const value = this.reader.store.entries.valueOf(slot)
    return (this.reader.option ? new Some(value) : value) as A // as the reader's maker has declared
  }

  /**
   * What the run loop does with it, to which this is a `Sync`: a hit takes one turn of it, where the answer of a `Commit` takes another. On a miss the value is
   * for nobody, since what follows is put onto the fiber's stack in front of everything else. To those who look for it this is a `Commit`.
   */
  effect_instruction_i0(): A | undefined {
    // Set by the run loop, which is who calls this.
    const fiber = global["effect/FiberCurrent"] as Running
    const { origin } = this
    const slot = origin === undefined || origin.isCurrent ? this.hit(fiber) : undefined
    if (slot !== undefined) return this.answer(slot)
    const stacked = fiber as unknown as Stacked // the run loop's own method, which is in no public type
    stacked.pushStack(new Following(this.unhit(fiber)))
    return undefined
  }

  commit(): Effect.Effect<A, X> {
    const fiber = global["effect/FiberCurrent"]
    return fiber === undefined || fiber === null ? Effect.withFiberRuntime((fiber) => this.run(fiber)) : this.run(fiber)
  }

  private run(fiber: Running): Effect.Effect<A, X> {
    const { origin } = this
    const slot = origin === undefined || origin.isCurrent ? this.hit(fiber) : undefined
    return slot === undefined ? this.unhit(fiber) : Exit.succeed(this.answer(slot))
  }

  private unhit(fiber: Running): Effect.Effect<A, X> {
    const { origin } = this
    if (origin !== undefined) return origin.guard(new Read(this.reader, this.key).effect, this.argument)
    const state = this.reader.service.state.current
    if (state._tag === "Closed") return Effect.die(state.error)
    state.counters.misses += 1
    return this.reader.miss(this, fiber)
  }

  /** Once more, for a read that has been counted. */
  again(fiber: Running): Effect.Effect<A, X> {
    const slot = this.find(fiber)
    if (slot !== undefined) return Exit.succeed(this.answer(slot))
    const state = this.reader.service.state.current
    return state._tag === "Closed" ? Effect.die(state.error) : this.reader.miss(this, fiber)
  }

  [Symbol.iterator](): Effect.EffectGenerator<Effect.Effect<A, X>> {
    this.value = UNREAD
    return this as unknown as Effect.EffectGenerator<Effect.Effect<A, X>> // what is between its first step and its last is always of that kind
  }

  private result(done: boolean, value: unknown): IteratorResult<Utils.YieldWrap<Effect.Effect<A, X>>, A> {
    this.done = done
    this.value = value
    return this as unknown as IteratorResult<Utils.YieldWrap<Effect.Effect<A, X>>, A> // it has both fields
  }

  next(answer?: unknown): IteratorResult<Utils.YieldWrap<Effect.Effect<A, X>>, A> {
    if (this.value !== UNREAD) return this.result(true, answer) // the run loop sends back what the yielded effect succeeded with
    const fiber = global["effect/FiberCurrent"]
    // Without a fiber there is nobody to count for: the run loop that this is handed to will know its fiber.
    const { origin } = this
    if (fiber !== undefined && fiber !== null && grants(fiber) && (origin === undefined || origin.isCurrent)) {
      const slot = this.hit(fiber)
      if (slot !== undefined) return this.result(true, this.answer(slot))
    }
    return this.result(false, new Utils.YieldWrap(this.effect))
  }
}

/** A read with which something else than the cache has answered a call through a supervised handle. */
class AnsweringRead<K, V, E, A, X> extends Read<K, V, E, A, X> {
  constructor(
    reader: Reader<K, V, E, A, X>,
    key: K,
    origin: Supervised.Origin,
    private readonly given: unknown
  ) {
    super(reader, key, origin)
  }

  protected override get argument(): unknown {
    return this.given
  }
}

/** A read that brings its own load. */
class LoadingRead<K, V, E> extends Read<K, V, E, V, E> {
  constructor(
    reader: Reader<K, V, E, V, E>,
    key: K,
    readonly load: Effect.Effect<V, E>,
    /** Decodes the lifetime, so throws if that is none. */
    readonly span: () => (value: V) => Span,
    readonly tags: ReadonlyArray<string> | undefined
  ) {
    super(reader, key)
  }

  /** Its load is the caller's, and not in what the cache is asked again with. */
  override [Supervised.OriginTypeId](): undefined {
    return undefined
  }
}

/** A fiber with the stack of what follows. */
interface Stacked {
  readonly pushStack: (frame: Following) => void
}

/** What follows whatever the value was. */
class Following {
  readonly _op = "OnSuccess"
  constructor(private readonly effect: Effect.Effect<unknown, unknown>) {}
  effect_instruction_i1(): Effect.Effect<unknown, unknown> {
    return this.effect
  }
}

for (const name of Reflect.ownKeys(Effectable.CommitPrototype)) {
  const property = Object.getOwnPropertyDescriptor(Effectable.CommitPrototype, name)
  if (property !== undefined && !Object.hasOwn(Read.prototype, name))
    Object.defineProperty(Read.prototype, name, property)
}

Object.defineProperty(Read.prototype, "_op", { value: "Sync" })

/** Counts an operation as the run loop does, and says whether the fiber may go on without a turn of it. */
const grants = (fiber: Running): boolean => {
  const counted = fiber as { currentOpCount: number } // the run loop's own field, which its public type only lets be read
  counted.currentOpCount += 1
  return counted.currentOpCount % ASKED_EVERY !== 0 || fiber.currentScheduler.shouldYield(fiber) === false
}

const lookUp = <K, V, E>(service: Service<K, V, E>, key: K, fiber: Running): Effect.Effect<Option.Option<V>, E> => {
  const { loader } = service
  return loader.usual === undefined ? Effect.succeedNone : loader.load(fiber, key, loader.usual)
}

export const orNotCached =
  <K>(cache: string, key: K) =>
  <V>(found: Option.Option<V>): Effect.Effect<V, NotCached> =>
    Option.isSome(found) ? Effect.succeed(found.value) : Effect.fail(new NotCached({ cache, key }))

const orMissing = <K, V, E>({ settings: { missing, name } }: Service<K, V, E>, key: K) =>
  missing === undefined
    ? orNotCached(name, key)
    : (found: Option.Option<V>): Effect.Effect<V, NotCached> =>
        // Sound: whoever chooses another failure for what is missing says so in the type it gives out.
        Option.isSome(found) ? Effect.succeed(found.value) : Effect.fail(missing(key) as NotCached)

/** Makes the reads of one kind; of a call through a supervised handle at once with its origin. */
const reading = <K, V, E, A, X>(reader: Reader<K, V, E, A, X>): ((key: K) => Effect.Effect<A, X>) =>
  Object.assign((key: K) => new Read(reader, key).effect, {
    // The argument is that of the function, so it is a key.
    [Supervised.OriginTypeId]: (origin: Supervised.Origin, key: unknown) => new Read(reader, key as K, origin)
  })

/** The reads of a cache: each makes an effect and does nothing else. */
export const readsOf = <K, V, E>(service: Service<K, V, E>) => {
  const store = service.store
  const get: Reader<K, V, E, Option.Option<V>, E> = {
    service,
    store,
    option: true,
    miss: ({ key }, fiber) => lookUp(service, key, fiber)
  }
  const fetch: Reader<K, V, E, V, E | NotCached> = {
    service,
    store,
    option: false,
    miss: ({ key }, fiber) => Effect.flatMap(lookUp(service, key, fiber), orMissing(service, key))
  }
  const getOption: Reader<K, V, E, Option.Option<V>, never> = {
    service,
    store,
    option: true,
    miss: () => Effect.succeedNone
  }
  const getOrLoad: Reader<K, V, E, V, E> = {
    service,
    store,
    option: false,
    miss: (read, fiber) => {
      const { load, span, tags } = read as LoadingRead<K, V, E> // no other kind has this reader
      const effect = Effect.asSome(load)
      const request = { effect: () => effect, span: span(), tags, services: fiber.currentContext }
      return Effect.flatMap(
        service.loader.load(fiber, read.key, request),
        // A `lookup` of the same key that was already under way may bring nothing: then it is this effect's turn.
        (found) =>
          Option.isSome(found) ? Effect.succeed(found.value) : Effect.withFiberRuntime((fiber) => read.again(fiber))
      )
    }
  }
  return {
    get: reading(get),
    fetch: reading(fetch),
    getOption: reading(getOption),
    getOrLoad: (
      key: K,
      load: Effect.Effect<V, E>,
      span: () => (value: V) => Span,
      tags?: ReadonlyArray<string> | undefined
    ) => new LoadingRead(getOrLoad, key, load, span, tags).effect
  }
}
