/**
 * Effects that a handle does not guard: work of the caller's own, wrapped by a service that is not needed while it runs.
 */
import type * as Effect from "effect/Effect"
import * as Effectable from "effect/Effectable"
import * as Stream from "effect/Stream"

const TypeId: unique symbol = Symbol.for("@effecto/core/Supervised/Detached")

class Detached<A, E, R> extends Effectable.Class<A, E, R> {
  readonly [TypeId] = TypeId

  constructor(readonly self: Effect.Effect<A, E, R>) {
    super()
  }

  commit(): Effect.Effect<A, E, R> {
    return this.self
  }
}

/**
 * Marks an Effect that does not end with the instance it was asked of: through a handle it runs as it is, and goes on when the child crashes,
 * instead of being interrupted with `InstanceDied`. For a function that wraps an effect of its caller and does not need the service until
 * that is over: a crash of the service must not end work that is not its own.
 *
 * Whatever the effect asks of the service itself has to be able to answer after the end of the instance.
 *
 * @since 0.1.0
 * @category linking
 */
export const detach = <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> => new Detached(self)

/** The same for a Stream that tells of its own end: no pull of it is guarded. */
export const detachStream = <A, E, R>(self: Stream.Stream<A, E, R>): Stream.Stream<A, E, R> =>
  // A Stream of its own: the mark is not for everybody who has this one.
  Object.defineProperty(
    Stream.suspend(() => self),
    TypeId,
    { value: TypeId }
  )

/** Whether something carries the mark, Effect or Stream. */
export const isMarked = (value: object): boolean => TypeId in value

/** By its mark and not by its class: a package may have a copy of this module of its own. */
export const isDetached = (effect: object): effect is { readonly self: Effect.Effect<unknown, unknown, unknown> } =>
  TypeId in effect
