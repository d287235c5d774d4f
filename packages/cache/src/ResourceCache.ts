/**
 * A cache of values that have to be released: connections, files, clients, whatever has a scope.
 *
 * A value is acquired once, however many ask for it, and lent: `borrow` gives it for as long as the borrower's scope is open. It is released when the cache has let
 * go of it (it expired, was invalidated, evicted, or the cache has ended) and the last borrower has left, whichever comes last.
 *
 * ```text
 *            borrow                     acquired
 *   nothing ────────▶ being acquired ────────────▶ held ──▶ expired, evicted, invalidated ──▶ lent ──▶ released
 *      ▲                    │ fails                  │                                         (until the last one leaves)
 *      └────────────────────┘                        └── lent to as many as ask
 * ```
 *
 * Who asks after an invalidation gets a value of their own, also while the one before is still being acquired or used.
 *
 * Not for plain values: a read here is an ordinary effect with a finalizer, many times dearer than a hit of `Cache`. Not for transactions: it knows nothing of them.
 *
 * @since 0.1.0
 */
import { type Cause, type Context, Effect, Exit, Fiber, FiberRefs, Layer, Runtime, Scope } from "effect"
import type { Options as CacheOptions } from "./Cache.js"
import { currentLoad, ended, leave, type Waiting } from "./load.js"
import { settingsOf } from "./options.js"
import { type Service, start } from "./service.js"

/**
 * A cache of values `A` under keys `K`, whose acquisition fails with `E`.
 *
 * After its scope has ended, every operation is a `CacheClosed` defect; what is lent then stays usable until it is given back.
 *
 * @since 0.1.0
 * @category models
 */
export interface ResourceCache<in K, out A, out E = never> {
  readonly name: string

  /**
   * The value under the key, until the scope of who asks is closed. A missing one is acquired by a fiber of the cache, once for all who ask: no borrower's
   * interruption stops it, and a failure is shared by those who wait and is not kept. Who gives back the last loan of a value that is no longer held waits for
   * its release. An acquisition that asks for a key that waits for it dies with `CyclicLoad`.
   */
  readonly borrow: (key: K) => Effect.Effect<A, E, Scope.Scope>

  /** As `borrow`, for the length of an effect. */
  readonly use: <B, E2, R>(key: K, run: (value: A) => Effect.Effect<B, E2, R>) => Effect.Effect<B, E | E2, R>

  /** Lets go of the value under the key, and says whether there was one. Who asks from now on gets another. */
  readonly invalidate: (key: K) => Effect.Effect<boolean>

  /** `invalidate` for every key. */
  readonly clear: Effect.Effect<void>

  /** How many values are held; how many are not released yet, those included that are still lent; and how often they were acquired. */
  readonly stats: Effect.Effect<{
    readonly size: number
    readonly alive: number
    readonly acquired: number
    readonly failed: number
  }>
}

/**
 * How such a cache behaves: lifetimes and bounds as for any cache. They are of what is *held*: what is lent lives on beyond them. The time of `max` counts from the
 * beginning of the acquisition.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options<K, A, E = never, R = never>
  extends Pick<CacheOptions<K, A>, "name" | "idle" | "max" | "jitter" | "capacity" | "policy" | "hitAges"> {
  /** Acquires the value of a key, in a scope that is closed when the value is released. Runs with the services of `make`. */
  readonly acquire: (key: K) => Effect.Effect<A, E, R>
}

/** One value, from before it is there until it has been released. */
class Resource<K, A, E> implements Waiting {
  readonly waitsFor: Array<Waiting> = []
  readonly waiters = new Set<(exit: Exit.Exit<A, E>) => void>()
  readonly scope = Effect.runSync(Scope.make())
  exit: Exit.Exit<A, E> | undefined = undefined
  borrowers = 0
  isHeld = true
  isReleased = false

  constructor(
    readonly cache: string,
    readonly key: K
  ) {}

  /** Whether nobody has it any more, and nobody can get it. */
  get isDue(): boolean {
    if (this.isReleased || this.exit === undefined) return false
    return Exit.isFailure(this.exit) || (!this.isHeld && this.borrowers === 0)
  }
}

class Lender<K, A, E> {
  readonly alive = new Set<Resource<K, A, E>>()
  readonly releasing = new Set<Fiber.RuntimeFiber<void>>()

  constructor(private readonly acquire: (key: K) => Effect.Effect<A, E, Scope.Scope>) {}

  borrow(service: Service<K, Resource<K, A, E>, never>, key: K): Effect.Effect<A, E, Scope.Scope> {
    // What is counted here is given back, whatever interrupts.
    return Effect.uninterruptibleMask((restore) =>
      Effect.withFiberRuntime((fiber) => {
        const state = service.state.current
        if (state._tag === "Closed") return Effect.die(state.error)
        const waiter = fiber.getFiberRef(currentLoad)
        const there = service.hit(key, fiber)
        const held = there === undefined ? undefined : state.entries.valueOf(there)
        if (held !== undefined) held.borrowers += 1
        const resource = held ?? this.begin(service, key, fiber, waiter)
        const giveBack = Effect.suspend(() => {
          resource.borrowers -= 1
          return resource.isDue ? this.release(resource) : Effect.void
        })
        return Effect.flatMap(
          Effect.exit(resource.exit ?? restore(ended(resource, waiter, (exit) => exit))),
          // Who fails, or gives up, has nothing to keep until its scope is closed.
          (exit) => Effect.zipRight(Exit.isSuccess(exit) ? Effect.addFinalizer(() => giveBack) : giveBack, exit)
        )
      })
    )
  }

  /** A resource that is lent once. Synchronous: between looking for one and making it nobody else runs. */
  private begin(
    service: Service<K, Resource<K, A, E>, never>,
    key: K,
    fiber: Fiber.RuntimeFiber<unknown, unknown>,
    waiter: Waiting | undefined
  ): Resource<K, A, E> {
    const { settings, store } = service
    const resource = new Resource<K, A, E>(settings.name, key)
    resource.borrowers = 1
    const now = service.now(fiber)
    store.counters.misses += 1
    store.counters.loads += 1
    this.alive.add(resource)
    store.put(key, resource, service.jittered(settings.span), now)
    // A lifetime of zero keeps nothing.
    resource.isHeld = store.held(key) === resource
    // The edge is there while the first steps run on this very stack.
    waiter?.waitsFor.push(resource)
    const acquiring = Runtime.runFork(
      service.runtime,
      Effect.exit(
        Scope.extend(
          Effect.suspend(() => this.acquire(key)),
          resource.scope
        )
      ),
      {
        updateRefs: (refs, fiberId) => FiberRefs.updateAs(refs, { fiberId, fiberRef: currentLoad, value: resource })
      }
    )
    if (waiter !== undefined) leave(waiter, resource)
    service.background.add(acquiring)
    acquiring.addObserver((exit) => {
      service.background.delete(acquiring)
      this.acquired(service, resource, Exit.flatten(exit))
    })
    return resource
  }

  private acquired(
    service: Service<K, Resource<K, A, E>, never>,
    resource: Resource<K, A, E>,
    exit: Exit.Exit<A, E>
  ): void {
    const { state, store } = service
    const closed = state.current._tag === "Closed" ? Exit.die(state.current.error) : undefined
    resource.exit = exit
    if (Exit.isFailure(exit)) {
      store.counters.loadFailures += 1
      if (resource.isHeld && store.held(resource.key) === resource) store.remove(resource.key)
    }
    for (const waiter of resource.waiters) waiter(closed ?? exit)
    resource.waiters.clear()
    this.settle(service, resource)
  }

  /** Told by the store in the step in which it lets go. */
  gone(service: Service<K, Resource<K, A, E>, never>, resource: Resource<K, A, E>): void {
    resource.isHeld = false
    this.settle(service, resource)
  }

  /** Releases in the background what nobody is there to release. */
  private settle(service: Service<K, Resource<K, A, E>, never>, resource: Resource<K, A, E>): void {
    if (!resource.isDue) return
    const fiber = Runtime.runFork(service.runtime, this.release(resource), { immediate: false })
    this.releasing.add(fiber)
    fiber.addObserver(() => this.releasing.delete(fiber))
  }

  /** Once, and to its end. */
  private release(resource: Resource<K, A, E>): Effect.Effect<void> {
    return Effect.suspend(() => {
      if (resource.isReleased) return Effect.void
      resource.isReleased = true
      return Scope.close(resource.scope, resource.exit ?? Exit.void).pipe(
        Effect.catchAllCause((cause: Cause.Cause<never>) =>
          Effect.logWarning(`cache ${JSON.stringify(resource.cache)} could not release a value in peace`, cause)
        ),
        Effect.ensuring(Effect.sync(() => this.alive.delete(resource))),
        Effect.uninterruptible
      )
    })
  }
}

/**
 * Makes a cache of resources that lives as long as its scope. Its end waits until what is not lent has been released.
 *
 * Dies with a `RangeError` for an option that makes no sense.
 *
 * @since 0.1.0
 * @category constructors
 * @example
 * ```ts
 * import { ResourceCache } from "@effecto/cache"
 * import { Effect } from "effect"
 *
 * const open = (name: string) =>
 *   Effect.acquireRelease(
 *     Effect.sync(() => ({ name, isOpen: true })),
 *     (file) => Effect.sync(() => (file.isOpen = false))
 *   )
 *
 * const program = Effect.gen(function* () {
 *   const files = yield* ResourceCache.make({ name: "files", idle: "1 minute", capacity: 100, acquire: open })
 *   const file = yield* files.use("a.txt", (file) =>
 *     Effect.gen(function* () {
 *       yield* files.invalidate("a.txt")
 *       console.log(file.isOpen) // true
 *       return file
 *     })
 *   )
 *   console.log(file.isOpen) // false
 * })
 *
 * Effect.runPromise(Effect.scoped(program))
 * ```
 */
export const make = <K, A, E = never, R = never>(
  options: Options<K, A, E, R>
): Effect.Effect<ResourceCache<K, A, E>, never, Exclude<R, Scope.Scope> | Scope.Scope> =>
  Effect.gen(function* () {
    const { acquire, ...rest } = options
    // Sound: it runs in the context of `make`, which has all that R asks for, and in a scope of its own.
    const lender = new Lender<K, A, E>(acquire as (key: K) => Effect.Effect<A, E, Scope.Scope>)
    const settings = settingsOf<K, Resource<K, A, E>, never, never, never>(rest)
    // Before the service, so that it comes after the end of that.
    yield* Effect.addFinalizer(() => Effect.suspend(() => Fiber.awaitAll(lender.releasing)))
    const service: Service<K, Resource<K, A, E>, never> = yield* start<K, Resource<K, A, E>, never>({
      ...settings,
      onGone: (resource) => lender.gone(service, resource)
    })
    const cache: ResourceCache<K, A, E> = {
      name: options.name,
      borrow: (key) => lender.borrow(service, key),
      use: (key, run) =>
        Effect.acquireUseRelease(
          Scope.make(),
          (scope) => Effect.flatMap(Scope.extend(lender.borrow(service, key), scope), run),
          Scope.close
        ),
      invalidate: (key) =>
        service.step((store, now) => {
          const had = store.peek(key, now) !== undefined
          store.remove(key)
          return had
        }),
      clear: service.step((store) => store.clear()),
      stats: Effect.flatMap(service.sweeper.size, (size) =>
        service.step((store) => {
          service.meter.read(store)
          return { size, alive: lender.alive.size, acquired: store.counters.loads, failed: store.counters.loadFailures }
        })
      )
    }
    return cache
  })

/**
 * Provides a cache of resources under a tag.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = <I, K, A, E = never, R = never>(
  tag: Context.Tag<I, ResourceCache<K, A, E>>,
  options: Options<K, A, E, R>
): Layer.Layer<I, never, Exclude<R, Scope.Scope>> => Layer.scoped(tag, make(options))
