/**
 * Beside each handle in a Context lies its carrier: who the handle stands for. It is how a handle is recognised, which looks like
 * the service it stands for and like nothing else.
 */
import * as Context from "effect/Context"
import * as Handle from "./handle.js"
import type { Slot } from "./instance.js"

export class Carrier {
  constructor(
    readonly slot: Slot,
    readonly key: string,
    readonly handle: unknown,
    /** Told when the service is used by the reader whose view the handle is, if it is anybody's. */
    readonly onRead: (() => void) | undefined
  ) {}
}

export const carrierKey = (key: string): string => `@effecto/core/supervision/carrier/${key}`

/** The carrier of the handle that a Context holds under a key; none for a service that was provided over a supervised one. */
export const carrierOf = (context: Context.Context<never>, key: string): Carrier | undefined => {
  const carrier: unknown = context.unsafeMap.get(carrierKey(key))
  return carrier instanceof Carrier && carrier.handle === context.unsafeMap.get(key) ? carrier : undefined
}

/**
 * A Context for one reader: each handle in it is replaced by one of the reader's own, and `onRead` is called with the handle's
 * slot when the reader uses it for the first time, whatever its form: a member is read, a function called, an Effect or a
 * Stream run, `Supervised.current` asked. It may be called again with the same slot, once for each further instance there.
 * To take a service from its context is no use of it, nor is to compare it, or to ask what it is or has: the runtime does that.
 *
 * A view of a view tells both readers: what a child of a nested tree uses is used by the child that the tree is built in. What
 * is no handle is left as it is, and so is a service that no handle can carry; of those only `Supervised.current` tells.
 */
export const viewOf = <R>(context: Context.Context<R>, onRead: (slot: Slot) => void): Context.Context<R> => {
  const views = new Map<string, unknown>(context.unsafeMap)
  for (const key of context.unsafeMap.keys()) {
    const carrier = carrierOf(context, key)
    if (carrier === undefined) continue
    const { slot } = carrier
    const read = (): void => {
      carrier.onRead?.()
      onRead(slot)
    }
    const sample = (slot.current ?? slot.last)?.context.unsafeMap.get(key)
    const view = Handle.carries(sample) ? Handle.make(slot, key, sample, read) : carrier.handle
    views.set(key, view)
    views.set(carrierKey(key), new Carrier(slot, key, view, read))
  }
  return Context.unsafeMake(views)
}
