/**
 * Which entry leaves when a bounded cache is full.
 *
 * A policy keeps the entries in lists of its own, as columns beside those of the entries, and is told of each entry that comes, is used, or goes. Everything is done
 * in the step that inserts, so the bound holds at every instant; and a policy only says who should leave: the store removes that very entry.
 */
import type { Beside } from "./entries.js"
import { FEWEST, NONE, resized, type Slot } from "./slot.js"

export interface Policy<K> extends Beside {
  readonly capacity: number
  /** An entry has come. */
  readonly add: (slot: Slot, key: K) => void
  /** An entry has been written again. */
  readonly write: (slot: Slot) => void
  readonly use: (slot: Slot) => void
  readonly remove: (slot: Slot) => void
  /** Who should leave: asked when there is one entry too many. */
  readonly victim: () => Slot | undefined
  readonly clear: () => void
  /** How many entries the policy knows: a walk, for tests. */
  readonly count: () => number
}

/** The neighbours of each entry in the list that it is in. */
export class Links {
  newer = new Int32Array(FEWEST).fill(NONE)
  older = new Int32Array(FEWEST).fill(NONE)

  /** Makes room for this slot, where there will be `most` of them at the most. */
  reach(slot: Slot, most: number): void {
    const room = this.newer.length
    if (slot < room) return
    this.resize(Math.max(slot + 1, Math.min(room * 2, most)))
  }

  resize(slots: number): void {
    this.newer = resized(this.newer, slots, NONE)
    this.older = resized(this.older, slots, NONE)
  }
}

/** A list of entries in the order of use. */
export class Queue {
  private newest: Slot = NONE
  oldest: Slot = NONE
  size = 0

  constructor(private readonly links: Links) {}

  push(slot: Slot): void {
    const { newer, older } = this.links
    older[slot] = this.newest
    newer[slot] = NONE
    if (this.newest === NONE) this.oldest = slot
    else newer[this.newest] = slot
    this.newest = slot
    this.size += 1
  }

  remove(slot: Slot): void {
    const { newer, older } = this.links
    const before = older[slot] ?? NONE
    const after = newer[slot] ?? NONE
    if (before === NONE) this.oldest = after
    else newer[before] = after
    if (after === NONE) this.newest = before
    else older[after] = before
    this.size -= 1
  }

  /** Makes an entry of this list its newest. */
  renew(slot: Slot): void {
    if (this.newest === slot) return
    this.remove(slot)
    this.push(slot)
  }

  /** What is in the list under one slot is in the same place under another one. */
  move(from: Slot, to: Slot): void {
    const { newer, older } = this.links
    const before = older[from] ?? NONE
    const after = newer[from] ?? NONE
    older[to] = before
    newer[to] = after
    if (before === NONE) this.oldest = to
    else newer[before] = to
    if (after === NONE) this.newest = to
    else older[after] = to
  }

  clear(): void {
    this.newest = NONE
    this.oldest = NONE
    this.size = 0
  }

  count(): number {
    let count = 0
    for (let slot = this.newest; slot !== NONE; slot = this.links.older[slot] ?? NONE) count += 1
    return count
  }
}

/** The entry leaves that was not used for the longest time (LRU). */
export class Recency<K> implements Policy<K> {
  private readonly links = new Links()
  private readonly queue = new Queue(this.links)

  constructor(readonly capacity: number) {}

  add(slot: Slot): void {
    this.links.reach(slot, this.capacity + 1)
    this.queue.push(slot)
  }

  write(slot: Slot): void {
    this.queue.renew(slot)
  }

  use(slot: Slot): void {
    this.queue.renew(slot)
  }

  remove(slot: Slot): void {
    this.queue.remove(slot)
  }

  move(from: Slot, to: Slot): void {
    this.queue.move(from, to)
  }

  cut(slots: number): void {
    this.links.resize(slots)
  }

  victim(): Slot | undefined {
    return this.queue.oldest === NONE ? undefined : this.queue.oldest
  }

  clear(): void {
    this.queue.clear()
  }

  count(): number {
    return this.queue.count()
  }
}
