/**
 * What is known not to be there: keys for which a load brought nothing, or failed, kept for a lifetime of their own.
 *
 * They are no entries of the cache. A read comes here only when it found none, so that a hit costs nothing for it, and they take no room from values: there are
 * as many as the cache may hold values, at most, and of more the oldest gives way.
 */
import type { Exit, Option } from "effect"
import { Entries } from "./entries.js"
import { Recency } from "./eviction.js"
import type { Slot } from "./slot.js"

/** What the load came to, by key. */
export class Absences<K, V, E> extends Entries<K, Exit.Exit<Option.Option<V>, E>> {
  /** In the order in which they came: what is first in a Map is behind the places of all that was removed before it. */
  private readonly order: Recency<K>

  constructor(private readonly capacity: number) {
    const order = new Recency<K>(capacity)
    super({ most: capacity, beside: order })
    this.order = order
  }

  override add(key: K, exit: Exit.Exit<Option.Option<V>, E>, deadline: number): Slot {
    const slot = super.add(key, exit, deadline)
    this.order.add(slot)
    return slot
  }

  override remove(slot: Slot): void {
    this.order.remove(slot)
    super.remove(slot)
  }

  override clear(): void {
    this.order.clear()
    super.clear()
  }

  /** Mostly there are none, so nothing is looked up. */
  override get(key: K): Slot | undefined {
    return this.size === 0 ? undefined : super.get(key)
  }

  /** What has to go for another one. */
  get oldest(): Slot | undefined {
    return this.size < this.capacity ? undefined : this.order.victim()
  }
}
