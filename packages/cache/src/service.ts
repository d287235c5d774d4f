/**
 * One running cache: its state, the fiber that owns it, and the loads it has in flight.
 *
 *        make ──▶ Open(store) ──(its scope ends, or its fiber dies)──▶ Closed(why)
 *
 * The service fiber owns the state: it lives as long as that fiber does, and is closed with it, so that what a supervisor restarts begins with nothing. Callers
 * read and write it themselves, each time in one synchronous step, instead of sending the fiber a message: a hit that waited for another fiber's turn would cost
 * some twenty times as much, and in JavaScript nobody else runs within such a step. So it is a MutableRef, which needs no effect to be looked into, and the store
 * in it is changed in place: a Ref of an immutable map would copy a path of it, and allocate an effect, for every hit that renews a lifetime.
 *
 * The service fiber is the cache's process in the supervision tree: when it dies the cache is closed, and whoever supervises it sees the fiber's own failure.
 * It sweeps (`sweeper.ts`). What loads is in `loader.ts`, what evicts after a write in `evicting.ts`.
 */
import {
  Cause,
  type Clock,
  Context,
  Effect,
  Exit,
  Fiber,
  FiberId,
  FiberRef,
  FiberRefs,
  MutableRef,
  Random,
  Runtime,
  type Scope,
  Utils
} from "effect"
import { CacheClosed } from "./CacheError.js"
import type { Dirt } from "./dirt.js"
import { AgedStore } from "./hitages.js"
import type { Span } from "./lifetime.js"
import { currentLoad } from "./load.js"
import { Loader } from "./loader.js"
import { Meter } from "./meter.js"
import { Notices } from "./notices.js"
import type { Settings } from "./settings.js"
import type { Slot } from "./slot.js"
import { type Extra, Store } from "./store.js"
import { type Member, Succession } from "./succession.js"
import { Sweeper } from "./sweeper.js"
import { Timeline } from "./timeline.js"
import { isTraced } from "./trace.js"
import { detached, inTransaction, settle, startedInTransaction } from "./transactions.js"

export type { Settings } from "./settings.js"

export interface Closed {
  readonly _tag: "Closed"
  readonly error: CacheClosed
}

export type State<K, V, E> = Store<K, V, E> | Closed

/**
 * What to answer for the entry that may be served, and what to write if anything. A function of the caller's that throws in here has changed nothing; one that
 * changes this very cache may have given the slot to somebody else.
 */
export type Decide<K, V, E, A> = (
  held: Slot | undefined,
  now: number,
  store: Store<K, V, E>
) => readonly [answer: A, write?: ((store: Store<K, V, E>) => void) | undefined]

interface Kept<K, V, E> {
  readonly store: Store<K, V, E>
  readonly timeline: Timeline
}

export class Service<K, V, E> implements Member<K> {
  /** What open transactions have written: under this instance, or one before it. */
  readonly dirt: Dirt<K>
  /** What nobody must be served. */
  readonly locks: Dirt<K>
  readonly store: Store<K, V, E>
  readonly state: MutableRef.MutableRef<State<K, V, E>>
  readonly timeline: Timeline
  /** The cache's own context, for what runs in a caller's fiber and for what runs in ours. */
  readonly context: Context.Context<never>
  readonly runtime: Runtime.Runtime<never>
  readonly background = new Set<Fiber.RuntimeFiber<unknown, unknown>>()
  readonly random: () => number
  /** Whether spans go anywhere. */
  readonly isTraced: boolean
  readonly loader: Loader<K, V, E>
  readonly notices: Notices<K, V>
  readonly meter: Meter
  readonly sweeper: Sweeper<K, V, E>

  constructor(
    readonly settings: Settings<K, V, E>,
    clock: Clock.Clock,
    context: Context.Context<never>,
    fiberRefs: FiberRefs.FiberRefs,
    seed: number,
    readonly succession: Succession<K>
  ) {
    this.dirt = succession.dirt
    this.locks = succession.locks
    const kept = settings.onRestart === "keep" ? Service.inherit<K, V, E>(succession, clock) : undefined
    this.store =
      kept?.store ??
      new (settings.hitAges === true ? AgedStore : Store)(settings.policy, {
        idle: settings.span.idle,
        grace: Math.max(settings.grace ?? 0, settings.staleWhileRevalidate ?? 0),
        maxWeight: settings.maxWeight
      })
    this.timeline = kept?.timeline ?? new Timeline(clock)
    this.state = MutableRef.make<State<K, V, E>>(this.store)
    this.context = detached(context)
    // What a load fails with belongs to those who wait for it: its fiber is no process of the tree that the cache is supervised in.
    const refs = FiberRefs.delete(FiberRefs.delete(fiberRefs, currentLoad), FiberRef.currentSupervisor)
    this.runtime = Runtime.make({
      context: this.context,
      runtimeFlags: Runtime.defaultRuntimeFlags,
      fiberRefs: refs
    })
    this.isTraced = isTraced(refs)
    const generator = new Utils.PCGRandom(seed)
    this.random = settings.random ?? (() => generator.number())
    this.loader = new Loader(this)
    const { onGone } = settings
    this.notices = new Notices(settings.name, this.runtime, settings.onRemoval, (isHeard) => {
      this.store.removed = isHeard ? (key, value, cause) => this.notices.removed(key, value, cause) : undefined
    })
    if (onGone !== undefined) this.store.removed = (_, value) => onGone(value)
    this.meter = new Meter(settings.name)
    this.sweeper = new Sweeper(this)
  }

  /** What an instance before this one has left, if its times can be read on this clock. */
  private static inherit<K, V, E>(succession: Succession<K>, clock: Clock.Clock): Kept<K, V, E> | undefined {
    const kept = succession.kept
    succession.kept = undefined
    // Sound: what is in a succession was left by an instance that was made by the same effect, so with the same types.
    return kept?.timeline.isOf(clock) ? (kept as unknown as Kept<K, V, E>) : undefined
  }

  /** The time by the fiber's own Clock. */
  now(fiber: Fiber.RuntimeFiber<unknown, unknown>): number {
    return this.timeline.nowBy(fiber.currentDefaultServices)
  }

  /** The entry that this fiber may be served, read: its lifetime begins anew, and it counts. */
  hit(key: K, fiber: Fiber.RuntimeFiber<unknown, unknown>): Slot | undefined {
    const now = this.now(fiber)
    const slot = this.store.entries.get(key)
    if (slot === undefined || this.isDirty(key, fiber) || !this.store.use(slot, now)) return undefined
    this.store.counters.hits += 1
    return slot
  }

  /** The lifetime of a value that was given none. */
  spanOf(key: K, value: V): Span {
    const { lifetime, span } = this.settings
    return lifetime === undefined ? span : lifetime(value, key)
  }

  /** A lifetime with a chance part taken off, so that what was written together does not end together. */
  jittered(span: Span): Span {
    const { jitter } = this.settings
    return jitter === undefined || span.max === Number.POSITIVE_INFINITY
      ? span
      : { idle: span.idle, max: Math.floor(span.max * (1 - jitter * this.random())) }
  }

  /** What a value is filed under beside its key. Runs the user's functions, so before anything is changed. */
  extraOf(key: K, value: V, declared: ReadonlyArray<string> = []): Extra | undefined {
    const { name, tags, weight } = this.settings
    if (tags === undefined && weight === undefined && declared.length === 0) return undefined
    const weighs = weight === undefined ? 0 : weight(value, key)
    if (!(weighs >= 0)) {
      throw new RangeError(
        `cache ${JSON.stringify(name)} cannot weigh a value: weight answered ${weighs}, and a weight is a number of zero or more`
      )
    }
    return { tags: tags === undefined ? declared : [...new Set([...declared, ...tags(value, key)])], weight: weighs }
  }

  // -- writes ---------------------------------------------------------------------------------------------------------------------------------

  /** One synchronous step on the open store. */
  step<A>(
    use: (store: Store<K, V, E>, now: number, fiber: Fiber.RuntimeFiber<unknown, unknown>) => A
  ): Effect.Effect<A> {
    return Effect.withFiberRuntime((fiber) => {
      const state = this.state.current
      return state._tag === "Closed" ? Effect.die(state.error) : Effect.succeed(use(state, this.now(fiber), fiber))
    })
  }

  /**
   * Looks at an entry, decides and writes, in one step. In an open transaction nothing is written that might have to be taken back: the key is marked as
   * dirty, and removed after the commit; others keep what they have until then, and for good if there is none.
   */
  modify<A>(key: K, decide: Decide<K, V, E, A>): Effect.Effect<A> {
    return this.inOrOutside(
      this.look(key, (held, now, store) => {
        const [answer, write] = decide(held, now, store)
        write?.(store)
        return answer
      }),
      Effect.flatMap(this.look(key, decide), ([answer, write]) =>
        write === undefined ? Effect.succeed(answer) : Effect.as(this.forgetOne(key), answer)
      )
    )
  }

  /** One synchronous step on the entry that this fiber may be served. */
  look<A>(key: K, use: (held: Slot | undefined, now: number, store: Store<K, V, E>) => A): Effect.Effect<A> {
    return this.step((store, now, fiber) =>
      use(this.isDirty(key, fiber) ? undefined : store.peek(key, now), now, store)
    )
  }

  /** What the function makes of every entry that this fiber may be served. */
  list<A>(f: (slot: Slot, now: number, store: Store<K, V, E>) => A): Effect.Effect<Array<A>> {
    return this.step((store, now, fiber) =>
      this.readsAround(fiber) ? store.list(now, f, (key) => !this.isMarked(key, fiber)) : store.list(now, f)
    )
  }

  /** How many entries this fiber may be served. */
  readonly size: Effect.Effect<number> = Effect.withFiberRuntime((fiber) =>
    this.readsAround(fiber)
      ? this.step(
          (store, now, fiber) =>
            store.list(
              now,
              () => 0,
              (key) => !this.isMarked(key, fiber)
            ).length
        )
      : this.sweeper.size
  )

  remove(key: K): Effect.Effect<boolean> {
    return this.modify(key, (held) => [held !== undefined, (store) => store.remove(key)])
  }

  /** A key that is named twice has something once. */
  removeAll(keys: Iterable<K>): Effect.Effect<number> {
    const all = [...keys]
    return this.inOrOutside(
      this.step((store, now) => {
        let count = 0
        for (const key of all) {
          if (store.peek(key, now) !== undefined) count += 1
          store.remove(key)
        }
        return count
      }),
      Effect.reduce(all, 0, (count, key) => Effect.map(this.remove(key), (had) => (had ? count + 1 : count)))
    )
  }

  readonly clear: Effect.Effect<void> = Effect.suspend(() =>
    this.inOrOutside(
      this.step((store) => store.clear()),
      this.forget(
        () => this.dirt.everything(),
        () => this.succession.evictAll()
      )
    )
  )

  /** Without a way for the caller's interruption to get in between a transaction's writes and what is registered for its end. */
  inOrOutside<A>(outside: Effect.Effect<A>, inside: Effect.Effect<A>): Effect.Effect<A> {
    return Effect.withFiberRuntime((fiber) =>
      startedInTransaction(fiber)
        ? Effect.uninterruptible(Effect.flatMap(inTransaction, (open) => (open ? inside : outside)))
        : outside
    )
  }

  /** Removes what carries the tag, and answers how many there were to serve. */
  invalidateTag(tag: string): Effect.Effect<number> {
    return this.inOrOutside(
      this.step((store, now) => store.invalidateTag(tag, now)),
      Effect.flatMap(
        this.step((store, now) => store.countTag(tag, now)),
        (count) =>
          Effect.as(
            this.forget(
              () => this.dirt.tag(tag),
              () => this.succession.evictTag(tag)
            ),
            count
          )
      )
    )
  }

  forgetOne(key: K): Effect.Effect<void> {
    return this.forget(
      () => this.dirt.one(key),
      () => this.succession.evict(key)
    )
  }

  /** Marks what is written until the transaction around ends, and evicts it, from whoever lives by then, if that is by a commit. */
  private forget(mark: () => () => void, evict: () => void): Effect.Effect<void> {
    return Effect.suspend(() => {
      const clean = mark()
      return settle(() => {
        clean()
        evict()
      }, clean)
    })
  }

  /** Whether the fiber must not be served this key, because some transaction has written it: its own, for all we know. */
  isDirty(key: K, fiber: Fiber.RuntimeFiber<unknown, unknown>): boolean {
    return (this.locks.open > 0 && this.isLocked(key)) || (this.readsAround(fiber) && this.isMarked(key, fiber))
  }

  /** Whether somebody is writing what is under the key, or what it depends on. */
  isLocked(key: K, declared: ReadonlyArray<string> = []): boolean {
    const { locks } = this
    if (locks.has(key)) return true
    if (!locks.hasTags) return false
    return declared.some((tag) => locks.hasTag(tag)) || this.store.tagsOf(key).some((tag) => locks.hasTag(tag))
  }

  private isMarked(key: K, fiber: Fiber.RuntimeFiber<unknown, unknown>): boolean {
    if (this.dirt.has(key)) return true
    const changed = this.settings.changed?.(fiber)
    if (changed?.key(key)) return true
    if (!this.dirt.hasTags && changed === undefined) return false
    return this.store.tagsOf(key).some((tag) => this.dirt.hasTag(tag) || changed?.tag(tag))
  }

  private readsAround(fiber: Fiber.RuntimeFiber<unknown, unknown>): boolean {
    return (this.dirt.open > 0 || this.settings.changed !== undefined) && startedInTransaction(fiber)
  }

  evict(key: K): void {
    this.store.remove(key)
  }

  evictAll(): void {
    this.store.clear()
  }

  evictTag(tag: string): void {
    this.store.invalidateTag(tag, this.timeline.now(this.timeline.clock))
  }

  told: ((key: K, had: boolean) => Effect.Effect<unknown>) | undefined = undefined

  /** Runs in the caller's fiber what was given to `make`: with the caller's transaction, and the services of `make`. */
  inline<A, E2>(effect: Effect.Effect<A, E2>): Effect.Effect<A, E2> {
    return Effect.mapInputContext(effect, (caller: Context.Context<never>) => Context.merge(caller, this.context))
  }

  // -- the service fiber ----------------------------------------------------------------------------------------------------------------------

  /** Runs something in the background for as long as the cache exists; what it fails with is logged. */
  fork(effect: Effect.Effect<unknown>): void {
    const fiber = Runtime.runFork(
      this.runtime,
      Effect.catchAllCause(effect, (cause) =>
        Cause.isInterruptedOnly(cause)
          ? Effect.void
          : Effect.logWarning(`a hook of cache ${JSON.stringify(this.settings.name)} failed in the background`, cause)
      )
    )
    this.background.add(fiber)
    fiber.addObserver(() => this.background.delete(fiber))
  }

  // -- the end ----------------------------------------------------------------------------------------------------------------------------------

  /** Closes once: nobody is served from here on, everybody who waits is told, and what runs for the cache is asked to stop. */
  close(error: CacheClosed): ReadonlyArray<Fiber.RuntimeFiber<unknown, unknown>> {
    const state = this.state.current
    if (state._tag === "Closed") return []
    this.meter.read(state)
    MutableRef.set(this.state, { _tag: "Closed", error })
    this.succession.living.delete(this)
    const running = [...this.background]
    for (const load of this.loader.inFlight) {
      load.settle(Exit.die(error))
      if (load.fiber !== undefined) running.push(load.fiber)
    }
    if (this.settings.onRestart === "keep") this.succession.kept = { store: state.handOver(), timeline: this.timeline }
    state.clear("closed")
    for (const fiber of running) fiber.unsafeInterruptAsFork(FiberId.none)
    return running
  }

  /** The scope's finalizer: as `close`, and waits until what runs for the cache has stopped. */
  readonly shutdown: Effect.Effect<void> = Effect.suspend(() =>
    Effect.zipRight(
      Fiber.awaitAll(
        this.close(new CacheClosed({ cache: this.settings.name, reason: "the scope that owns it has ended" }))
      ),
      this.notices.end
    )
  )
}

/** Starts a service in the scope of the effect that asks, with its clock, context and FiberRefs. */
export const start = <K, V, E>(
  settings: Settings<K, V, E>,
  succession: Succession<K> = new Succession()
): Effect.Effect<Service<K, V, E>, never, Scope.Scope> =>
  // Uninterruptible, so that who has entered the succession also leaves it.
  Effect.uninterruptible(
    Effect.gen(function* () {
      const service = new Service(
        settings,
        yield* Effect.clock,
        yield* Effect.context<never>(),
        yield* Effect.getFiberRefs,
        yield* Random.nextInt,
        succession
      )
      succession.living.add(service)
      yield* Effect.forkScoped(Effect.interruptible(service.sweeper.serve))
      // After the fiber, so that it runs before that is interrupted.
      yield* Effect.addFinalizer(() => service.shutdown)
      return service
    })
  )
