/**
 * Which entries are due when, without work per read.
 *
 * Entries hang in buckets, one for each coarse due time, in a ring of their own each. Filing and unfiling cost O(1) and a few links. A read renews an
 * entry by writing its deadline and nothing else: the entry stays in the bucket it was filed under, which now comes too early, and when that
 * bucket is due the entry is filed again under the deadline it has by then. So a sliding lifetime costs a move per lifetime and not one per read.
 *
 * Due times are rounded up, finely for what is near and coarsely for what is far: to a power of two of at least 64 ms, between a sixteenth and an
 * eighth of the way. So the memory of what expires comes back late by at most an eighth of its lifetime; the number of buckets grows with the
 * logarithm of the lifetimes in use and not with the entries; and no lifetime is too long. Nobody is served an expired entry in between: whether an
 * entry is expired is read off its own deadline, never off its bucket.
 */

import { NONE, resized, type Slot } from "./slot.js"

/** What has deadlines. */
export interface Timed {
  readonly deadlines: Float64Array
}

/** A bucket is in its own ring, between the last entry and the first: as a link, the number of bucket n is `-2 - n`. */
interface Bucket {
  readonly due: number
  readonly link: number
  /** No deadline filed here is below this. */
  low: number
  first: Slot
  last: Slot
}

const FINEST = 64

const grain = (distance: number): number => {
  let grain = FINEST
  while (grain * 16 <= distance) grain *= 2
  return grain
}

export class Expiry {
  private readonly buckets = new Map<number, Bucket>()
  /** The buckets, soonest first. Few, and a new one nearly always belongs at the end. */
  private order: Array<Bucket> = []
  private numbered: Array<Bucket | undefined> = []
  /** The neighbours of each entry in its ring. One that is not filed has none before it. */
  private before = new Int32Array(0)
  private after = new Int32Array(0)

  /** `grace`: how long after its deadline something stays filed. */
  constructor(
    private readonly timed: Timed,
    private readonly grace = 0
  ) {}

  /** When the next bucket is due, `Infinity` if nothing is filed. */
  get due(): number {
    return this.order[0]?.due ?? Number.POSITIVE_INFINITY
  }

  file(slot: Slot, now: number): void {
    const deadline = this.endOf(slot)
    if (deadline === Number.POSITIVE_INFINITY) return
    const step = grain(deadline - now)
    const due = Math.ceil(deadline / step) * step
    const bucket = this.bucketAt(due, due - step)
    if (slot >= this.before.length) {
      this.before = resized(this.before, this.timed.deadlines.length, NONE)
      this.after = resized(this.after, this.timed.deadlines.length, NONE)
    }
    const { last, link } = bucket
    this.before[slot] = last
    this.after[slot] = link
    this.setAfter(last, slot)
    bucket.last = slot
  }

  unfile(slot: Slot): void {
    const before = this.before[slot] ?? NONE
    if (before === NONE) return
    const after = this.after[slot] ?? NONE
    this.setAfter(before, after)
    this.setBefore(after, before)
    this.before[slot] = NONE
  }

  /** What is filed under one slot is filed in the same place under another one. */
  move(from: Slot, to: Slot): void {
    const before = this.before[from] ?? NONE
    if (before === NONE) return
    const after = this.after[from] ?? NONE
    this.before[to] = before
    this.after[to] = after
    this.setAfter(before, to)
    this.setBefore(after, to)
    this.before[from] = NONE
  }

  /** There are no slots from here on any more. */
  cut(slots: number): void {
    if (this.before.length <= slots) return
    this.before = resized(this.before, slots, NONE)
    this.after = resized(this.after, slots, NONE)
  }

  clear(): void {
    this.buckets.clear()
    this.order = []
    this.numbered = []
    this.before = new Int32Array(0)
    this.after = new Int32Array(0)
  }

  /**
   * Takes out what is expired among the entries of the buckets that are due, and files the rest again. Looks at `limit` entries at most and says
   * whether it got to the end.
   */
  sweep(now: number, limit: number, expired: (slot: Slot) => void): boolean {
    for (let left = limit; ; ) {
      const bucket = this.order[0]
      if (bucket === undefined || bucket.due > now) return true
      for (let slot = bucket.first; slot >= 0; slot = bucket.first) {
        if (left === 0) return false
        left -= 1
        this.unfile(slot)
        if (this.endOf(slot) <= now) expired(slot)
        else this.file(slot, now)
      }
      this.order.shift()
      this.buckets.delete(bucket.due)
      this.numbered[-2 - bucket.link] = undefined
    }
  }

  /** Takes out everything that is expired, also what lies in buckets that are not due. */
  sweepAll(now: number, expired: (slot: Slot) => void): void {
    this.sweep(now, Number.POSITIVE_INFINITY, expired)
    for (const bucket of this.order) {
      if (bucket.low > now) continue
      for (let slot = bucket.first; slot >= 0; ) {
        const next = this.after[slot] ?? NONE
        if (this.endOf(slot) <= now) {
          this.unfile(slot)
          expired(slot)
        }
        slot = next
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
      for (let slot = bucket.first; slot >= 0; slot = this.after[slot] ?? NONE) count += 1
    }
    return count
  }

  private endOf(slot: Slot): number {
    return (this.timed.deadlines[slot] ?? Number.NaN) + this.grace
  }

  private setAfter(link: number, after: number): void {
    if (link >= 0) this.after[link] = after
    else {
      const bucket = this.numbered[-2 - link]
      if (bucket !== undefined) bucket.first = after
    }
  }

  private setBefore(link: number, before: number): void {
    if (link >= 0) this.before[link] = before
    else {
      const bucket = this.numbered[-2 - link]
      if (bucket !== undefined) bucket.last = before
    }
  }

  private bucketAt(due: number, low: number): Bucket {
    const found = this.buckets.get(due)
    if (found !== undefined) {
      if (low < found.low) found.low = low
      return found
    }
    const vacant = this.numbered.indexOf(undefined)
    const number = vacant < 0 ? this.numbered.length : vacant
    const link = -2 - number
    const bucket: Bucket = { due, low, link, first: link, last: link }
    this.numbered[number] = bucket
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
