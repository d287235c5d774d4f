/**
 * Loads in flight, and who waits for whom.
 *
 * A load is known to the fibers that work for it (and to those they fork) by a FiberRef. When one of them waits for another load, that wait is an edge
 * between the two; a wait that would close a circle is refused. The check is made in the same step that adds the edge, so of two fibers that
 * close a circle from both ends, the later one is refused.
 */
import { uninterruptibleMask, waiting } from "@effecto/core/internal/primitives"
import { Effect, type Exit, type Fiber, FiberRef, GlobalValue, type Option, type Tracer } from "effect"
import { CyclicLoad } from "./CacheError.js"
import type { Keyed } from "./keyMap.js"
import type { Span } from "./lifetime.js"

/** What the search for circles needs to know of a load; circles may pass through several caches. */
export interface Waiting {
  readonly cache: string
  readonly key: unknown
  readonly waitsFor: Array<Waiting>
}

/**
 * Whatever is known under a key that a database may spell otherwise, too, and so may be changed under another one. A tag like those of the user's, on caches that have
 * none of these.
 */
export const ALIASED = "effecto: aliased"

/** No tags: the same for all that have none. */
const NONE: ReadonlyArray<string> = []

export class Load<K, V, E> implements Keyed<K>, Waiting {
  readonly waitsFor: Array<Waiting> = []
  readonly waiters = new Set<(exit: Exit.Exit<Option.Option<V>, E>) => void>()
  exit: Exit.Exit<Option.Option<V>, E> | undefined = undefined
  fiber: Fiber.RuntimeFiber<unknown, unknown> | undefined = undefined
  /** Where on the cache's time line it began. */
  began = 0
  /** Nobody waited for it when it began. */
  inBackground = false
  /** It goes on also when nobody waits for it any more. */
  goesOn = false
  /** It was interrupted because nobody waited for it any more: whoever asked for it all the same asks again. */
  isAbandoned = false
  /** Those that are loaded by the same fiber, itself among them. */
  together: ReadonlyArray<Load<K, V, E>> | undefined = undefined
  private traced: Tracer.Span | undefined = undefined
  private links: Array<Tracer.SpanLink> | undefined = undefined
  /** Tags that were invalidated while it ran, each with the turn of the first time. Only for loads whose value may yet turn out to carry them. */
  private shaken: Map<string, number> | undefined = undefined
  /** The turn of the first invalidation that overtook it: whoever joined after that must not be served by it. */
  overtakenAt = Number.POSITIVE_INFINITY

  constructor(
    readonly cache: string,
    readonly key: K,
    readonly span: (value: V, key: K) => Span,
    /** What its value depends on, as far as that is known beforehand. */
    readonly tags: ReadonlyArray<string> = NONE,
    /** Whether the value will tell of further tags. */
    readonly mayHaveMore = false
  ) {}

  /** Links the span of who asked for it to its own. */
  link(asking: Tracer.AnySpan | undefined): void {
    if (asking === undefined) return
    const link: Tracer.SpanLink = { _tag: "SpanLink", span: asking, attributes: {} }
    if (this.traced !== undefined) this.traced.addLinks([link])
    else {
      this.links ??= []
      this.links.push(link)
    }
  }

  get isAskedForInSpan(): boolean {
    return this.links !== undefined
  }

  trace(span: Tracer.Span): void {
    if (this.links !== undefined) span.addLinks(this.links)
    this.links = undefined
    this.traced = span
  }

  /** Notes that a tag was invalidated. */
  shake(tag: string, turn: number): void {
    this.shaken ??= new Map()
    if (!this.shaken.has(tag)) this.shaken.set(tag, turn)
  }

  /** Whether one of these tags was invalidated while it ran. */
  overtake(tags: ReadonlyArray<string>): boolean {
    if (this.shaken === undefined) return false
    for (const tag of tags)
      this.overtakenAt = Math.min(this.overtakenAt, this.shaken.get(tag) ?? Number.POSITIVE_INFINITY)
    return this.overtakenAt !== Number.POSITIVE_INFINITY
  }

  settle(exit: Exit.Exit<Option.Option<V>, E>): void {
    if (this.exit !== undefined) return
    this.exit = exit
    // A waiter that is resumed runs later, so nobody joins or leaves while this walks.
    for (const waiter of this.waiters) waiter(exit)
    this.waiters.clear()
  }
}

/** The load that the running fiber works for. */
export const currentLoad: FiberRef.FiberRef<Waiting | undefined> = GlobalValue.globalValue(
  "@effecto/cache/currentLoad",
  () => FiberRef.unsafeMake<Waiting | undefined>(undefined)
)

/** Not by a function that calls itself: there may be more that wait for each other than calls have room on the stack. */
const pathTo = (from: Waiting, goal: Waiting): ReadonlyArray<Waiting> | undefined => {
  const before = new Map<Waiting, Waiting | undefined>([[from, undefined]])
  const left = [from]
  for (let at = left.pop(); at !== undefined; at = left.pop()) {
    if (at === goal) {
      const path: Array<Waiting> = []
      for (let step: Waiting | undefined = at; step !== undefined; step = before.get(step)) path.push(step)
      return path.reverse()
    }
    for (const next of at.waitsFor) {
      if (before.has(next)) continue
      before.set(next, at)
      left.push(next)
    }
  }
  return undefined
}

/** Says with which path `waiter` would wait for itself if it waited for `load`. */
export const circle = (waiter: Waiting, load: Waiting): CyclicLoad | undefined => {
  const path = pathTo(load, waiter)
  return path === undefined
    ? undefined
    : new CyclicLoad({ path: [...path, load].map(({ cache, key }) => ({ cache, key })) })
}

export const leave = (waiter: Waiting, load: Waiting): void => {
  const place = waiter.waitsFor.indexOf(load)
  if (place >= 0) waiter.waitsFor.splice(place, 1)
}

/** What has an end that others wait for. */
interface Ending<Done> extends Waiting {
  readonly exit: Done | undefined
  readonly waiters: Set<(exit: Done) => void>
}

/**
 * Waits for the end of something, and goes on with what `then` makes of that. A wait that would close a circle dies. It is begun when the effect runs, which may be
 * later than it is made; and an interruption leaves nothing of it behind.
 */
export const ended = <Done, A, E>(
  subject: Ending<Done>,
  waiter: Waiting | undefined,
  then: (exit: Done) => Effect.Effect<A, E>
): Effect.Effect<A, E> =>
  uninterruptibleMask((restore) => {
    let wake: ((exit: Done) => void) | undefined
    const answer = waiting<A, E>((resume) => {
      if (subject.exit !== undefined) return resume(then(subject.exit))
      if (waiter !== undefined) {
        const cyclic = circle(waiter, subject)
        if (cyclic !== undefined) return resume(Effect.die(cyclic))
        waiter.waitsFor.push(subject)
      }
      wake = (exit) => {
        if (waiter !== undefined) leave(waiter, subject)
        resume(then(exit))
      }
      subject.waiters.add(wake)
    })
    return Effect.catchAllCause(restore(answer), (cause) => {
      if (wake !== undefined && subject.waiters.delete(wake) && waiter !== undefined) leave(waiter, subject)
      return Effect.failCause(cause)
    })
  })
