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
 * A scan goes through the window and leaves: what was used once does not drive out what is used again and again, as with LRU. How often an entry is used is
 * counted beside it, and that it was; so a hit writes one byte. It is moved for that when it has become the oldest of its queue and somebody has to leave, once
 * for all uses until then (a second chance, as in CLOCK). When it goes, a sketch remembers its count, roughly, for when its key comes again. All forget by
 * halving. What suits one load hurts another, so the window's share is climbed towards the better hit ratio.
 *
 * The numbers below were chosen on the LIRS traces (`test/hitRatio.test.ts` has the table), so that no trace there is more than a point below LRU. A window of one
 * hundredth, as in the papers, and shorter climbs are a point better on average, and on the file server's just as much below LRU as may be.
 */
import { Hash } from "effect"
import { Links, type Policy, Queue } from "./eviction.js"
import { NONE, resized, type Slot } from "./slot.js"

/** The window's share to begin with. */
const WINDOW = 0.15
/** The protected part's share of what is not the window. */
const PROTECTED = 0.8
/** All counts are halved after so many uses per entry of the capacity. */
const AGED_AFTER = 8
/** The window's share is looked at again after so many uses per entry of the capacity. */
const CLIMBED_AFTER = 10
/** The first step of a climb, as a share of the capacity; it gets smaller, until the load changes. */
const STEP = 0.1
const STEP_DECAY = 0.95
/** A change of the hit ratio from which on the load is taken for another one. */
const RESTARTED_BY = 0.05
/** Entries looked at for one that has to leave, at most: more were used since, and nobody waits for all of them. */
const LOOKED_AT = 64
/** Entries moved out of the window for each that comes while there is room. */
const MOVED_AT_ONCE = 2
/** A candidate this frequent that is refused all the same gets in once in 128 times: else an attacker can fill the sketch against a key. */
const WARM = 6

/** Spreads a hash: those of small numbers are the numbers themselves. */
const mix = (hash: number): number => {
  let mixed = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35)
  return mixed ^ (mixed >>> 16)
}

/** The queues, as numbers of a column. */
const WINDOW_QUEUE = 0
const PROBATION = 1
const PROTECTED_QUEUE = 2
type Place = typeof WINDOW_QUEUE | typeof PROBATION | typeof PROTECTED_QUEUE

/** Of a mark, the bits for the queue. */
const PLACE = 3
/** The one for a use since it was looked at last. */
const USED = 4
/** The count is above these bits, so many. */
const COUNT_SHIFT = 3
/** One use more. */
const ONCE = 1 << COUNT_SHIFT
/** Uses are counted so far. */
const MOST = 15
const ROWS = 4

/** How often keys were used, roughly: a count-min sketch of four rows, counting to 15. It may say too much, and too little only by what it has forgotten. */
class Sketch {
  private readonly counts: Uint8Array
  private readonly mask: number

  constructor(capacity: number) {
    let width = 16
    while (width < capacity && width < 2 ** 24) width *= 2
    this.counts = new Uint8Array(width * ROWS)
    this.mask = width - 1
  }

  /** It was used that often at least. */
  raise(hash: number, count: number): void {
    for (let row = 0; row < ROWS; row += 1) {
      const place = this.place(hash, row)
      if ((this.counts[place] ?? MOST) < count) this.counts[place] = count
    }
  }

  estimate(hash: number): number {
    let least = MOST
    for (let row = 0; row < ROWS; row += 1) least = Math.min(least, this.counts[this.place(hash, row)] ?? MOST)
    return least
  }

  /** Forgets half of everything. */
  age(): void {
    const counts = this.counts
    for (let place = 0; place < counts.length; place += 1) counts[place] = (counts[place] ?? 0) >> 1
  }

  private place(hash: number, row: number): number {
    return row * (this.mask + 1) + (mix(hash + Math.imul(row + 1, 0x9e3779b9)) & this.mask)
  }
}

export class TinyLfu<K> implements Policy<K> {
  private readonly links = new Links()
  private readonly window = new Queue(this.links)
  private readonly probation = new Queue(this.links)
  private readonly protected = new Queue(this.links)
  private readonly queues = [this.window, this.probation, this.protected] as const
  /** For each entry, in which of the queues it is, whether it was used there, and above these three bits how often it is used. */
  private marks = new Uint8Array(this.links.newer.length)
  private hashes = new Int32Array(this.links.newer.length)
  /** Made when the cache is half full: before that nobody has to leave. */
  private sketch: Sketch | undefined = undefined
  /** What came last, while it is held. */
  private newcomer = NONE
  private windowSize: number
  private protectedSize = 0
  /** What all counts came to since they were halved. */
  private counted = 0
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

  add(slot: Slot, key: K): void {
    this.links.reach(slot, this.capacity + 1)
    if (this.marks.length < this.links.newer.length) this.resize()
    const hash = mix(Hash.hash(key))
    this.hashes[slot] = hash
    this.marks[slot] = (this.sketch?.estimate(hash) ?? 0) * ONCE
    this.countUse(slot)
    this.push(slot, WINDOW_QUEUE)
    this.newcomer = slot
    for (let moved = 0; moved < MOVED_AT_ONCE && this.window.size > this.windowSize && !this.isFull; moved += 1) {
      this.passOn(WINDOW_QUEUE, PROBATION)
    }
  }

  write(slot: Slot): void {
    this.countUse(slot)
    this.queueOf(slot).renew(slot)
  }

  use(slot: Slot): void {
    this.hits += 1
    this.marks[slot] = (this.marks[slot] ?? 0) | USED
    this.countUse(slot)
  }

  remove(slot: Slot): void {
    if (this.newcomer === slot) this.newcomer = NONE
    this.queueOf(slot).remove(slot)
    this.sketch?.raise(this.hashes[slot] ?? 0, this.countOf(slot))
  }

  move(from: Slot, to: Slot): void {
    if (this.newcomer === from) this.newcomer = to
    this.queueOf(from).move(from, to)
    this.marks[to] = this.marks[from] ?? 0
    this.hashes[to] = this.hashes[from] ?? 0
  }

  cut(slots: number): void {
    this.links.resize(slots)
    this.resize()
  }

  victim(): Slot | undefined {
    for (let looked = 0; looked < LOOKED_AT && this.catchUp(); looked += 1);
    const resident = this.probation.oldest !== NONE ? this.probation.oldest : this.protected.oldest
    const candidate = this.window.oldest
    if (resident === NONE) return candidate === NONE ? undefined : candidate
    if (candidate === NONE || this.window.size <= this.windowSize) return resident
    if (!this.admits(candidate, resident)) return candidate
    this.giveOldest(WINDOW_QUEUE, PROBATION)
    return resident
  }

  /** Does for one entry what its uses have only been marked for, and says whether there was one. */
  private catchUp(): boolean {
    if (this.protected.size > this.protectedSize) {
      this.passOn(PROTECTED_QUEUE, PROBATION)
      return true
    }
    if (this.forgive(this.probation.oldest)) {
      this.giveOldest(PROBATION, PROTECTED_QUEUE)
      return true
    }
    if (this.window.size > this.windowSize && this.forgive(this.window.oldest)) {
      this.window.renew(this.window.oldest)
      // Nothing that was used before is newer than what has just come.
      if (this.newcomer !== NONE && this.queueOf(this.newcomer) === this.window) this.window.renew(this.newcomer)
      return true
    }
    return false
  }

  /** Whether it was used since it was asked last. */
  private forgive(slot: Slot): boolean {
    if (slot === NONE) return false
    const mark = this.marks[slot] ?? 0
    if ((mark & USED) === 0) return false
    this.marks[slot] = mark & ~USED
    return true
  }

  /** Moves the oldest entry of one queue to the new end of another, or of its own if it was used there. */
  private passOn(from: Place, to: Place): void {
    const slot = this.queues[from].oldest
    if (this.forgive(slot)) this.queues[from].renew(slot)
    else this.giveOldest(from, to)
  }

  clear(): void {
    for (const queue of this.queues) queue.clear()
    this.newcomer = NONE
    this.sketch = undefined
    this.counted = 0
  }

  count(): number {
    return this.window.count() + this.probation.count() + this.protected.count()
  }

  private queueOf(slot: Slot): Queue {
    return this.queues[((this.marks[slot] ?? 0) & PLACE) as Place] // nothing else is written there
  }

  private push(slot: Slot, place: Place): void {
    this.marks[slot] = ((this.marks[slot] ?? 0) & ~PLACE) | place
    this.queues[place].push(slot)
  }

  /** Moves the oldest entry of one queue to the new end of another. */
  private giveOldest(from: Place, to: Place): void {
    const slot = this.queues[from].oldest
    if (slot === NONE) return
    this.queues[from].remove(slot)
    this.push(slot, to)
  }

  private resize(): void {
    const slots = this.links.newer.length
    this.marks = resized(this.marks, slots, 0)
    this.hashes = resized(this.hashes, slots, 0)
  }

  private get size(): number {
    return this.window.size + this.probation.size + this.protected.size
  }

  private get isFull(): boolean {
    return this.size > this.capacity
  }

  private admits(candidate: Slot, resident: Slot): boolean {
    // Less the use that has just brought it here: else in a loop each would be ahead of the one that comes next, and drive it out.
    const often = this.countOf(candidate)
    if (often - 1 > this.countOf(resident)) return true
    if (often < WARM) return false
    this.random = (Math.imul(this.random, 1_664_525) + 1_013_904_223) | 0
    return this.random >>> 25 === 0
  }

  private countOf(slot: Slot): number {
    return (this.marks[slot] ?? 0) >> COUNT_SHIFT
  }

  private countUse(slot: Slot): void {
    if (this.sketch === undefined) {
      if (2 * (this.size + 1) < this.capacity) return
      this.sketch = new Sketch(this.capacity)
    }
    const mark = this.marks[slot] ?? 0
    if (mark < MOST * ONCE) {
      this.marks[slot] = mark + ONCE
      this.counted += 1
    }
    if (this.counted >= AGED_AFTER * this.capacity) this.age()
    this.uses += 1
    if (this.uses >= CLIMBED_AFTER * this.capacity) this.climb()
  }

  /** What was used often long ago is not for that to be kept for ever. */
  private age(): void {
    this.sketch?.age()
    const { marks } = this
    for (let slot = 0; slot < marks.length; slot += 1) {
      const mark = marks[slot] ?? 0
      marks[slot] = ((mark >> (COUNT_SHIFT + 1)) << COUNT_SHIFT) | (mark & (PLACE | USED))
    }
    this.counted >>= 1
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
