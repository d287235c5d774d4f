/**
 * How old values are when they are served, in buckets of powers of two milliseconds.
 *
 * Only caches that ask for it have this: their store is an `AgedStore`, whose entries know when they were written by what they live by. Elsewhere there is
 * nothing more in an entry, and nothing more to do for a hit.
 */
import type { HitAge } from "./Cache.js"
import type { Entry, Life } from "./entry.js"
import type { Policy } from "./eviction.js"
import type { Span } from "./lifetime.js"
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

interface AgedLife extends Life {
  readonly written: number
}

export class AgedStore<K, V, E> extends Store<K, V, E> {
  override readonly ages = new HitAges()

  override use(entry: Entry<K, V>, now: number): boolean {
    if (!super.use(entry, now)) return false
    // Another Clock may be behind that of who wrote it.
    this.ages.add(Math.max(0, now - this.writtenOf(entry)))
    return true
  }

  /** Every entry has a life of its own here. */
  protected override lifeBy({ idle, max }: Span, now: number, before?: Entry<K, V>): Life {
    const life: AgedLife = { idle, end: now + max, written: before === undefined ? now : this.writtenOf(before) }
    return life
  }

  protected override heir(policy: Policy<K, V> | undefined, options: StoreOptions): Store<K, V, E> {
    return new AgedStore(policy, options)
  }

  private writtenOf(entry: Entry<K, V>): number {
    return (this.lifeOf(entry) as AgedLife).written // made above
  }
}
