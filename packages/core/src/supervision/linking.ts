/**
 * Which fibers make up an instance. This is the only module that watches fibers; everything else gets told.
 *
 * A layer's build may fork anything: workers with `forkScoped`, `forkDaemon` or `forkIn`, builders of its own under
 * `Layer.mergeAll`, helpers that are joined again. When the build is done, those that still run are a forest (a fiber's
 * parent is who forked it), and the *roots* of that forest are linked to the instance: if one of them fails, the instance
 * has crashed. A fiber below a root is that root's business: it may fail and be handled. "Whose parent is the build fiber"
 * would be simpler and wrong: `mergeAll` builds in short-lived fibers, so a worker's parent is often already gone.
 *
 * Fibers are seen through `Effect.supervised`, whose setting is inherited by everything forked. A nested tree, or an effect
 * marked as unlinked, has to be left out: so every fiber carries the tracker it belongs to in a FiberRef of ours, and a
 * tracker looks only at its own.
 */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import type * as FiberId from "effect/FiberId"
import * as FiberRef from "effect/FiberRef"
import * as FiberRefs from "effect/FiberRefs"
import { globalValue } from "effect/GlobalValue"
import * as Option from "effect/Option"
import * as Supervisor from "effect/Supervisor"

type AnyFiber = Fiber.RuntimeFiber<unknown, unknown>

/** The tracker a fiber belongs to; none for fibers outside an instance and for unlinked ones. */
const currentTracker = globalValue("@effecto/core/supervision/currentTracker", () =>
  FiberRef.unsafeMake<Tracker | undefined>(undefined)
)

/** Who really started a fiber that has no parent, because it was started through a Runtime. */
const currentStarter = globalValue("@effecto/core/supervision/currentStarter", () =>
  // Not joined: it is a fact about one fiber, and none of those that take over its FiberRefs.
  FiberRef.unsafeMake<AnyFiber | undefined>(undefined, { join: (parent) => parent })
)

/**
 * In place: whoever starts a fiber through a Runtime has just made these FiberRefs for that fiber alone, and to copy them again is a
 * good part of what its start takes.
 */
const set = (
  refs: FiberRefs.FiberRefs,
  fiberId: FiberId.Runtime,
  tracker: Tracker | undefined
): FiberRefs.FiberRefs => {
  refs.locals.set(currentTracker, [[fiberId, tracker]])
  return refs
}

export class Tracker extends Supervisor.AbstractSupervisor<void> {
  readonly value = Effect.void
  /** While building: every live fiber of the instance and who started it. Afterwards nobody looks. */
  private building: Map<AnyFiber, AnyFiber | undefined> | undefined
  private settled = false
  /** Whether the next fiber that starts is one of supervision's own, and no part of the instance. */
  private unseen = false
  /** This and the supervisor that the child's own fiber was under, which all fibers of one instance's have in common. */
  private zipped: Supervisor.Supervisor<unknown> | undefined
  /** Ids of everything the instance ever ran, to tell its own interrupts from those of others. */
  private ids: WeakSet<FiberId.FiberId> | undefined
  /** Told when a fiber of the instance may have begun to wait. */
  private watching: Set<() => void> | undefined
  // All of these are made when they are needed: there may be very many instances that fork nothing.
  private links: Set<AnyFiber> | undefined

  constructor(private readonly onExit: (exit: Exit.Exit<unknown, unknown>) => void) {
    super()
  }

  override onStart<A, E, R>(
    _context: Context.Context<R>,
    _effect: Effect.Effect<A, E, R>,
    parent: Option.Option<AnyFiber>,
    fiber: Fiber.RuntimeFiber<A, E>
  ): void {
    if (fiber.getFiberRef(currentTracker) !== this) return
    if (this.unseen) {
      this.unseen = false
      return
    }
    this.ids ??= new WeakSet()
    this.ids.add(fiber.id())
    if (this.settled) return
    this.building ??= new Map()
    this.building.set(fiber, Option.getOrUndefined(parent) ?? fiber.getFiberRef(currentStarter))
  }

  override onEnd<A, E>(exit: Exit.Exit<A, E>, fiber: Fiber.RuntimeFiber<A, E>): void {
    this.building?.delete(fiber)
    if (this.links?.delete(fiber) === true) this.onExit(exit)
  }

  override onSuspend(): void {
    if (this.watching !== undefined) for (const tell of Array.from(this.watching)) tell()
  }

  /** Calls `tell` whenever a fiber of the instance, or that of its build, has gone as far as it can for now. */
  onSuspended(tell: () => void): () => void {
    this.watching ??= new Set()
    this.watching.add(tell)
    return () => {
      this.watching?.delete(tell)
      if (this.watching?.size === 0) this.watching = undefined
    }
  }

  /** While it is being built: the fibers of the instance. */
  get alive(): ReadonlyArray<AnyFiber> {
    return this.building === undefined ? [] : Array.from(this.building.keys())
  }

  /**
   * The FiberRefs for a fiber of supervision's own that is about to start, so that what it forks is seen. Set before the fiber
   * begins, because to set them around what it does is a sixth of a restart.
   */
  refs(refs: FiberRefs.FiberRefs, fiberId: FiberId.Runtime): FiberRefs.FiberRefs {
    this.unseen = true
    // The same one each time, so that it is no difference for a finalizer.
    this.zipped ??= FiberRefs.getOrDefault(refs, FiberRef.currentSupervisor).zip(this)
    refs.locals.set(FiberRef.currentSupervisor, [[fiberId, this.zipped]])
    return set(refs, fiberId, this)
  }

  /** The build is done: links the roots of what survives it. */
  settle(): void {
    const alive = this.building
    this.settled = true
    this.building = undefined
    if (alive === undefined) return
    this.links ??= new Set()
    for (const [fiber, parent] of alive) {
      if (parent === undefined || !alive.has(parent)) this.links.add(fiber)
    }
  }

  /** The fibers to end with the instance. That of a build that was not finished has left some, too. */
  roots(): ReadonlyArray<AnyFiber> {
    this.settle()
    return this.linked
  }

  /** The fibers whose end is looked at. */
  get linked(): ReadonlyArray<AnyFiber> {
    return this.links === undefined ? [] : Array.from(this.links)
  }

  /** Whether a fiber with this id has run inside the instance. */
  owns(id: FiberId.FiberId): boolean {
    return this.ids?.has(id) === true
  }
}

/** Runs an effect so that the fibers it forks belong to no instance. */
export const untracked = <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.locally(self, currentTracker, undefined)

/** For fibers that supervision starts for itself: invisible to the tracker of an instance around it. */
export const untrackedRefs = (refs: FiberRefs.FiberRefs, fiberId: FiberId.Runtime): FiberRefs.FiberRefs =>
  set(refs, fiberId, undefined)

/** For a fiber started through a Runtime in the name of another one: if that belongs to an instance, this one does, below it. */
export const startedBy = (
  refs: FiberRefs.FiberRefs,
  fiberId: FiberId.Runtime,
  starter: AnyFiber
): FiberRefs.FiberRefs =>
  starter.getFiberRef(currentTracker) === undefined
    ? refs
    : FiberRefs.updateAs(refs, { fiberId, fiberRef: currentStarter, value: starter })
