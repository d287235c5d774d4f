/**
 * What is known not to be there: keys for which a load brought nothing, or failed, kept for a lifetime of their own.
 *
 * They are no entries of the cache. A read comes here only when it found none, so that a hit costs nothing for it, and they take no room from values: there are
 * as many as the cache may hold values, at most, and of more the oldest gives way.
 */
import type { Exit, Option } from "effect"
import { Entries } from "./entries.js"
import type { Slot } from "./slot.js"

/** What the load came to, by key. */
export class Absences<K, V, E> extends Entries<K, Exit.Exit<Option.Option<V>, E>> {
  constructor(private readonly capacity: number) {
    super({ most: capacity })
  }

  /** Mostly there are none, so nothing is looked up. */
  override get(key: K): Slot | undefined {
    return this.size === 0 ? undefined : super.get(key)
  }

  /** What has to go for another one. */
  get oldest(): Slot | undefined {
    if (this.size < this.capacity) return undefined
    for (const oldest of this.all()) return oldest
    return undefined
  }
}
