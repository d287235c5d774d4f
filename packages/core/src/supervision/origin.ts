/**
 * Effects that answer for themselves: what a handle and such an Effect agree on, so that a call whose answer is at hand costs
 * next to nothing more than without a handle.
 *
 * A handle wraps an Effect of a class of its own, to ask the next instance should it be kept over a restart. For a cache's hit
 * that wrapper is most of the work. An Effect that knows its *origin* needs none: it answers if its instance still does, and
 * leaves the rest to the origin.
 */
import type * as Effect from "effect/Effect"
import { Lazy } from "./answer.js"
import type { Instance, Slot } from "./instance.js"
import type { AnyEffect } from "./kind.js"

/**
 * The key of the method with which an Effect takes its origin.
 *
 * @since 0.1.0
 * @category handles
 */
export const OriginTypeId: unique symbol = Symbol.for("@effecto/core/Supervised/Origin")

/**
 * The call through a handle that an Effect is the answer to. Before it answers by itself, the Effect asks `isCurrent`: whether the
 * instance that was called is still the one that answers. If not, or if it has to do anything that takes time, it runs what
 * `guard` makes of it: the Effect that is given to it while the instance lives, and dies with `InstanceDied` with it; afterwards
 * the same call to the next instance.
 *
 * @since 0.1.0
 * @category handles
 */
export interface Origin {
  readonly isCurrent: boolean
  /** `effect` must not ask the origin again; `argument` is the one that came with the origin. */
  readonly guard: <A, E, R>(effect: Effect.Effect<A, E, R>, argument: unknown) => Effect.Effect<A, E, R>
}

/**
 * An Effect that can take an origin. The method answers with another Effect that does the same and asks the origin, or with
 * nothing if it cannot; then it is wrapped as any other. `argument` is the call's, to be given back to `guard`.
 *
 * A function of a service that is called with one argument may take the origin instead of what it returns: then one Effect is made
 * and not two. Its method is called in its place, without `this`, and the function itself if that answers with nothing.
 *
 * @since 0.1.0
 * @category handles
 */
export interface Originating {
  readonly [OriginTypeId]: (origin: Origin, argument: unknown) => object | undefined
}

/**
 * The method of something that can take an origin. What answers to any name, as many a client of a remote service does, has every
 * member that is read of it, but does not say that it has it.
 */
export const takingOf = (value: object): Originating[typeof OriginTypeId] | undefined =>
  // Whatever an object has under that key is the method of this name.
  (value as Partial<Originating>)[OriginTypeId] === undefined || !(OriginTypeId in value)
    ? undefined
    : (value as Originating)[OriginTypeId]

/** One for all calls of a method with as many arguments that reach the same instance. */
export class CallOrigin implements Origin {
  constructor(
    private readonly slot: Slot,
    readonly instance: Instance,
    private readonly again: (instance: Instance, argument: unknown) => unknown
  ) {}

  get isCurrent(): boolean {
    return this.slot.current === this.instance
  }

  guard<A, E, R>(effect: Effect.Effect<A, E, R>, argument: unknown): Effect.Effect<A, E, R> {
    const guarded = new Lazy(this.slot, this.instance, effect as AnyEffect, (now) => this.again(now, argument))
    return guarded as unknown as Effect.Effect<A, E, R> // the same call of the next instance answers with the same types
  }
}
