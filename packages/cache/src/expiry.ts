/**
 * Which entries are due when, without work per read.
 *
 * Entries hang in buckets, one for each coarse due time, in a ring of their own each. Filing and unfiling cost O(1) and a few pointers. A read renews an
 * entry by writing its deadline and nothing else: the entry stays in the bucket it was filed under, which now comes too early, and when that
 * bucket is due the entry is filed again under the deadline it has by then. So a sliding lifetime costs a move per lifetime and not one per read.
 *
 * Due times are rounded up, finely for what is near and coarsely for what is far: to a power of two of at least 64 ms, between a sixteenth and an
 * eighth of the way. So the memory of what expires comes back late by at most an eighth of its lifetime; the number of buckets grows with the
 * logarithm of the lifetimes in use and not with the entries; and no lifetime is too long. Nobody is served an expired entry in between: whether an
 * entry is expired is read off its own deadline, never off its bucket.
 */

/** What can be filed. An entry that never expires has no neighbours. */
export interface Timed {
  /** In milliseconds of the cache's time line. Not expired before it, expired from it on. */
  deadline: number
  before: Timed | undefined
  after: Timed | undefined
}

/** The ring's own node: before the first entry and after the last. */
interface Bucket extends Timed {
  readonly due: number
  /** No deadline filed here is below this. */
  low: number
  before: Timed
  after: Timed
}

const FINEST = 64

const grain = (distance: number): number => {
  let grain = FINEST
  while (grain * 16 <= distance) grain *= 2
  return grain
}

const makeBucket = (due: number, low: number): Bucket => {
  // The ring closes on itself, which no literal can say.
  const bucket = { due, low, deadline: due, before: undefined, after: undefined } as unknown as Bucket
  bucket.before = bucket
  bucket.after = bucket
  return bucket
}

export class Expiry {
  private readonly buckets = new Map<number, Bucket>()
  /** The buckets, soonest first. Few, and a new one nearly always belongs at the end. */
  private order: Array<Bucket> = []

  /** `grace`: how long after its deadline something stays filed. */
  constructor(private readonly grace = 0) {}

  /** When the next bucket is due, `Infinity` if nothing is filed. */
  get due(): number {
    return this.order[0]?.due ?? Number.POSITIVE_INFINITY
  }

  file(entry: Timed, now: number): void {
    const deadline = entry.deadline + this.grace
    if (deadline === Number.POSITIVE_INFINITY) return
    const step = grain(deadline - now)
    const due = Math.ceil(deadline / step) * step
    const bucket = this.bucketAt(due, due - step)
    const last = bucket.before
    entry.before = last
    entry.after = bucket
    last.after = entry
    bucket.before = entry
  }

  unfile(entry: Timed): void {
    const { before, after } = entry
    if (before === undefined || after === undefined) return
    before.after = after
    after.before = before
    entry.before = undefined
    entry.after = undefined
  }

  clear(): void {
    this.buckets.clear()
    this.order = []
  }

  /**
   * Takes out what is expired among the entries of the buckets that are due, and files the rest again. Looks at `limit` entries at most and says
   * whether it got to the end.
   */
  sweep(now: number, limit: number, expired: (entry: Timed) => void): boolean {
    for (let left = limit; ; ) {
      const bucket = this.order[0]
      if (bucket === undefined || bucket.due > now) return true
      for (let entry = bucket.after; entry !== bucket; entry = bucket.after) {
        if (left === 0) return false
        left -= 1
        this.unfile(entry)
        if (entry.deadline + this.grace <= now) expired(entry)
        else this.file(entry, now)
      }
      this.order.shift()
      this.buckets.delete(bucket.due)
    }
  }

  /** Takes out everything that is expired, also what lies in buckets that are not due. */
  sweepAll(now: number, expired: (entry: Timed) => void): void {
    this.sweep(now, Number.POSITIVE_INFINITY, expired)
    for (const bucket of this.order) {
      if (bucket.low > now) continue
      for (let entry = bucket.after; entry !== bucket; ) {
        const next: Timed = entry.after ?? bucket
        if (entry.deadline + this.grace <= now) {
          this.unfile(entry)
          expired(entry)
        }
        entry = next
      }
    }
  }

  /** Whether anything may have expired that is still filed. */
  mayHaveExpired(now: number): boolean {
    return this.order.some(({ low }) => low <= now)
  }

  /** How many entries are filed: a walk, for tests. */
  count(): number {
    let count = 0
    for (const bucket of this.order) {
      for (let entry: Timed | undefined = bucket.after; entry !== bucket; entry = entry?.after) count += 1
    }
    return count
  }

  private bucketAt(due: number, low: number): Bucket {
    const found = this.buckets.get(due)
    if (found !== undefined) {
      if (low < found.low) found.low = low
      return found
    }
    const bucket = makeBucket(due, low)
    this.buckets.set(due, bucket)
    let place = this.order.length
    for (; place > 0; place -= 1) {
      const earlier = this.order[place - 1]
      if (earlier === undefined || earlier.due <= due) break
    }
    this.order.splice(place, 0, bucket)
    return bucket
  }
}
