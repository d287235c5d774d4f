/**
 * How old values are when they are served, in buckets of powers of two milliseconds.
 *
 * Only caches that ask for it have this: their store is an `AgedStore`, whose entries know when they were written. Elsewhere there is
 * nothing more in an entry, and nothing more to do for a hit.
 */
import type { HitAge } from "./Cache.js"
import type { Policy } from "./eviction.js"
import type { Slot } from "./slot.js"
import { Store, type StoreOptions } from "./store.js"

/** The last one is for all that is older: 2^31 milliseconds are 24 days. */
const BUCKETS = 33

export class HitAges {
  readonly counts: Array<number> = Array.from({ length: BUCKETS }, () => 0)
  /** Milliseconds of all of them together. */
  sum = 0

  /** Whole milliseconds: 0 is in the first bucket, and what has n binary digits in the one after n. */
  add(age: number): void {
    const place = age < 2 ** 31 ? 32 - Math.clz32(age) : BUCKETS - 1
    this.counts[place] = (this.counts[place] ?? 0) + 1
    this.sum += age
  }

  /** The buckets that are not empty. Ages in one are below its bound, and not below half of that. */
  list(): ReadonlyArray<HitAge> {
    return this.counts.map((hits, place) => ({ below: boundOf(place), hits })).filter(({ hits }) => hits > 0)
  }
}

export const boundOf = (place: number): number => (place === BUCKETS - 1 ? Number.POSITIVE_INFINITY : 2 ** place)

export class AgedStore<K, V, E> extends Store<K, V, E> {
  override readonly ages = new HitAges()

  override use(slot: Slot, now: number): boolean {
    if (!super.use(slot, now)) return false
    // Another Clock may be behind that of who wrote it.
    this.ages.add(Math.max(0, now - this.entries.dateOf(slot)))
    return true
  }

  protected override heir(policy: Policy<K> | undefined, options: StoreOptions): Store<K, V, E> {
    return new AgedStore(policy, options)
  }
}
