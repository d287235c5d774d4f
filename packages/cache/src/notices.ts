/**
 * Who is told of what happens in a cache: the removal listener and the streams of events.
 *
 * Nobody is called in the step in which something happens. The listener runs afterwards, in one fiber, for one removal after the other in the order in which
 * they happened, so it may use the cache. Streams take what they have room for and lose the oldest of the rest; the numbers of events tell.
 */
import { type Cause, Duration, Effect, Fiber, PubSub, Runtime, Stream } from "effect"
import type { Removal } from "./settings.js"
import type { Cause as RemovalCause } from "./store.js"

/**
 * What happened in a cache. `sequence` numbers the events of a cache: where a number is missing, the reader was too slow for what happened in between.
 *
 * @since 0.1.0
 * @category models
 */
export type Event<K, V> =
  | {
      readonly _tag: "Removed"
      readonly sequence: number
      readonly key: K
      readonly value: V
      readonly cause: RemovalCause
    }
  | { readonly _tag: "Loaded"; readonly sequence: number; readonly key: K; readonly millis: number }
  | { readonly _tag: "LoadFailed"; readonly sequence: number; readonly key: K; readonly cause: Cause.Cause<unknown> }

/** How long the end of the cache waits for its listener. */
const PATIENCE = Duration.seconds(5)

/** Events that a stream holds for a reader that is slower than the cache. */
const ROOM = 1_024

export class Notices<K, V> {
  private sequence = 0
  private queue: Array<Removal<K, V>> = []
  /** What has been taken out of the queue, but for the one that the listener is being told of. */
  private batch: Array<Removal<K, V>> = []
  private draining: Fiber.RuntimeFiber<void> | undefined = undefined
  private readonly readers = new Set<PubSub.PubSub<Event<K, V>>>()

  constructor(
    private readonly cache: string,
    private readonly runtime: Runtime.Runtime<never>,
    private readonly listener: ((removal: Removal<K, V>) => Effect.Effect<void>) | undefined,
    /** Called when it begins or ceases to matter what is removed. */
    private readonly changed: (isHeard: boolean) => void
  ) {
    if (listener !== undefined) changed(true)
  }

  readonly removed = (key: K, value: V, cause: RemovalCause): void => {
    if (this.readers.size > 0) this.sequence += 1
    for (const reader of this.readers)
      reader.unsafeOffer({ _tag: "Removed", sequence: this.sequence, key, value, cause })
    if (this.listener === undefined) return
    this.queue.push({ key, value, cause })
    this.draining ??= Runtime.runFork(this.runtime, this.drain, { immediate: false })
  }

  loaded(key: K, millis: number): void {
    if (this.readers.size === 0) return
    this.sequence += 1
    for (const reader of this.readers) reader.unsafeOffer({ _tag: "Loaded", sequence: this.sequence, key, millis })
  }

  loadFailed(key: K, cause: Cause.Cause<unknown>): void {
    if (this.readers.size === 0) return
    this.sequence += 1
    for (const reader of this.readers) reader.unsafeOffer({ _tag: "LoadFailed", sequence: this.sequence, key, cause })
  }

  /** What happens from when the stream is run on. */
  readonly events: Stream.Stream<Event<K, V>> = Stream.unwrapScoped(
    Effect.gen(this, function* () {
      const reader = yield* PubSub.sliding<Event<K, V>>(ROOM)
      const queue = yield* PubSub.subscribe(reader)
      yield* Effect.acquireRelease(
        Effect.sync(() => {
          this.readers.add(reader)
          this.changed(true)
        }),
        () =>
          Effect.sync(() => {
            this.readers.delete(reader)
            this.changed(this.readers.size > 0 || this.listener !== undefined)
          })
      )
      return Stream.fromQueue(queue)
    })
  )

  /** Ends the streams, and waits until the listener has been told of everything, but not for ever. */
  readonly end: Effect.Effect<void> = Effect.suspend(() => {
    const readers = [...this.readers]
    this.readers.clear()
    const { draining } = this
    return Effect.zipRight(
      Effect.forEach(readers, PubSub.shutdown, { discard: true }),
      draining === undefined ? Effect.void : this.told(draining)
    )
  })

  private told(draining: Fiber.RuntimeFiber<void>): Effect.Effect<void> {
    // In a fiber that can be interrupted, which a finalizer cannot.
    const patient = Effect.disconnect(Effect.interruptible(Effect.asVoid(draining.await)))
    return Effect.timeoutTo(patient, {
      duration: PATIENCE,
      onSuccess: () => Effect.void,
      onTimeout: () =>
        Effect.suspend(() => {
          const missed = this.queue.length + this.batch.length
          return Effect.zipRight(
            Fiber.interruptFork(draining),
            Effect.logWarning(
              `the removal listener of cache ${JSON.stringify(this.cache)} took longer than ${Duration.format(PATIENCE)} after its cache had ended: it was interrupted, and not told of ${missed} more removals`
            )
          )
        })
    }).pipe(
      Effect.flatten,
      // Wherever it is closed, what is logged goes where the cache's own goes.
      (end) =>
        Effect.asVoid(
          Effect.flatMap(
            Effect.sync(() => Runtime.runFork(this.runtime, end)),
            Fiber.await
          )
        )
    )
  }

  private readonly drain: Effect.Effect<void> = Effect.suspend(() => {
    const { listener } = this
    if (this.queue.length === 0 || listener === undefined) {
      this.draining = undefined
      return Effect.void
    }
    const batch = this.queue
    this.queue = []
    // From the end, where it is cheap to take one out.
    this.batch = batch.reverse()
    const next: Effect.Effect<void> = Effect.suspend(() => {
      const removal = batch.pop()
      return removal === undefined ? this.drain : Effect.zipRight(this.tell(removal, listener), next)
    })
    return next
  })

  private tell(removal: Removal<K, V>, listener: (removal: Removal<K, V>) => Effect.Effect<void>): Effect.Effect<void> {
    return Effect.catchAllCause(
      Effect.suspend(() => listener(removal)),
      (cause) =>
        Effect.logWarning(
          `the removal listener of cache ${JSON.stringify(this.cache)} failed: what was removed stays so`,
          cause
        )
    )
  }
}
