/**
 * Evicting after a write that somebody else has made.
 */
import { Cause, Effect, Exit, type Fiber } from "effect"
import type { Service } from "./service.js"
import type { Member } from "./succession.js"
import { mayHaveWritten } from "./transactions.js"

/**
 * Evicts a key after a write. The write has succeeded, so nothing in here fails it: neither that this instance is closed, where there may be a successor that
 * has read what was there before the write, nor what hooks do.
 */
export const evictAfter = <A, E2, R, K, V, E>(
  service: Service<K, V, E>,
  self: Effect.Effect<A, E2, R>,
  key: K
): Effect.Effect<A, E2, R> => {
  const evicted = service.inOrOutside(
    Effect.withFiberRuntime<boolean>((fiber) => {
      const had = holds(service, key, fiber)
      service.succession.evict(key)
      return Effect.succeed(had)
    }),
    Effect.withFiberRuntime<boolean>((fiber) => Effect.as(service.forgetOne(key), holds(service, key, fiber)))
  )
  return Effect.uninterruptibleMask((restore) =>
    Effect.onExit(restore(self), (exit) =>
      Exit.isSuccess(exit) || mayHaveWritten(exit.cause)
        ? Effect.flatMap(evicted, (had) => tell(service, key, had, exit, restore))
        : Effect.void
    )
  )
}

/** Whether there is something that this fiber could be served. A closed cache holds nothing. */
const holds = <K, V, E>(service: Service<K, V, E>, key: K, fiber: Fiber.RuntimeFiber<unknown, unknown>): boolean =>
  !service.isDirty(key, fiber) && service.store.peek(key, service.now(fiber)) !== undefined

/** Lets the hooks know of an eviction. A caller that was interrupted waits for none of them. */
const tell = <K, V, E>(
  service: Service<K, V, E>,
  key: K,
  had: boolean,
  exit: Exit.Exit<unknown, unknown>,
  restore: <A, E2, R>(effect: Effect.Effect<A, E2, R>) => Effect.Effect<A, E2, R>
): Effect.Effect<void> => {
  const member: Member<K> | undefined = service.state.current._tag === "Closed" ? service.succession.newest : service
  if (member?.told === undefined) return Effect.void
  const hooks = member.told(key, had)
  return Exit.isInterrupted(exit)
    ? Effect.sync(() => member.fork(hooks))
    : Effect.catchAllCause(Effect.asVoid(restore(hooks)), (cause) =>
        Cause.isInterruptedOnly(cause)
          ? Effect.void
          : Effect.logWarning(
              `a hook of cache ${JSON.stringify(service.settings.name)} failed after an eviction: the write before it stands`,
              cause
            )
      )
}
