/** Where a fiber stands among hooks: inside of which, with which annotations, and whether any are to run. Forked fibers inherit it. */
import { Effect, FiberRef } from "effect"

/** A write between its hooks, or the hooks of a read: whatever they have written counts only when they are through. */
export interface Guarded {
  isOver: boolean
  /** What it runs inside of, whose writing this is too. */
  readonly around: Guarded | undefined
}

export interface HookState {
  readonly inHook: boolean
  readonly disabled: boolean
  /** The hooks that this runs inside of, or that led here by work for after a commit, outermost first. */
  readonly path: ReadonlyArray<string>
  readonly annotations: Readonly<Record<string, unknown>>
  /** Whose hooks, or whose statement, write what is written here. */
  readonly guarded: Guarded | undefined
}

export const outsideOfHooks: HookState = {
  inHook: false,
  disabled: false,
  path: [],
  annotations: {},
  guarded: undefined
}

/** Joining a fiber does not bring its state back. */
export const hookState = FiberRef.unsafeMake<HookState>(outsideOfHooks, { join: (parent) => parent })

/** Runs an effect in another state, made from the one it is in. */
export const inState = <A, E, R>(
  self: Effect.Effect<A, E, R>,
  change: (state: HookState) => HookState
): Effect.Effect<A, E, R> =>
  Effect.withFiberRuntime((fiber) => Effect.locally(self, hookState, change(fiber.getFiberRef(hookState))))

/**
 * Whether the effect that asks runs inside of a hook, where the Repo runs no hooks but those with another `reentry`.
 *
 * @since 0.1.0
 * @category hooks
 */
export const inHook: Effect.Effect<boolean> = Effect.map(FiberRef.get(hookState), (state) => state.inHook)

/**
 * Whether the Repo runs hooks for the effect that asks: they are not disabled around it, and it is not inside of one.
 *
 * @since 0.1.0
 * @category hooks
 */
export const hooksEnabled: Effect.Effect<boolean> = Effect.map(
  FiberRef.get(hookState),
  (state) => !state.disabled && !state.inHook
)

/**
 * Runs an effect, and what it forks, without hooks: for imports and repairs. Middleware runs all the same, and caches still hear what was written.
 *
 * @since 0.1.0
 * @category hooks
 */
export const disableHooks = <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  inState(self, (state) => ({ ...state, disabled: true }))

/**
 * Runs an effect with hooks again, inside of {@link disableHooks}. Inside of a hook it changes nothing: there the `reentry` of each table decides.
 *
 * @since 0.1.0
 * @category hooks
 */
export const enableHooks = <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  inState(self, (state) => ({ ...state, disabled: false }))

/**
 * Says something to the hooks and the middleware of every Repo call inside of an effect: who acts, for example. Inner annotations add to outer ones, and
 * replace those of the same name. They are in no log, no span and no statement.
 *
 * @since 0.1.0
 * @category hooks
 */
export const annotate =
  (annotations: Readonly<Record<string, unknown>>) =>
  <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    inState(self, (state) => ({ ...state, annotations: { ...state.annotations, ...annotations } }))
