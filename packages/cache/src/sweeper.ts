/**
 * The service fiber's whole life: it sleeps until the next bucket of expired entries is due and removes them in slices. It
 * is woken, too, when more memory is to be given back than is done in the steps that remove. When it ends, so does the cache.
 */
import { Duration, Effect, Exit, FiberId, Runtime } from "effect"
import { CacheClosed } from "./CacheError.js"
import type { Service } from "./service.js"
import type { Slot } from "./slot.js"
import type { Store } from "./store.js"
import { isLive } from "./timeline.js"

/** Entries looked at in one go; a few hundred microseconds of work. */
const SLICE = 1_000
/** Entries that are only counted in one go. */
const COUNTED = 10_000
/** The longest wait a JavaScript timer can be set to. */
const LONGEST_TIMER = 2 ** 31 - 1

export class Sweeper<K, V, E> {
  constructor(private readonly service: Service<K, V, E>) {}

  readonly serve: Effect.Effect<never> = Effect.suspend(() => this.rest).pipe(
    Effect.zipRight(Effect.suspend(() => this.sweep)),
    Effect.forever,
    Effect.onExit((exit) =>
      Effect.sync(() => {
        const cause = Exit.isFailure(exit) ? exit.cause : undefined
        this.service.close(
          new CacheClosed({
            cache: this.service.settings.name,
            reason: "its service fiber has ended",
            ...(cause === undefined ? {} : { cause })
          })
        )
      })
    )
  )

  /** How many entries can be served. Where there are many, in slices, between which others may write. */
  readonly size: Effect.Effect<number> = Effect.withFiberRuntime<number>((fiber) => {
    const state = this.service.state.current
    if (state._tag === "Closed") return Effect.die(state.error)
    if (state.entries.size <= SLICE) return Effect.succeed(state.size(this.service.now(fiber)))
    return Effect.zipRight(
      this.sweep,
      Effect.withFiberRuntime<number>((fiber) => {
        const now = this.service.now(fiber)
        return state.isAllAlive(now)
          ? Effect.succeed(state.entries.size)
          : Effect.suspend(() => this.count(state, state.entries.all(), now, 0))
      })
    )
  })

  private count(store: Store<K, V, E>, slots: Iterator<Slot>, now: number, sum: number): Effect.Effect<number> {
    for (let counted = 0; counted < COUNTED; counted += 1) {
      const next = slots.next()
      if (next.done === true) return Effect.succeed(sum)
      if (now < store.entries.deadlineOf(next.value)) sum += 1
    }
    return Effect.zipRight(
      this.pause,
      Effect.suspend(() => this.count(store, slots, now, sum))
    )
  }

  private readonly sweep: Effect.Effect<void> = Effect.suspend(() => {
    const state = this.service.state.current
    if (state._tag === "Closed") return Effect.void
    if (state.sweep(this.service.timeline.now(this.service.timeline.clock), SLICE)) {
      this.service.meter.read(state)
      return Effect.void
    }
    return Effect.zipRight(this.pause, this.sweep)
  })

  /** Lets timers and sockets have their turn between two slices. */
  private readonly pause: Effect.Effect<void> = Effect.suspend(() =>
    isLive(this.service.timeline.clock)
      ? Effect.async<void>((resume) => {
          const handle = setImmediate(() => resume(Effect.void))
          return Effect.sync(() => clearImmediate(handle))
        })
      : Effect.yieldNow()
  )

  /** Sleeps until something is due. One timer at most, and a process with nothing else to do may end. */
  private readonly rest: Effect.Effect<void> = Effect.async<void>((resume) => {
    const state = this.service.state.current
    if (state._tag === "Closed") return
    // Something was removed since the sweep came to its end.
    if (!state.isSettled) return resume(Effect.void)
    const due = state.due
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
      due === Number.POSITIVE_INFINITY
        ? undefined
        : this.after(due - this.service.timeline.now(this.service.timeline.clock), wake)
    return Effect.sync(stop)
  })

  /** Calls `done` that much later, with the failure of a Clock that cannot sleep; the answer calls it off. */
  private after(millis: number, done: (end: Effect.Effect<void>) => void): () => void {
    // Rounded up: a timer that fires a fraction of a millisecond early would find nothing due and be set again.
    const wait = Math.min(Math.max(Math.ceil(millis), 0), LONGEST_TIMER)
    if (isLive(this.service.timeline.clock)) {
      const timer = setTimeout(() => done(Effect.void), wait)
      timer.unref?.()
      return () => clearTimeout(timer)
    }
    let calledOff = false
    const fiber = Runtime.runFork(
      this.service.runtime,
      Effect.exit(this.service.timeline.clock.sleep(Duration.millis(wait))),
      {
        immediate: false
      }
    )
    fiber.addObserver((exit) => {
      if (!calledOff) done(Exit.flatten(exit))
    })
    return () => {
      calledOff = true
      fiber.unsafeInterruptAsFork(FiberId.none)
    }
  }
}
