/** The span of a load: one, however many wait for it. It is the child of none of them, and linked to all. */
import { Context, DefaultServices, Effect, FiberRefs, Tracer } from "effect"
import type { Load } from "./load.js"

const untraced = Context.get(DefaultServices.liveServices, Tracer.Tracer)

/** Whether spans go anywhere. */
export const isTraced = (refs: FiberRefs.FiberRefs): boolean =>
  Context.get(FiberRefs.getOrDefault(refs, DefaultServices.currentServices), Tracer.Tracer) !== untraced

/** Keys are not in it: they may be secrets. */
export const traced = <A, K, V, E>(
  cache: string,
  loads: ReadonlyArray<Load<K, V, E>>,
  always: boolean,
  loading: Effect.Effect<A, E>
): Effect.Effect<A, E> => {
  if (!always && !loads.some((load) => load.isAskedForInSpan)) return loading
  return Effect.useSpan(
    "Cache.load",
    { root: true, attributes: { cache, keys: loads.length }, captureStackTrace: false },
    (span) => {
      for (const load of loads) load.trace(span)
      return Effect.withParentSpan(loading, span)
    }
  )
}
