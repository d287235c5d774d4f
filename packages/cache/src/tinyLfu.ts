/**
 * The policy of a bounded cache unless it is told otherwise: W-TinyLFU, adaptive (Einziger, Friedman and Manes, "TinyLFU: A Highly Efficient Cache Admission
 * Policy", 2017; Einziger, Eytan, Friedman and Manes, "Adaptive Software Cache Management", 2018).
 *
 *                     ┌─────────── window ──────────┐   is it used more   ┌────────────────────── main ─────────────────────┐
 *      a new entry ─▶ │ newest ──────────▶ oldest   │ ──────often ──────▶ │ probation ──(used again)──▶ protected (4 of 5)  │
 *                     └─────────────────────────────┘   than the oldest   │     ▲ oldest leaves               │            │
 *                                                       in probation?     │     └──────(no room there)────────┘            │
 *                                                                         └─────────────────────────────────────────────────┘
 *
 * A scan goes through the window and leaves: what was used once does not drive out what is used again and again, as with LRU. How often a key is used is estimated
 * by a sketch that also knows keys that are not there, and forgets by halving. What suits one load hurts another, so the window's share is climbed towards
 * the better hit ratio.
 *
 * The numbers below were chosen on the LIRS traces (`test/hitRatio.test.ts` has the table), so that no trace there is more than a point below LRU. A window of one
 * hundredth with smaller steps, as in the papers, is three points better over all of them together, and up to five points below LRU on the file server's.
 */
import { Hash } from "effect"
import { type BoundedEntry, type Policy, Queue } from "./eviction.js"

/** The window's share to begin with. */
const WINDOW = 0.15
/** The protected part's share of what is not the window. */
const PROTECTED = 0.8
/** The sketch halves its counts after so many uses per entry of the capacity. */
const AGED_AFTER = 4
/** The window's share is looked at again after so many uses per entry of the capacity. */
const CLIMBED_AFTER = 12
/** The first step of a climb, as a share of the capacity; it gets smaller, until the load changes. */
const STEP = 0.14
const STEP_DECAY = 0.9
/** A change of the hit ratio from which on the load is taken for another one. */
const RESTARTED_BY = 0.05
/** Entries moved between the parts for each use or write, so that no single one pays for a climb. */
const MOVED_AT_ONCE = 2
/** A candidate this frequent that is refused all the same gets in once in 128 times: else an attacker can fill the sketch against a key. */
const WARM = 6

/** Spreads a hash: those of small numbers are the numbers themselves. */
const mix = (hash: number): number => {
  let mixed = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35)
  return mixed ^ (mixed >>> 16)
}

const ROWS = 4
const MOST = 15

/** How often keys are used, roughly: a count-min sketch of four rows, counting to 15. It may say too much, and never too little. */
export class Sketch {
  private readonly counts: Uint8Array
  private readonly mask: number
  private readonly agedAfter: number
  private added = 0

  constructor(capacity: number) {
    let width = 16
    while (width < capacity && width < 2 ** 24) width *= 2
    this.counts = new Uint8Array(width * ROWS)
    this.mask = width - 1
    this.agedAfter = AGED_AFTER * Math.max(capacity, 16)
  }

  add(hash: number): void {
    let counted = false
    for (let row = 0; row < ROWS; row += 1) {
      const place = this.place(hash, row)
      const count = this.counts[place] ?? MOST
      if (count < MOST) {
        this.counts[place] = count + 1
        counted = true
      }
    }
    if (!counted) return
    this.added += 1
    if (this.added >= this.agedAfter) this.age()
  }

  estimate(hash: number): number {
    let least = MOST
    for (let row = 0; row < ROWS; row += 1) least = Math.min(least, this.counts[this.place(hash, row)] ?? MOST)
    return least
  }

  private place(hash: number, row: number): number {
    return row * (this.mask + 1) + (mix(hash + Math.imul(row + 1, 0x9e3779b9)) & this.mask)
  }

  private age(): void {
    const counts = this.counts
    for (let place = 0; place < counts.length; place += 1) counts[place] = (counts[place] ?? 0) >> 1
    this.added >>= 1
  }
}

export class TinyLfu<K, V> implements Policy<K, V> {
  private readonly window = new Queue<K, V>()
  private readonly probation = new Queue<K, V>()
  private readonly protected = new Queue<K, V>()
  /** Made when the cache is half full: before that nobody has to leave. */
  private sketch: Sketch | undefined = undefined
  private windowSize: number
  private protectedSize = 0
  private uses = 0
  private hits = 0
  private lastRatio = 0
  private step: number
  private random = 1

  constructor(readonly capacity: number) {
    this.windowSize = Math.max(1, Math.floor(capacity * WINDOW))
    this.step = STEP * capacity
    this.share()
  }

  add(entry: BoundedEntry<K, V>, replaced: BoundedEntry<K, V> | undefined): void {
    entry.hash = replaced === undefined ? mix(Hash.hash(entry.key)) : replaced.hash
    this.counted(entry)
    const queue = replaced?.queue
    if (replaced !== undefined && queue !== undefined) {
      queue.remove(replaced)
      queue.push(entry)
      return
    }
    this.window.push(entry)
    for (let moved = 0; moved < MOVED_AT_ONCE && this.window.size > this.windowSize && !this.isFull; moved += 1) {
      this.window.giveOldest(this.probation)
    }
  }

  use(entry: BoundedEntry<K, V>): void {
    this.hits += 1
    this.counted(entry)
    if (entry.queue !== this.probation) {
      entry.queue?.renew(entry)
      return
    }
    this.probation.remove(entry)
    this.protected.push(entry)
    for (let moved = 0; moved < MOVED_AT_ONCE && this.protected.size > this.protectedSize; moved += 1) {
      this.protected.giveOldest(this.probation)
    }
  }

  remove(entry: BoundedEntry<K, V>): void {
    entry.queue?.remove(entry)
  }

  victim(): BoundedEntry<K, V> | undefined {
    const resident = this.probation.oldest ?? this.protected.oldest
    if (resident === undefined) return this.window.oldest
    const candidate = this.window.oldest
    if (candidate === undefined || this.window.size <= this.windowSize) return resident
    if (!this.admits(candidate, resident)) return candidate
    this.window.giveOldest(this.probation)
    return resident
  }

  clear(): void {
    for (const queue of [this.window, this.probation, this.protected]) queue.clear()
    this.sketch = undefined
  }

  count(): number {
    return this.window.count() + this.probation.count() + this.protected.count()
  }

  private get isFull(): boolean {
    return this.window.size + this.probation.size + this.protected.size > this.capacity
  }

  private admits(candidate: BoundedEntry<K, V>, resident: BoundedEntry<K, V>): boolean {
    const often = this.sketch?.estimate(candidate.hash) ?? 0
    if (often > (this.sketch?.estimate(resident.hash) ?? 0)) return true
    if (often < WARM) return false
    this.random = (Math.imul(this.random, 1_664_525) + 1_013_904_223) | 0
    return this.random >>> 25 === 0
  }

  private counted(entry: BoundedEntry<K, V>): void {
    if (this.sketch === undefined) {
      if (2 * (this.window.size + this.probation.size + this.protected.size + 1) < this.capacity) return
      this.sketch = new Sketch(this.capacity)
    }
    this.sketch.add(entry.hash)
    this.uses += 1
    if (this.uses >= CLIMBED_AFTER * this.capacity) this.climb()
  }

  /** Goes on in the direction that made the hit ratio better, or turns round. */
  private climb(): void {
    const ratio = this.hits / this.uses
    const change = ratio - this.lastRatio
    const amount = change >= 0 ? this.step : -this.step
    this.step = Math.abs(change) >= RESTARTED_BY ? Math.sign(amount) * STEP * this.capacity : amount * STEP_DECAY
    this.lastRatio = ratio
    this.uses = 0
    this.hits = 0
    this.windowSize = Math.max(1, Math.min(Math.round(this.windowSize + amount), this.capacity - 1))
    this.share()
  }

  private share(): void {
    this.protectedSize = Math.floor(Math.max(0, this.capacity - this.windowSize) * PROTECTED)
  }
}
