/**
 * Which entry leaves when a bounded cache is full.
 *
 * A policy keeps the entries in lists of its own and is told of each entry that comes, is used, or goes. Everything is done in the step that inserts, so the bound
 * holds at every instant; and a policy only says who should leave: the store removes that very entry, wherever it is filed.
 */
import { LivedEntry } from "./entry.js"

/** An entry of a bounded cache: it also knows its place in the policy's lists. */
export class BoundedEntry<K, V> extends LivedEntry<K, V> {
  newer: BoundedEntry<K, V> | undefined = undefined
  older: BoundedEntry<K, V> | undefined = undefined
  queue: Queue<K, V> | undefined = undefined
  /** Of the key, for policies that remember more keys than there are entries. */
  hash = 0
  weight = 0
}

export interface Policy<K, V> {
  readonly capacity: number
  /** An entry has come; `replaced` is the one whose place it takes, which the policy has not been told of otherwise. */
  readonly add: (entry: BoundedEntry<K, V>, replaced: BoundedEntry<K, V> | undefined) => void
  readonly use: (entry: BoundedEntry<K, V>) => void
  readonly remove: (entry: BoundedEntry<K, V>) => void
  /** Who should leave: asked when there is one entry too many. */
  readonly victim: () => BoundedEntry<K, V> | undefined
  readonly clear: () => void
  /** How many entries the policy knows: a walk, for tests. */
  readonly count: () => number
}

/** A list of entries in the order of use. */
export class Queue<K, V> {
  private newest: BoundedEntry<K, V> | undefined = undefined
  oldest: BoundedEntry<K, V> | undefined = undefined
  size = 0

  push(entry: BoundedEntry<K, V>): void {
    entry.queue = this
    entry.older = this.newest
    if (this.newest === undefined) this.oldest = entry
    else this.newest.newer = entry
    this.newest = entry
    this.size += 1
  }

  remove(entry: BoundedEntry<K, V>): void {
    if (entry.newer === undefined) this.newest = entry.older
    else entry.newer.older = entry.older
    if (entry.older === undefined) this.oldest = entry.newer
    else entry.older.newer = entry.newer
    entry.newer = undefined
    entry.older = undefined
    entry.queue = undefined
    this.size -= 1
  }

  /** Makes an entry of this list its newest. */
  renew(entry: BoundedEntry<K, V>): void {
    if (this.newest === entry) return
    this.remove(entry)
    this.push(entry)
  }

  /** Moves the oldest entry to the new end of another list. */
  giveOldest(to: Queue<K, V>): void {
    const entry = this.oldest
    if (entry === undefined) return
    this.remove(entry)
    to.push(entry)
  }

  clear(): void {
    this.newest = undefined
    this.oldest = undefined
    this.size = 0
  }

  count(): number {
    let count = 0
    for (let entry = this.newest; entry !== undefined; entry = entry.older) count += 1
    return count
  }
}

/** The entry leaves that was not used for the longest time (LRU). */
export class Recency<K, V> implements Policy<K, V> {
  private readonly queue = new Queue<K, V>()

  constructor(readonly capacity: number) {}

  add(entry: BoundedEntry<K, V>, replaced: BoundedEntry<K, V> | undefined): void {
    if (replaced !== undefined) this.queue.remove(replaced)
    this.queue.push(entry)
  }

  use(entry: BoundedEntry<K, V>): void {
    this.queue.renew(entry)
  }

  remove(entry: BoundedEntry<K, V>): void {
    this.queue.remove(entry)
  }

  victim(): BoundedEntry<K, V> | undefined {
    return this.queue.oldest
  }

  clear(): void {
    this.queue.clear()
  }

  count(): number {
    return this.queue.count()
  }
}
