/**
 * The loads of a cache: how they begin, who waits for them, and what becomes of what they bring.
 *
 *        a read finds nothing ──▶ is it known to be absent? is there something in grace?
 *                                   │ no
 *                                   ▼
 *        one load for the key: alone, or in a batch ──▶ finish ──▶ claim ──┬─▶ published, or kept as absent
 *             ▲ others join                                │               └─▶ overtaken: only those who waited get it
 *             └────── who joined after it was overtaken ◀──┘
 *
 * Loads run in fibers of the cache and not of the callers. Nothing of the first caller is theirs: not its interruption, not its transaction, not its
 * FiberRefs. Only a load that the caller brought (`getOrLoad`) has the caller's services, for those are what it asks for.
 */
import { type Restore, uninterruptibleMask } from "@effecto/core/internal/primitives"
import { Cause, type Context, Duration, Effect, Exit, type Fiber, FiberId, FiberRefs, Option, Runtime } from "effect"
import { batches, distinctKeys, lookUpTogether, resultOf } from "./batch.js"
import { LoadTimedOut } from "./CacheError.js"
import { type Keyed, KeyMap, keyOf } from "./keyMap.js"
import type { Span } from "./lifetime.js"
import { ALIASED, currentLoad, ended, Load, leave, type Waiting } from "./load.js"
import type { Service } from "./service.js"
import type { Store } from "./store.js"
import { traced } from "./trace.js"
import { detached, readsAlone, startedInTransaction } from "./transactions.js"

type Running = Fiber.RuntimeFiber<unknown, unknown>

/** A lifetime of zero is never stored. */
const NOT_KEPT: Span = { idle: 0, max: 0 }

/** How a missing key is to be loaded. */
export interface Request<K, V, E> {
  /** None: together with others, by `lookupAll`. */
  readonly effect: ((key: K) => Effect.Effect<Option.Option<V>, E>) | undefined
  readonly span: (value: V, key: K) => Span
  /** What the value depends on. */
  readonly tags?: ReadonlyArray<string> | undefined
  /** Those of a caller that brought the effect. */
  readonly services?: Context.Context<never> | undefined
}

/** A load is started on the caller's own stack so that one that needs no waiting costs none; loads inside of loads only so deep. */
const DEEPEST = 16
let depth = 0
/** How much a load counts in the usual time of loads. */
const WEIGHT_OF_ONE = 0.2
/** So many times the average is the farthest that chance refreshes ahead: beyond is one time in three thousand. */
const FARTHEST = 8

const asItIs: Restore = (self) => self

export class Loader<K, V, E> {
  /** Loads that have not ended, those that have lost the right to publish included. */
  readonly inFlight = new Set<Load<K, V, E>>()
  /** How a key is loaded that nobody has brought an effect for. */
  readonly usual: Request<K, V, E> | undefined
  private readonly together: Request<K, V, E> | undefined
  private pending: Array<Load<K, V, E>> = []
  /** Milliseconds that a load usually takes. */
  private usualTime = 0

  constructor(private readonly service: Service<K, V, E>) {
    const { lookup, lookupAll, refreshAhead } = service.settings
    const span = (value: V, key: K) => service.spanOf(key, value)
    this.together = lookupAll === undefined ? undefined : { effect: undefined, span }
    this.usual = lookup === undefined ? this.together : { effect: lookup, span }
    if (refreshAhead !== undefined) {
      const random = service.random
      service.store.ending = (key, left) => {
        if (left <= this.usualTime * refreshAhead * -Math.log(random())) this.renew(key)
      }
    }
  }

  /**
   * Waits for the load of this key, after starting one if there is none. In an open transaction the caller loads for itself: what it finds may depend on
   * what it has not committed yet.
   */
  load(fiber: Running, key: K, request: Request<K, V, E>): Effect.Effect<Option.Option<V>, E> {
    if (!startedInTransaction(fiber)) return this.share(fiber, key, request)
    return Effect.flatMap(readsAlone, (inside) =>
      inside ? this.around(key, request) : Effect.withFiberRuntime((fiber) => this.share(fiber, key, request))
    )
  }

  /** Around the cache: by the caller's own fiber, and for it alone. */
  around(key: K, { effect, services }: Request<K, V, E>): Effect.Effect<Option.Option<V>, E> {
    if (effect === undefined) return Effect.flatMap(this.allAround([{ key }]), (answerOf) => answerOf(key))
    return services === undefined ? this.service.inline(Effect.suspend(() => effect(key))) : effect(key)
  }

  /** What each of them comes to, for a failure is that of its own batch only. */
  private allAround(keyed: ReadonlyArray<Keyed<K>>): Effect.Effect<(key: K) => Exit.Exit<Option.Option<V>, E>> {
    const { batchSize, lookupAll } = this.service.settings
    const answers = new KeyMap<K, Keyed<K> & { readonly exit: Exit.Exit<Option.Option<V>, E> }>(keyOf)
    const answerOf = (key: K) => answers.get(key)?.exit ?? Exit.succeed(Option.none())
    if (lookupAll === undefined) return Effect.succeed(answerOf)
    const asked = Effect.forEach(
      batches(distinctKeys(keyed), batchSize),
      (keys) =>
        Effect.map(Effect.exit(this.service.inline(lookUpTogether(lookupAll, keys))), (exit) => {
          for (const key of keys) answers.set(key, { key, exit: Exit.flatMap(exit, (found) => resultOf(found, key)) })
        }),
      { discard: true }
    )
    return Effect.as(asked, answerOf)
  }

  /** Loads anew, whatever is held or being loaded: what is held is served until then, and for good if the load fails. */
  refresh(fiber: Running, key: K): Effect.Effect<Option.Option<V>, E> {
    const request = this.usual
    if (request === undefined) return Effect.succeedNone
    const again = (fiber: Running, restore: Restore): Effect.Effect<Option.Option<V>, E> => {
      const state = this.service.state.current
      if (state._tag === "Closed") return Effect.die(state.error)
      state.revoke(key)
      state.counters.refreshes += 1
      const waiter = fiber.getFiberRef(currentLoad)
      const { turn } = state
      const load = this.begin(state, key, request, waiter, fiber)
      this.flush()
      return load.exit ?? this.join(turn, load, waiter, request, restore)
    }
    const fresh = (fiber: Running) => this.asking(fiber, again)
    return startedInTransaction(fiber)
      ? Effect.flatMap(readsAlone, (inside) =>
          inside ? this.around(key, request) : Effect.withFiberRuntime((fiber) => fresh(fiber))
        )
      : fresh(fiber)
  }

  /** What each of the keys comes to: those that are missing are loaded together, where there is a `lookupAll`. */
  all(keys: ReadonlyArray<K>): Effect.Effect<Array<Exit.Exit<Option.Option<V>, E>>> {
    const askIn = (fiber: Running, restore: Restore): Effect.Effect<Array<Exit.Exit<Option.Option<V>, E>>> => {
      const state = this.service.state.current
      if (state._tag === "Closed") return Effect.die(state.error)
      const request = this.together ?? this.usual
      const { locks } = this.service
      const loads: Array<Load<K, V, E>> = []
      const apart: Array<Keyed<K>> = []
      let answerOf: ((key: K) => Exit.Exit<Option.Option<V>, E>) | undefined
      const allApart = Effect.suspend(() =>
        answerOf === undefined
          ? Effect.tap(this.allAround(apart), (answer) => {
              answerOf = answer
            })
          : Effect.succeed(answerOf)
      )
      const answers = keys.map((key): Effect.Effect<Option.Option<V>, E> => {
        const held = this.service.hit(key, fiber)
        if (held !== undefined) return Exit.succeed(Option.some(state.entries.valueOf(held)))
        state.counters.misses += 1
        if (request === undefined) return Exit.succeed(Option.none())
        if (request !== this.together || locks.open === 0 || !this.service.isLocked(key)) {
          const answer = this.shareIn(fiber, key, request, restore)
          const load = state.loads.get(key)
          if (load !== undefined) loads.push(load)
          return answer
        }
        apart.push({ key })
        return Effect.flatMap(allApart, (answerOf) => answerOf(key))
      })
      this.flush()
      // It waits for one after the other, and leaves all of them.
      return this.leaving(
        loads,
        Effect.forEach(answers, (answer) => Effect.exit(answer)),
        restore
      )
    }
    const ask = (fiber: Running) => this.asking(fiber, askIn)
    return Effect.withFiberRuntime((fiber) =>
      startedInTransaction(fiber)
        ? Effect.flatMap(readsAlone, (inside) =>
            inside
              ? Effect.withFiberRuntime((fiber) => this.allInside(keys, fiber))
              : Effect.withFiberRuntime((fiber) => ask(fiber))
          )
        : ask(fiber)
    )
  }

  private allInside(keys: ReadonlyArray<K>, fiber: Running): Effect.Effect<Array<Exit.Exit<Option.Option<V>, E>>> {
    const state = this.service.state.current
    if (state._tag === "Closed") return Effect.die(state.error)
    const asked = keys.map((key) => {
      const slot = this.service.hit(key, fiber)
      return { key, held: slot === undefined ? Option.none<V>() : Option.some(state.entries.valueOf(slot)) }
    })
    const missing = asked.filter(({ held }) => Option.isNone(held))
    state.counters.misses += missing.length
    if (this.together === undefined) {
      const request = this.usual
      return Effect.forEach(asked, ({ held, key }) =>
        Option.isSome(held) || request === undefined
          ? Effect.succeed(Exit.succeed(held))
          : Effect.exit(this.around(key, request))
      )
    }
    return Effect.map(this.allAround(missing), (answerOf) =>
      asked.map(({ held, key }) => (Option.isSome(held) ? Exit.succeed(held) : answerOf(key)))
    )
  }

  private share(fiber: Running, key: K, request: Request<K, V, E>): Effect.Effect<Option.Option<V>, E> {
    return this.asking(fiber, (fiber, restore) => this.shareIn(fiber, key, request, restore))
  }

  /** Synchronous up to the wait: between looking for a load and starting one nobody else runs. */
  private shareIn(
    fiber: Running,
    key: K,
    request: Request<K, V, E>,
    restore: Restore
  ): Effect.Effect<Option.Option<V>, E> {
    const state = this.service.state.current
    if (state._tag === "Closed") return Effect.die(state.error)
    // Whatever is read while somebody writes may be old or new, and nobody can say for how long: it is the caller's alone.
    if (this.service.locks.open > 0 && this.service.isLocked(key, request.tags))
      return restore(this.around(key, request))
    const { counters } = state
    let outdated: number | undefined
    if (state.grace > 0 || state.absences.size > 0) {
      const now = this.service.now(fiber)
      // A fiber in a transaction that has written the key is served nothing: it never comes here.
      const known = state.absent(key, now)
      // That a lookup found nothing is no answer for who brings an effect.
      const absent = known !== undefined && request.services !== undefined && Exit.isSuccess(known) ? undefined : known
      const stale = state.stale(key, now)
      if (stale !== undefined) outdated = now
      if (
        stale !== undefined &&
        (absent !== undefined ||
          now < state.entries.deadlineOf(stale) + (this.service.settings.staleWhileRevalidate ?? 0))
      ) {
        const served = Exit.succeed(Option.some(state.entries.valueOf(stale)))
        if (absent === undefined) this.renew(key, request)
        counters.misses -= 1 // counted on the way here
        counters.staleServes += 1
        return served
      }
      if (absent !== undefined) {
        counters.misses -= 1
        counters.hits += 1
        return absent
      }
    }
    const waiter = fiber.getFiberRef(currentLoad)
    const there = state.loads.get(key)
    there?.link(fiber.currentSpan)
    // Before it begins: what a load invalidates itself comes after whoever began it.
    const { turn } = state
    const load = there ?? this.begin(state, key, request, waiter, fiber)
    if (outdated !== undefined) load.goesOn = true
    const answer = load.exit ?? this.join(turn, load, waiter, request, restore)
    return outdated === undefined ? answer : restore(this.orStale(state, answer, key, outdated))
  }

  /** Starts a load that nobody waits for, unless there is one. */
  private renew(key: K, request: Request<K, V, E> | undefined = this.usual): void {
    const state = this.service.state.current
    if (state._tag === "Closed" || request === undefined || state.loads.get(key) !== undefined) return
    state.counters.refreshes += 1
    this.begin(state, key, request, undefined, undefined, true)
  }

  private begin(
    store: Store<K, V, E>,
    key: K,
    { effect, services, span, tags }: Request<K, V, E>,
    waiter: Waiting | undefined,
    first?: Running,
    inBackground = false
  ): Load<K, V, E> {
    const { settings, timeline } = this.service
    const mayHaveMore = settings.tags !== undefined || settings.keeps !== undefined
    const load = new Load<K, V, E>(settings.name, key, span, tags, mayHaveMore)
    load.began = timeline.now(timeline.clock)
    load.inBackground = inBackground
    load.link(first?.currentSpan)
    store.loads.set(key, load)
    store.counters.loads += 1
    this.inFlight.add(load)
    if (effect === undefined) {
      this.gather(load)
      return load
    }
    const own = services === undefined ? undefined : detached(services)
    const loading: Effect.Effect<Option.Option<V>, E> = own === undefined
      ? Effect.suspend(() => effect(key))
      : Effect.mapInputContext(
          Effect.suspend(() => effect(key)),
          () => own
        )
    // The edge is there while the load's first steps run on this very stack.
    waiter?.waitsFor.push(load)
    this.run([load], load, loading, !inBackground, (exit) => this.finish(load, exit))
    if (waiter !== undefined) leave(waiter, load)
    return load
  }

  /** Runs what loads, and hands over what came of it. */
  private run<A>(
    loads: ReadonlyArray<Load<K, V, E>>,
    node: Waiting,
    loading: Effect.Effect<A, E>,
    immediate: boolean,
    done: (exit: Exit.Exit<A, E>) => void
  ): void {
    const { hardTimeout } = this.service.settings
    const effect = traced(
      this.service.settings.name,
      loads,
      this.service.isTraced,
      hardTimeout === undefined ? loading : this.limited(loads, loading, hardTimeout)
    )
    let fiber: Fiber.RuntimeFiber<Exit.Exit<A, E>>
    depth += 1
    try {
      // The fiber itself always succeeds: a failed load is nobody's crash and no line in the log.
      fiber = Runtime.runFork(this.service.runtime, Effect.exit(effect), {
        immediate: immediate && depth <= DEEPEST,
        updateRefs: (refs, fiberId) => FiberRefs.updateAs(refs, { fiberId, fiberRef: currentLoad, value: node })
      })
    } finally {
      depth -= 1
    }
    for (const load of loads) {
      load.fiber = fiber
      load.together = loads
    }
    fiber.addObserver((exit) => done(Exit.flatten(exit)))
  }

  /** Ends a load that takes too long; what it is still doing is interrupted and not waited for. */
  private limited<A>(
    loads: ReadonlyArray<Load<K, V, E>>,
    loading: Effect.Effect<A, E>,
    millis: number
  ): Effect.Effect<A, E> {
    const { name, onTimeout } = this.service.settings
    return Effect.timeoutFailCause(Effect.disconnect(loading), {
      duration: Duration.millis(millis),
      onTimeout: () => {
        const [load] = loads
        if (onTimeout !== undefined && load !== undefined) return Cause.fail(onTimeout(load.key))
        return Cause.die(new LoadTimedOut({ cache: name, keys: loads.map(({ key }) => key), millis }))
      }
    })
  }

  // -- batches ----------------------------------------------------------------------------------------------------------------------------------

  /** Adds a load to the batch that is asked for at the end of this turn. */
  private gather(load: Load<K, V, E>): void {
    this.pending.push(load)
    if (this.pending.length > 1) return
    Runtime.runFork(
      this.service.runtime,
      Effect.zipRight(
        Effect.yieldNow(),
        Effect.sync(() => this.flush())
      )
    )
  }

  /** Asks for all that has gathered. */
  private flush(): void {
    const loads = this.pending.filter((load) => load.exit === undefined)
    this.pending = []
    for (const batch of batches(loads, this.service.settings.batchSize)) this.runBatch(batch)
  }

  private runBatch(loads: ReadonlyArray<Load<K, V, E>>): void {
    const { lookupAll, name } = this.service.settings
    if (lookupAll === undefined) return
    const keys = loads.map(({ key }) => key)
    // Whoever waits for one of them waits for all of them.
    const node: Waiting = { cache: name, key: keys, waitsFor: [] }
    for (const load of loads) load.waitsFor.push(node)
    this.run(loads, node, lookUpTogether(lookupAll, keys), true, (exit) => {
      for (const load of loads)
        this.finish(
          load,
          Exit.flatMap(exit, (found) => resultOf(found, load.key))
        )
    })
  }

  // -- the end of a load ------------------------------------------------------------------------------------------------------------------------

  /** The one place where a load can publish. */
  private finish(load: Load<K, V, E>, exit: Exit.Exit<Option.Option<V>, E>): void {
    this.inFlight.delete(load)
    const state = this.service.state.current
    if (state._tag === "Open" && !load.isAbandoned) exit = this.commit(state, load, exit)
    if (load.inBackground && load.waiters.size === 0 && Exit.isFailure(exit) && state._tag === "Open") {
      this.service.fork(
        Effect.logWarning(
          `cache ${JSON.stringify(this.service.settings.name)} could not refresh a value: what it holds is served until it ends`,
          exit.cause
        )
      )
    }
    if (state._tag === "Open") this.service.meter.read(state)
    load.settle(exit)
  }

  private commit(
    store: Store<K, V, E>,
    load: Load<K, V, E>,
    exit: Exit.Exit<Option.Option<V>, E>
  ): Exit.Exit<Option.Option<V>, E> {
    const { service } = this
    const { absent, aliased, failed, keeps } = service.settings
    const now = service.timeline.now(service.timeline.clock)
    this.measure(store, now - load.began)
    try {
      if (Exit.isSuccess(exit)) {
        if (Option.isSome(exit.value)) {
          const value = exit.value.value
          // The caller's functions come first: if one throws, nothing has happened yet.
          const isKept = keeps === undefined || keeps(load.key, value)
          const span = isKept ? service.jittered(load.span(value, load.key)) : NOT_KEPT
          const extra = service.extraOf(load.key, value, isKept ? load.tags : [...load.tags, ALIASED])
          if (
            extra === undefined ? store.publish(load, value, span, now) : store.publish(load, value, span, now, extra)
          )
            service.notices.loaded(load.key, now - load.began)
          return exit
        }
        const millis = absent?.(load.key) ?? 0
        const tags = aliased?.(load.key) ? [...load.tags, ALIASED] : load.tags
        if (store.claim(load, tags)) {
          store.dropOf(load.key)
          store.deny(load.key, exit, millis, now, tags)
        }
        return exit
      }
      store.counters.loadFailures += 1
      service.notices.loadFailed(load.key, exit.cause)
      const error = Cause.failureOption(exit.cause)
      const millis = failed !== undefined && Option.isSome(error) ? failed(error.value) : 0
      if (store.claim(load) && millis > 0) store.deny(load.key, exit, millis, now, load.tags)
      return exit
    } catch (thrown) {
      if (Exit.isSuccess(exit)) store.counters.loadFailures += 1
      store.loads.remove(load.key, load)
      return Exit.die(thrown)
    }
  }

  private measure(store: Store<K, V, E>, took: number): void {
    store.counters.loadTime += took
    const { refreshAhead } = this.service.settings
    if (refreshAhead === undefined) return
    this.usualTime = this.usualTime === 0 ? took : this.usualTime + WEIGHT_OF_ONE * (took - this.usualTime)
    store.early = Math.ceil(this.usualTime * refreshAhead * FARTHEST)
  }

  // -- waiting ----------------------------------------------------------------------------------------------------------------------------------

  /** `turn` is the store's when the caller asked. It may wait only later, when it has asked for several keys. */
  private join(
    turn: number,
    load: Load<K, V, E>,
    waiter: Waiting | undefined,
    request: Request<K, V, E>,
    restore: Restore
  ): Effect.Effect<Option.Option<V>, E> {
    // Whoever came after the invalidation that overtook this load must not be served what was read before it.
    const served = (exit: Exit.Exit<Option.Option<V>, E>) =>
      turn >= load.overtakenAt || load.isAbandoned ? this.again(load.key, request) : exit
    return this.leaving([load], ended(load, waiter, served), restore)
  }

  private get interruptsAbandoned(): boolean {
    return this.service.settings.onAbandoned === "interrupt"
  }

  /** Where loads are interrupted when nobody waits for them, no interruption may come between asking for one and waiting for it. */
  private asking<A, E2>(
    fiber: Running,
    ask: (fiber: Running, restore: Restore) => Effect.Effect<A, E2>
  ): Effect.Effect<A, E2> {
    return this.interruptsAbandoned
      ? uninterruptibleMask((restore) => Effect.withFiberRuntime((fiber) => ask(fiber, restore)))
      : ask(fiber, asItIs)
  }

  /** Waits for loads, and leaves them when it is interrupted. */
  private leaving<A, E2>(
    loads: ReadonlyArray<Load<K, V, E>>,
    answer: Effect.Effect<A, E2>,
    restore: Restore
  ): Effect.Effect<A, E2> {
    if (!this.interruptsAbandoned) return answer
    return Effect.onInterrupt(restore(answer), () =>
      Effect.sync(() => {
        for (const load of loads) this.abandon(load)
      })
    )
  }

  /** Interrupts a load that nobody waits for, nor for one of those that are loaded together with it. */
  private abandon(load: Load<K, V, E>): void {
    const { fiber, together = [load] } = load
    if (load.exit !== undefined || together.some((one) => one.goesOn || one.inBackground || one.waiters.size > 0))
      return
    for (const one of together) {
      one.isAbandoned = true
      this.service.store.loads.remove(one.key, one)
    }
    if (fiber !== undefined) {
      fiber.unsafeInterruptAsFork(FiberId.none)
      return
    }
    // Nobody has been asked for it yet.
    this.inFlight.delete(load)
    load.settle(Exit.interrupt(FiberId.none))
  }

  private again(key: K, request: Request<K, V, E>): Effect.Effect<Option.Option<V>, E> {
    return Effect.withFiberRuntime((fiber) => {
      const held = this.service.store.peek(key, this.service.now(fiber))
      return held === undefined
        ? this.share(fiber, key, request)
        : Effect.succeedSome(this.service.store.entries.valueOf(held))
    })
  }

  /** Serves what has expired when the load fails or takes too long, as long as it is still held: what was invalidated meanwhile is not. */
  private orStale(
    store: Store<K, V, E>,
    answer: Effect.Effect<Option.Option<V>, E>,
    key: K,
    asked: number
  ): Effect.Effect<Option.Option<V>, E> {
    const { softTimeout } = this.service.settings
    const otherwise = (last: Effect.Effect<Option.Option<V>, E>): Effect.Effect<Option.Option<V>, E> =>
      Effect.withFiberRuntime((fiber) => {
        const stale = store.stale(key, this.service.now(fiber))
        if (stale === undefined) return last
        store.counters.misses -= 1
        store.counters.staleServes += 1
        return Effect.succeedSome(store.entries.valueOf(stale))
      })
    const patient = Effect.catchAllCause(answer, (cause) =>
      isOutage(cause) ? otherwise(Effect.failCause(cause)) : Effect.failCause(cause)
    )
    if (softTimeout === undefined) return patient
    // Who asks for several keys waits for them one after the other, and the time for all of them began together.
    return Effect.withFiberRuntime((fiber) =>
      Effect.flatMap(
        Effect.timeoutOption(patient, Duration.millis(Math.max(0, asked + softTimeout - this.service.now(fiber)))),
        Option.match({ onSome: Effect.succeed, onNone: () => otherwise(patient) })
      )
    )
  }
}

/** A load that failed or took too long; a bug in it is no reason to serve something old. */
const isOutage = (cause: Cause.Cause<unknown>): boolean =>
  Cause.isFailure(cause) || Option.exists(Cause.dieOption(cause), (defect) => defect instanceof LoadTimedOut)
