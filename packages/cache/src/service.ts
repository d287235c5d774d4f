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
 * The service fiber sweeps: it sleeps until the next bucket of expired entries is due and removes them in slices. It is the cache's process in the
 * supervision tree: when it dies the cache is closed, and whoever supervises it sees the fiber's own failure.
 *
 * Loads run in fibers of the cache and not of the callers. Nothing of the first caller is theirs: not its interruption, not its transaction, not its
 * FiberRefs. Only a load that the caller brought (`getOrLoad`) has the caller's services, for those are what it asks for.
 */
import {
  Cause,
  type Clock,
  Context,
  Duration,
  Effect,
  Exit,
  Fiber,
  FiberId,
  FiberRef,
  FiberRefs,
  MutableRef,
  Option,
  Runtime,
  type Scope,
  Tracer
} from "effect"
import { CacheClosed } from "./CacheError.js"
import type { Dirt } from "./dirt.js"
import type { Entry } from "./entry.js"
import type { Policy } from "./eviction.js"
import type { Span } from "./lifetime.js"
import { circle, currentLoad, Load, leave, type Waiting } from "./load.js"
import { Store } from "./store.js"
import { type Member, Succession } from "./succession.js"
import { isLive, Timeline } from "./timeline.js"
import { inTransaction, mayHaveWritten, settle, startedInTransaction, withoutTransaction } from "./transactions.js"

export interface Closed {
  readonly _tag: "Closed"
  readonly error: CacheClosed
}

export type State<K, V, E> = Store<K, V, E> | Closed

export interface Settings<K, V, E> {
  readonly name: string
  readonly span: Span
  /** Who leaves when the cache is full; none if it is unbounded. */
  readonly policy: Policy<K, V> | undefined
  readonly lookup: ((key: K) => Effect.Effect<Option.Option<V>, E>) | undefined
}

/** What to answer for the entry that may be served, and what to write if anything. A function of the caller's that throws in here has changed nothing. */
export type Decide<K, V, E, A> = (
  held: Entry<K, V> | undefined,
  now: number
) => readonly [answer: A, write?: ((store: Store<K, V, E>) => void) | undefined]

/** Entries looked at in one go; a few hundred microseconds of work. */
const SLICE = 1_000
/** The longest wait a JavaScript timer can be set to. */
const LONGEST_TIMER = 2 ** 31 - 1
/** A load is started on the caller's own stack so that one that needs no waiting costs none; loads inside of loads only so deep. */
const DEEPEST = 16
let depth = 0

/** A context for what outlives the moment it was taken at: without the transaction and the span of then. */
const detached = (context: Context.Context<never>): Context.Context<never> =>
  Context.omit(Tracer.ParentSpan)(withoutTransaction(context)) as Context.Context<never> // it lost some tags, and promised none

export class Service<K, V, E> implements Member<K> {
  /** What open transactions have written: under this instance, or one before it. */
  readonly dirt: Dirt<K>
  readonly store: Store<K, V, E>
  readonly state: MutableRef.MutableRef<State<K, V, E>>
  readonly timeline: Timeline
  /** The cache's own context, for what runs in a caller's fiber and for what runs in ours. */
  readonly context: Context.Context<never>
  private readonly runtime: Runtime.Runtime<never>
  /** Loads that have not ended, those that have lost the right to publish included. */
  readonly inFlight = new Set<Load<K, V, E>>()
  readonly background = new Set<Fiber.RuntimeFiber<unknown, unknown>>()

  constructor(
    readonly settings: Settings<K, V, E>,
    clock: Clock.Clock,
    context: Context.Context<never>,
    fiberRefs: FiberRefs.FiberRefs,
    readonly succession: Succession<K>
  ) {
    this.dirt = succession.dirt
    this.store = new Store(settings.policy)
    this.state = MutableRef.make<State<K, V, E>>(this.store)
    this.timeline = new Timeline(clock)
    this.context = detached(context)
    this.runtime = Runtime.make({
      context: this.context,
      runtimeFlags: Runtime.defaultRuntimeFlags,
      // What a load fails with belongs to those who wait for it: its fiber is no process of the tree that the cache is supervised in.
      fiberRefs: FiberRefs.delete(FiberRefs.delete(fiberRefs, currentLoad), FiberRef.currentSupervisor)
    })
  }

  /** The time by the fiber's own Clock. */
  now(fiber: Fiber.RuntimeFiber<unknown, unknown>): number {
    return this.timeline.nowBy(fiber.currentDefaultServices)
  }

  // -- loads ----------------------------------------------------------------------------------------------------------------------------------

  /**
   * Waits for the load of this key, after starting one if there is none. In an open transaction the caller loads for itself: what it finds may depend on
   * what it has not committed yet. `services` are those of a caller that brought the effect.
   */
  load(
    fiber: Fiber.RuntimeFiber<unknown, unknown>,
    key: K,
    effect: (key: K) => Effect.Effect<Option.Option<V>, E>,
    span: (value: V) => Span,
    services?: Context.Context<never>
  ): Effect.Effect<Option.Option<V>, E> {
    if (!startedInTransaction(fiber)) return this.share(fiber, key, effect, span, services)
    return Effect.flatMap(inTransaction, (inside) =>
      inside
        ? services === undefined
          ? this.inline(Effect.suspend(() => effect(key)))
          : effect(key)
        : Effect.withFiberRuntime((fiber) => this.share(fiber, key, effect, span, services))
    )
  }

  /** Synchronous up to the wait: between looking for a load and starting one nobody else runs. */
  private share(
    fiber: Fiber.RuntimeFiber<unknown, unknown>,
    key: K,
    effect: (key: K) => Effect.Effect<Option.Option<V>, E>,
    span: (value: V) => Span,
    services: Context.Context<never> | undefined
  ): Effect.Effect<Option.Option<V>, E> {
    const state = this.state.current
    if (state._tag === "Closed") return Effect.die(state.error)
    const waiter = fiber.getFiberRef(currentLoad)
    let load = state.loads.get(key)
    if (load === undefined) {
      load = new Load<K, V, E>(this.settings.name, key, span)
      state.loads.set(load)
      state.counters.loads += 1
      const own = services === undefined ? undefined : detached(services)
      // The edge is there while the load's first steps run on this very stack.
      waiter?.waitsFor.push(load)
      this.start(load, own === undefined ? effect : (key) => Effect.mapInputContext(effect(key), () => own))
      if (waiter !== undefined) leave(waiter, load)
    }
    return load.exit ?? this.join(load, waiter)
  }

  private join(load: Load<K, V, E>, waiter: Waiting | undefined): Effect.Effect<Option.Option<V>, E> {
    return Effect.async((resume) => {
      if (load.exit !== undefined) return resume(load.exit)
      if (waiter !== undefined) {
        const cyclic = circle(waiter, load)
        if (cyclic !== undefined) return resume(Effect.die(cyclic))
        waiter.waitsFor.push(load)
      }
      const settled = (exit: Exit.Exit<Option.Option<V>, E>) => {
        if (waiter !== undefined) leave(waiter, load)
        resume(exit)
      }
      load.waiters.add(settled)
      return Effect.sync(() => {
        load.waiters.delete(settled)
        if (waiter !== undefined) leave(waiter, load)
      })
    })
  }

  private start(load: Load<K, V, E>, effect: (key: K) => Effect.Effect<Option.Option<V>, E>): void {
    this.inFlight.add(load)
    depth += 1
    try {
      load.fiber = Runtime.runFork(
        this.runtime,
        // The fiber itself always succeeds: a failed load is nobody's crash and no line in the log.
        Effect.exit(Effect.suspend(() => effect(load.key))),
        {
          immediate: depth <= DEEPEST,
          updateRefs: (refs, fiberId) => FiberRefs.updateAs(refs, { fiberId, fiberRef: currentLoad, value: load })
        }
      )
    } finally {
      depth -= 1
    }
    load.fiber.addObserver((exit) => this.finish(load, Exit.flatten(exit as Exit.Exit<Exit.Exit<Option.Option<V>, E>>)))
  }

  /** The end of a load, whatever its end is: the one place where it can publish. */
  private finish(load: Load<K, V, E>, exit: Exit.Exit<Option.Option<V>, E>): void {
    this.inFlight.delete(load)
    const state = this.state.current
    if (state._tag === "Open") exit = this.commit(state, load, exit)
    load.settle(exit)
  }

  private commit(
    store: Store<K, V, E>,
    load: Load<K, V, E>,
    exit: Exit.Exit<Option.Option<V>, E>
  ): Exit.Exit<Option.Option<V>, E> {
    try {
      if (Exit.isSuccess(exit) && Option.isSome(exit.value)) {
        // The caller's function comes first: if it throws, nothing has happened yet.
        const span = load.span(exit.value.value)
        store.publish(load, exit.value.value, span, this.timeline.now(this.timeline.clock))
        return exit
      }
    } catch (thrown) {
      exit = Exit.die(thrown)
    }
    if (Exit.isFailure(exit)) store.counters.loadFailures += 1
    store.loads.remove(load)
    return exit
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
        const [answer, write] = decide(held, now)
        write?.(store)
        return answer
      }),
      Effect.flatMap(this.look(key, decide), ([answer, write]) =>
        write === undefined ? Effect.succeed(answer) : Effect.as(this.forgetOne(key), answer)
      )
    )
  }

  /** One synchronous step on the entry that this fiber may be served. */
  look<A>(key: K, use: (held: Entry<K, V> | undefined, now: number, store: Store<K, V, E>) => A): Effect.Effect<A> {
    return this.step((store, now, fiber) =>
      use(this.isDirty(key, fiber) ? undefined : store.peek(key, now), now, store)
    )
  }

  /** What the function makes of every entry that this fiber may be served. */
  list<A>(f: (entry: Entry<K, V>) => A): Effect.Effect<Array<A>> {
    return this.step((store, now, fiber) =>
      this.readsAround(fiber) ? store.list(now, f, (key) => !this.dirt.has(key)) : store.list(now, f)
    )
  }

  /** How many entries this fiber may be served. */
  readonly size: Effect.Effect<number> = Effect.suspend(() =>
    this.step((store, now, fiber) => {
      const all = store.size(now)
      return this.readsAround(fiber)
        ? store.list(
            now,
            () => 0,
            (key) => !this.dirt.has(key)
          ).length
        : all
    })
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
  private inOrOutside<A>(outside: Effect.Effect<A>, inside: Effect.Effect<A>): Effect.Effect<A> {
    return Effect.withFiberRuntime((fiber) =>
      startedInTransaction(fiber)
        ? Effect.uninterruptible(Effect.flatMap(inTransaction, (open) => (open ? inside : outside)))
        : outside
    )
  }

  private forgetOne(key: K): Effect.Effect<void> {
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
    return this.readsAround(fiber) && this.dirt.has(key)
  }

  private readsAround(fiber: Fiber.RuntimeFiber<unknown, unknown>): boolean {
    return this.dirt.open > 0 && startedInTransaction(fiber)
  }

  evict(key: K): void {
    this.store.remove(key)
  }

  evictAll(): void {
    this.store.clear()
  }

  told: ((key: K, had: boolean) => Effect.Effect<unknown>) | undefined = undefined

  /**
   * Evicts a key after a write. The write has succeeded, so nothing in here fails it: neither that this instance is closed, where there may be a successor that
   * has read what was there before the write, nor what hooks do.
   */
  evicting<A, E2, R>(self: Effect.Effect<A, E2, R>, key: K): Effect.Effect<A, E2, R> {
    const evicted = this.inOrOutside(
      Effect.withFiberRuntime<boolean>((fiber) => {
        const had = this.holds(key, fiber)
        this.succession.evict(key)
        return Effect.succeed(had)
      }),
      Effect.withFiberRuntime<boolean>((fiber) => Effect.as(this.forgetOne(key), this.holds(key, fiber)))
    )
    return Effect.uninterruptibleMask((restore) =>
      Effect.onExit(restore(self), (exit) =>
        Exit.isSuccess(exit) || mayHaveWritten(exit.cause)
          ? Effect.flatMap(evicted, (had) => this.tell(key, had, exit, restore))
          : Effect.void
      )
    )
  }

  /** Whether there is something that this fiber could be served. A closed cache holds nothing. */
  private holds(key: K, fiber: Fiber.RuntimeFiber<unknown, unknown>): boolean {
    return !this.isDirty(key, fiber) && this.store.peek(key, this.now(fiber)) !== undefined
  }

  /** Lets the hooks know of an eviction. A caller that was interrupted waits for none of them. */
  private tell(
    key: K,
    had: boolean,
    exit: Exit.Exit<unknown, unknown>,
    restore: <A, E2, R>(effect: Effect.Effect<A, E2, R>) => Effect.Effect<A, E2, R>
  ): Effect.Effect<void> {
    const member: Member<K> | undefined = this.state.current._tag === "Closed" ? this.succession.newest : this
    if (member?.told === undefined) return Effect.void
    const hooks = member.told(key, had)
    return Exit.isInterrupted(exit)
      ? Effect.sync(() => member.fork(hooks))
      : Effect.catchAllCause(Effect.asVoid(restore(hooks)), (cause) =>
          Cause.isInterruptedOnly(cause)
            ? Effect.void
            : Effect.logWarning(
                `a hook of cache ${JSON.stringify(this.settings.name)} failed after an eviction: the write before it stands`,
                cause
              )
        )
  }

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

  /** The service fiber's whole life. */
  readonly serve: Effect.Effect<never> = Effect.suspend(() => this.rest).pipe(
    Effect.zipRight(Effect.suspend(() => this.sweep)),
    Effect.forever,
    Effect.onExit((exit) =>
      Effect.sync(() => {
        const cause = Exit.isFailure(exit) ? exit.cause : undefined
        this.close(
          new CacheClosed({
            cache: this.settings.name,
            reason: "its service fiber has ended",
            ...(cause === undefined ? {} : { cause })
          })
        )
      })
    )
  )

  private readonly sweep: Effect.Effect<void> = Effect.suspend(() => {
    const state = this.state.current
    if (state._tag === "Closed" || state.sweep(this.timeline.now(this.timeline.clock), SLICE)) return Effect.void
    return Effect.zipRight(this.pause, this.sweep)
  })

  /** Lets timers and sockets have their turn between two slices. */
  private readonly pause: Effect.Effect<void> = Effect.suspend(() =>
    isLive(this.timeline.clock)
      ? Effect.async<void>((resume) => {
          const handle = setImmediate(() => resume(Effect.void))
          return Effect.sync(() => clearImmediate(handle))
        })
      : Effect.yieldNow()
  )

  /** Sleeps until something is due. One timer at most, and a process with nothing else to do may end. */
  private readonly rest: Effect.Effect<void> = Effect.async<void>((resume) => {
    const state = this.state.current
    if (state._tag === "Closed") return
    const due = state.expiry.due
    const stop = () => {
      state.armed = Number.NEGATIVE_INFINITY
      state.wake = undefined
      cancel?.()
    }
    const wake = (end: Effect.Effect<void>) => {
      stop()
      resume(end)
    }
    state.armed = due
    state.wake = () => wake(Effect.void)
    const cancel =
      due === Number.POSITIVE_INFINITY ? undefined : this.after(due - this.timeline.now(this.timeline.clock), wake)
    return Effect.sync(stop)
  })

  /** Calls `done` that much later, with the failure of a Clock that cannot sleep; the answer calls it off. */
  private after(millis: number, done: (end: Effect.Effect<void>) => void): () => void {
    // Rounded up: a timer that fires a fraction of a millisecond early would find nothing due and be set again.
    const wait = Math.min(Math.max(Math.ceil(millis), 0), LONGEST_TIMER)
    if (isLive(this.timeline.clock)) {
      const timer = setTimeout(() => done(Effect.void), wait)
      timer.unref?.()
      return () => clearTimeout(timer)
    }
    let calledOff = false
    const fiber = Runtime.runFork(this.runtime, Effect.exit(this.timeline.clock.sleep(Duration.millis(wait))), {
      immediate: false
    })
    fiber.addObserver((exit) => {
      if (!calledOff) done(Exit.flatten(exit))
    })
    return () => {
      calledOff = true
      fiber.unsafeInterruptAsFork(FiberId.none)
    }
  }

  // -- the end ----------------------------------------------------------------------------------------------------------------------------------

  /** Closes once: nobody is served from here on, everybody who waits is told, and what runs for the cache is asked to stop. */
  close(error: CacheClosed): ReadonlyArray<Fiber.RuntimeFiber<unknown, unknown>> {
    const state = this.state.current
    if (state._tag === "Closed") return []
    MutableRef.set(this.state, { _tag: "Closed", error })
    this.succession.living.delete(this)
    const running = [...this.background]
    for (const load of this.inFlight) {
      load.settle(Exit.die(error))
      if (load.fiber !== undefined) running.push(load.fiber)
    }
    state.clear()
    for (const fiber of running) fiber.unsafeInterruptAsFork(FiberId.none)
    return running
  }

  /** The scope's finalizer: as `close`, and waits until what runs for the cache has stopped. */
  readonly shutdown: Effect.Effect<void> = Effect.suspend(() =>
    Fiber.awaitAll(
      this.close(new CacheClosed({ cache: this.settings.name, reason: "the scope that owns it has ended" }))
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
        succession
      )
      succession.living.add(service)
      yield* Effect.forkScoped(Effect.interruptible(service.serve))
      // After the fiber, so that it runs before that is interrupted.
      yield* Effect.addFinalizer(() => service.shutdown)
      return service
    })
  )
